package software

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// Keystore keeps private keys in encrypted files. Make it with [Create] or [Open].
type Keystore struct {
	path    string
	dir     *os.Root
	kek     cipher.AEAD
	checker keystore.Checker

	mu     sync.RWMutex
	pairs  map[string]*pair // by handle; those that have been used
	closed bool
}

var _ keystore.Keystore = (*Keystore)(nil)

// Options for Create. The zero value is right.
type Options struct {
	Iterations int // of PBKDF2; 0 means DefaultIterations, fewer than MinIterations are refused
}

// Create makes a new keystore in the directory, which must be empty or not exist; its parent must exist.
// The caller keeps the passphrase; nothing can be read without it.
func Create(path string, passphrase []byte, o Options) (*Keystore, error) {
	if o.Iterations == 0 {
		o.Iterations = DefaultIterations
	}
	if err := create(path, passphrase, o); err != nil {
		return nil, fmt.Errorf("creating keystore %s: %w", path, err)
	}
	return Open(path, passphrase)
}

func create(path string, passphrase []byte, o Options) error {
	h, err := newHeader(passphrase, o.Iterations)
	if err != nil {
		return err
	}
	data, err := h.encode()
	if err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := openDir(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("the directory is not empty (it has %s in it); give an empty one, or one that does not exist", entries[0].Name())
	}
	return writeFile(dir, headerName, data)
}

// Open opens the keystore in the directory.
func Open(path string, passphrase []byte) (*Keystore, error) {
	dir, err := openDir(path)
	if err != nil {
		return nil, fmt.Errorf("opening keystore %s: %w", path, err)
	}
	h, err := readHeader(dir)
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("opening keystore %s: %w", path, err)
	}
	kek, err := h.unlock(passphrase)
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("opening keystore %s: %w", path, err)
	}
	return &Keystore{path: path, dir: dir, kek: kek, pairs: map[string]*pair{}}, nil
}

// Generate makes a key pair and writes its file.
func (k *Keystore) Generate(ctx context.Context, id law.KeyID, version int, a law.Algorithm) (keystore.KeyPair, error) {
	n := name{id, version}
	if parsed, ok := parseHandle(n.handle()); !ok || parsed != n {
		return keystore.KeyPair{}, fmt.Errorf("key id %q or version %d cannot be", id, version)
	}
	if err := k.open(ctx); err != nil {
		return keystore.KeyPair{}, err
	}
	if _, err := k.dir.Lstat(n.file()); err == nil {
		return keystore.KeyPair{}, keystore.ErrExists
	}
	private, err := generate(a)
	if err != nil {
		return keystore.KeyPair{}, err
	}
	if err := k.open(ctx); err != nil { // nobody waits for it any more: do not leave a file behind
		return keystore.KeyPair{}, err
	}
	err = writeFile(k.dir, n.file(), seal(k.kek, n, a, private))
	if errors.Is(err, fs.ErrExist) {
		return keystore.KeyPair{}, keystore.ErrExists
	}
	if err != nil {
		return keystore.KeyPair{}, err
	}
	p, err := k.pair(n.handle()) // from the file, so that what was written has been read once
	if err != nil {
		return keystore.KeyPair{}, err
	}
	return keystore.KeyPair{Handle: n.handle(), PublicKey: bytes.Clone(p.publicKey)}, nil
}

// Adopt refuses: a private key that comes from elsewhere has been elsewhere.
func (k *Keystore) Adopt(ctx context.Context, _ string) (keystore.KeyPair, error) {
	if err := k.open(ctx); err != nil {
		return keystore.KeyPair{}, err
	}
	return keystore.KeyPair{}, keystore.ErrNoAdoption
}

// PublicKey returns the public key of a key pair.
func (k *Keystore) PublicKey(ctx context.Context, handle string) ([]byte, error) {
	if err := k.open(ctx); err != nil {
		return nil, err
	}
	p, err := k.pair(handle)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(p.publicKey), nil
}

// Sign signs what the permit says.
func (k *Keystore) Sign(ctx context.Context, p law.Permit) (keystore.Unverified, error) {
	if err := k.checker.CheckPermit(p); err != nil {
		return keystore.Unverified{}, err
	}
	if err := k.open(ctx); err != nil {
		return keystore.Unverified{}, err
	}
	key, err := k.pair(p.Key().Handle)
	if err != nil {
		return keystore.Unverified{}, err
	}
	if !bytes.Equal(key.publicKey, p.Key().PublicKey) {
		return keystore.Unverified{}, fmt.Errorf("%w: the key pair at %s is not that of key %s", keystore.ErrUnfit, p.Key().Handle, p.Key().ID)
	}
	signature, err := key.sign(p.Input())
	return keystore.NewUnverified(signature), err
}

// Ready says whether the directory can still be read.
func (k *Keystore) Ready(ctx context.Context) error {
	if err := k.open(ctx); err != nil {
		return err
	}
	_, err := readHeader(k.dir)
	return err
}

// Close forgets the keys.
func (k *Keystore) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return keystore.ErrClosed
	}
	k.closed, k.pairs = true, nil
	return k.dir.Close()
}

func (k *Keystore) open(ctx context.Context) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.closed {
		return keystore.ErrClosed
	}
	return context.Cause(ctx)
}

// pair returns the key pair at the handle, reading its file the first time.
func (k *Keystore) pair(handle string) (*pair, error) {
	k.mu.RLock()
	p := k.pairs[handle]
	k.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := k.read(handle)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, keystore.ErrClosed
	}
	k.pairs[handle] = p
	return p, nil
}

func (k *Keystore) read(handle string) (*pair, error) {
	n, ok := parseHandle(handle)
	if !ok {
		return nil, keystore.ErrNoKeyPair
	}
	data, err := readFile(k.dir, n.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, keystore.ErrNoKeyPair
	}
	if err != nil {
		return nil, err
	}
	a, private, err := unseal(k.kek, n, data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", n.file(), err)
	}
	p, err := load(a, private)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", n.file(), err)
	}
	return p, nil
}

// Format prints nothing but the path, whatever the verb.
func (k *Keystore) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "software keystore %s", k.path) }

// LogValue logs nothing but the path.
func (k *Keystore) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }
