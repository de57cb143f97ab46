package software_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
)

var (
	passphrase = []byte("correct horse battery staple")
	fast       = software.Options{Iterations: software.MinIterations}
	message    = []byte("firmware 1.2.3\n")
)

func create(t testing.TB) (k *software.Keystore, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	k, err := software.Create(dir, passphrase, fast)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k, dir
}

func open(t testing.TB, dir string) *software.Keystore {
	t.Helper()
	k, err := software.Open(dir, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func newKey(t testing.TB, k keystore.Keystore, id law.KeyID, a law.Algorithm) law.Key {
	t.Helper()
	pair, err := k.Generate(t.Context(), id, 1, a)
	if err != nil {
		t.Fatal(err)
	}
	return keystoretest.Key("main", id, a, pair)
}

func sign(t testing.TB, k keystore.Keystore, p law.Permit) []byte {
	t.Helper()
	made, err := k.Sign(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := made.Release(p)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func says(t *testing.T, what string, err error, sentence string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), sentence) {
		t.Errorf("%s: got error %v, want one that says %q", what, err, sentence)
	}
}

func TestSoftwareKeystoreKeepsTheContract(t *testing.T) {
	keystoretest.Run(t, keystoretest.All(), func(t *testing.T) keystore.Keystore {
		k, _ := create(t)
		return k
	})
}

// CR-02
func TestCR02_APKCS1SignatureIsOverExactlyOneDigestInfo(t *testing.T) {
	k, _ := create(t)
	for _, a := range []law.Algorithm{law.RSA2048, law.RSA3072, law.RSA4096} {
		key := newKey(t, k, law.KeyID("fw-"+strings.ToLower(string(a))), a)
		for _, h := range law.Hashes() {
			in := keystoretest.Input(h, law.PKCS1v15, message)
			keystoretest.OneDigestInfo(t, key.PublicKey, in, sign(t, k, keystoretest.Permit(t, key, in)))
		}
	}
}

// CR-03
func TestCR03_10000ECDSASignaturesHaveDistinctRAndMinimalDER(t *testing.T) {
	k, _ := create(t)
	key := newKey(t, k, "fw", law.P256)
	p := keystoretest.Permit(t, key, keystoretest.Input(law.SHA256, law.ECDSA, message))
	seen := map[string]bool{}
	for range 10_000 {
		seen[string(keystoretest.MinimalDER(t, sign(t, k, p)))] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("10000 signatures have %d different r", len(seen))
	}
}

func TestKeysAreThereAfterARestart(t *testing.T) {
	k, dir := create(t)
	keys := []law.Key{newKey(t, k, "fw-prod", law.P256), newKey(t, k, "fw.dev-1_x", law.Ed25519), newKey(t, k, "fw-rsa", law.RSA2048)}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = open(t, dir)
	for _, key := range keys {
		got, err := k.PublicKey(t.Context(), key.Handle)
		if err != nil || !bytes.Equal(got, key.PublicKey) {
			t.Errorf("key %s: public key %x, error %v", key.ID, got, err)
		}
		sign(t, k, keystoretest.Permit(t, key, keystoretest.Input(key.Hash, key.Schemes[0], message)))
	}
}

func TestOnlyTheOwnerCanReachTheFiles(t *testing.T) {
	k, dir := create(t)
	newKey(t, k, "fw-prod", law.P256)
	want := map[string]fs.FileMode{".": fs.ModeDir | 0o700, "keystore.json": 0o600, "fw-prod.1.key": 0o600}
	got := map[string]fs.FileMode{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		got[path] = info.Mode()
		return err
	})
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v (error %v), want %v", got, err, want)
	}
}

func TestWhatOthersCanReachIsRefused(t *testing.T) {
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o601} {
		k, dir := create(t)
		newKey(t, k, "fw", law.P256)
		for path, undo := range map[string]fs.FileMode{dir: 0o700, dir + "/keystore.json": 0o600} {
			if err := os.Chmod(path, undo|mode); err != nil {
				t.Fatal(err)
			}
			_, err := software.Open(dir, passphrase)
			says(t, path, err, "lets others than its owner at it; run chmod go= on it")
			if err := os.Chmod(path, undo); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir+"/fw.1.key", mode); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, dir).PublicKey(t.Context(), "fw.1")
		says(t, "the key file", err, "file fw.1.key has mode "+fmt.Sprintf("%04o", mode))
	}
}

func TestAPassphraseMustBeTheRightOneAndLong(t *testing.T) {
	_, dir := create(t)
	_, err := software.Open(dir, []byte("correct horse battery stapler"))
	says(t, "another passphrase", err, "the passphrase is wrong")
	for _, short := range []string{"", "elevenbytes"} {
		_, err = software.Open(dir, []byte(short))
		says(t, "a short passphrase", err, fmt.Sprintf("the passphrase has %d bytes; it must have at least 12", len(short)))
		_, err = software.Create(filepath.Join(t.TempDir(), "new"), []byte(short), fast)
		says(t, "creating with a short passphrase", err, "it must have at least 12")
	}
	if err != nil && strings.Contains(err.Error(), "elevenbytes") {
		t.Errorf("the error gives the passphrase away: %v", err)
	}
}

func TestAKeystoreIsCreatedOnlyWhereNothingIs(t *testing.T) {
	_, dir := create(t)
	_, err := software.Create(dir, passphrase, fast)
	says(t, "over a keystore", err, "the directory is not empty (it has keystore.json in it)")
	_, err = software.Create(filepath.Join(dir, "a", "b"), passphrase, fast)
	says(t, "without a parent", err, "no such file or directory")
	_, err = software.Create(filepath.Join(dir, "keystore.json"), passphrase, fast)
	says(t, "over a file", err, "not a directory")

	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = software.Create(empty, passphrase, fast)
	says(t, "in a directory of others", err, "run chmod go= on it")
	if err := os.Chmod(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := software.Create(empty, passphrase, fast)
	if err != nil {
		t.Fatalf("in an empty directory: %v", err)
	}
	k.Close()
}

func TestAKeystoreIsCreatedWithEnoughIterations(t *testing.T) {
	for _, few := range []int{-1, 1, software.MinIterations - 1} {
		_, err := software.Create(filepath.Join(t.TempDir(), "new"), passphrase, software.Options{Iterations: few})
		says(t, "creating", err, fmt.Sprintf("%d iterations are out of range", few))
	}
	dir := filepath.Join(t.TempDir(), "new")
	k, err := software.Create(dir, passphrase, software.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k.Close()
	if header, err := os.ReadFile(dir + "/keystore.json"); err != nil || !bytes.Contains(header, []byte(`"iterations":600000`)) {
		t.Errorf("by default the header says %s (error %v)", header, err)
	}
}

func TestWhatIsNoKeystoreIsNotOpened(t *testing.T) {
	_, err := software.Open(filepath.Join(t.TempDir(), "nothing"), passphrase)
	says(t, "no directory", err, "no such file or directory")
	_, dir := create(t)
	file := filepath.Join(dir, "keystore.json")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(from, to string) []byte { return bytes.Replace(good, []byte(from), []byte(to), 1) }
	for want, header := range map[string][]byte{
		"no such file":                         nil,
		"it is damaged":                        {},
		"this is not how the keystore":         append(bytes.Clone(good), ' '),
		"it is damaged: jsontext":              change(`"format":1`, `"format":1,"format":1`),
		"this is not how":                      change(`"format":1`, `"format":1,"extra":1`),
		"its format 2 is unknown":              change(`"format":1`, `"format":2`),
		`key derivation "scrypt" is unknown`:   change("PBKDF2-HMAC-SHA-256", "scrypt"),
		"99999 iterations are out of range":    change("100000", "99999"),
		"10000001 iterations are out of range": change("100000", "10000001"),
		"the passphrase is wrong, or":          change("100000", "100001"),
		"more than such a file ever has":       bytes.Repeat([]byte{' '}, 1<<20),
		"it is damaged: json: ":                change("100000", `"100000"`),
	} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if header != nil {
			if err := os.WriteFile(file, header, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := software.Open(dir, passphrase)
		says(t, "opening", err, want)
	}
	if err := errors.Join(os.RemoveAll(file), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err = software.Open(dir, passphrase)
	says(t, "a directory in place of the header", err, "keystore.json is not a regular file")
}

func TestAKeyFileHoldsTheKeyOfItsNameAndNoOther(t *testing.T) {
	k, dir := create(t)
	newKey(t, k, "one", law.P256)
	newKey(t, k, "two", law.P256)
	if _, err := k.Generate(t.Context(), "one", 2, law.P256); err != nil {
		t.Fatal(err)
	}
	other, otherDir := create(t)
	newKey(t, other, "three", law.P256)
	for what, c := range map[string]struct{ from, to, want string }{
		"a file of another key":        {dir + "/one.1.key", "two.1", `it holds version "1" of key "one"`},
		"a file of another version":    {dir + "/one.1.key", "one.2", `it holds version "1" of key "one"`},
		"a file of a new name":         {dir + "/one.1.key", "new.1", `it holds version "1" of key "one"`},
		"a file of another keystore":   {otherDir + "/three.1.key", "three.1", "belongs to another keystore"},
		"the header in place of a key": {dir + "/keystore.json", "four.1", "not a key file"},
	} {
		data, err := os.ReadFile(c.from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, c.to+".key"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = open(t, dir).PublicKey(t.Context(), c.to)
		says(t, what, err, c.want)
	}
}

func TestAKeyFileOutsideTheDirectoryIsNotRead(t *testing.T) {
	k, dir := create(t)
	newKey(t, k, "one", law.P256)
	outside := filepath.Join(filepath.Dir(dir), "one.1.key")
	if err := errors.Join(os.Rename(dir+"/one.1.key", outside), os.Symlink("../one.1.key", dir+"/one.1.key")); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, dir).PublicKey(t.Context(), "one.1")
	says(t, "a link out of the directory", err, "path escapes from parent")
}

func TestManyProcessesMakeOneKeyPairOnce(t *testing.T) {
	_, dir := create(t)
	var mu sync.Mutex
	var made []keystore.KeyPair
	var all sync.WaitGroup
	for range 8 {
		k := open(t, dir)
		all.Go(func() {
			pair, err := k.Generate(t.Context(), "fw", 1, law.P256)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made = append(made, pair)
			case !errors.Is(err, keystore.ErrExists):
				t.Errorf("generating: %v", err)
			}
		})
	}
	all.Wait()
	if len(made) != 1 {
		t.Fatalf("the key pair was made %d times", len(made))
	}
	if got, err := open(t, dir).PublicKey(t.Context(), "fw.1"); err != nil || !bytes.Equal(got, made[0].PublicKey) {
		t.Errorf("on disk is another one (error %v)", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("something was left behind: %v, %v", entries, err)
	}
}

func TestAKeystoreWithoutItsDirectoryIsNotReady(t *testing.T) {
	k, dir := create(t)
	if err := os.Remove(dir + "/keystore.json"); err != nil {
		t.Fatal(err)
	}
	says(t, "without header", k.Ready(t.Context()), "no such file")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	says(t, "without directory", k.Ready(t.Context()), "no such file")
	_, err := k.Generate(t.Context(), "fw", 1, law.P256)
	says(t, "generating without directory", err, "no such file")
}

func BenchmarkSoftwareSign(b *testing.B) {
	k, _ := create(b)
	for _, a := range law.Algorithms() {
		key := newKey(b, k, law.KeyID("fw-"+strings.ToLower(string(a))), a)
		p := keystoretest.Permit(b, key, keystoretest.Input(key.Hash, key.Schemes[0], message))
		b.Run(string(a), func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Sign(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
