package main

import (
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/audit"
)

// everyCommand is one line for each command that asks the server.
func everyCommand(file string) [][]string {
	const op = "0192f0c1-0000-7000-8000-000000000001"
	digest := strings.Repeat("0", 64)
	return [][]string{
		{"whoami"}, {"notifications", "show"}, {"notifications", "set", "--nothing"}, {"keys"}, {"keys", "fw"}, {"keys", "fw", "--pem"},
		{"operation", "create", "--key", "fw=1", "--description", "d", "--context", "c", "--valid", "1h"},
		{"operation", "create", "--key", "fw=1", "--description", "d", "--context", "c", "--valid", "1h", "--artifact", file},
		{"operation", "list"}, {"operation", "show", op}, {"operation", "wait", op}, {"operation", "approve", op, "--digest", digest},
		{"operation", "withdraw", op}, {"operation", "reject", op, "--reason", "r"}, {"operation", "revoke", op, "--reason", "r"},
		{"sign", file, "--operation", op, "--key", "fw"}, {"verify", file, "--key", "fw", "--signature", file},
		{"admin", "export"}, {"admin", "diff", "-f", file}, {"admin", "plan", "-f", file, "--description", "d"}, {"admin", "apply", op},
		{"admin", "who-can", "fw"}, {"admin", "who-can", "fw", "-f", file}, {"admin", "session", "open", "--description", "d"},
		{"admin", "session", "list"}, {"admin", "session", "show", op}, {"admin", "session", "authorise", op, "--digest", digest},
		{"admin", "session", "withdraw", op}, {"admin", "session", "close", op},
		{"admin", "subject", "list"}, {"admin", "subject", "disable", "s", "--reason", "r"}, {"admin", "subject", "enable", "s", "--session", op, "--reason", "r"},
		{"admin", "subject", "create", "s", "--kind", "user", "--name", "n", "--identity", "https://i sub=1", "--session", op, "--reason", "r"},
		{"admin", "subject", "change", "s", "--name", "n", "--session", op, "--reason", "r"},
		{"admin", "role", "list"}, {"admin", "role", "create", "r", "--kind", "auditor", "--member", "s", "--session", op, "--reason", "r"},
		{"admin", "role", "change", "r", "--add-member", "s", "--session", op, "--reason", "r"}, {"admin", "role", "remove", "r", "--session", op, "--reason", "r"},
		{"admin", "key", "disable", "fw", "--reason", "r"}, {"admin", "key", "enable", "fw", "--session", op, "--reason", "r"},
		{"admin", "key", "change", "fw", "--requirement", "2", "--session", op, "--reason", "r"}, {"admin", "key", "revoke", "fw", "--session", op, "--reason", "r"},
		{"admin", "key", "replace-pair", "fw", "--session", op, "--reason", "r"},
		{"certificate", "list"}, {"certificate", "show", op}, {"certificate", "chain", "fw"}, {"certificate", "crl", "ca"},
		{"certificate", "issue", "ca", "--issuer", "root", "--session", op}, {"certificate", "issue", "fw", "--issuer", "ca", "--operation", op},
		{"certificate", "request", "fw", "--session", op}, {"certificate", "import", "fw", "-f", file, "--session", op},
		{"certificate", "revoke", op, "--code", "superseded", "--reason", "r"}, {"certificate", "make-crl", "root", "--session", op},
		{"device", "issue", file, "--operation", op, "--key", "ca"}, {"device", "list", "--operation", op}, {"device", "show", op},
		{"device", "revoke", op, "--code", "superseded", "--reason", "r"}, {"device", "revoke", "--operation", op, "--code", "superseded", "--reason", "r"},
		{"device", "lot", op}, {"device", "lot", op, "--list", file + ".csv"}, {"device", "lot", op, "--report", file + ".json"},
		{"audit", "list"}, {"audit", "checkpoint"}, {"audit", "export"}, {"audit", "export", "--output", file + ".log"},
	}
}

func TestEveryCommandSaysWhyItCouldNotBeDone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fw.bin")
	if err := os.WriteFile(file, []byte("firmware"), 0o600); err != nil {
		t.Fatal(err)
	}
	unavailable := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", api.MediaProblem)
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(mustJSON(api.Problem{Type: api.Unavailable.Type(), Detail: "the database cannot be had now", Status: http.StatusServiceUnavailable}))
	}))
	defer unavailable.Close()
	home := "KS_HOME=" + t.TempDir()
	for _, c := range []struct {
		name string
		env  []string
		code int
		says string
	}{
		{"no sign-in", []string{home, "KS_SERVER=" + unavailable.URL}, exitSignIn, "is not signed in"},
		{"no server", []string{home, "KS_TOKEN=token"}, exitSignIn, "no keyserver is known"},
		{"a server that is busy", []string{home, "KS_TOKEN=token", "KS_SERVER=" + unavailable.URL}, exitUnavailable, "the database cannot be had now"},
		{"no such profile", []string{home, "KS_TOKEN=token", "KS_SERVER=" + unavailable.URL, "KS_PROFILE=a/b"}, exitUsage, "use letters"},
	} {
		for _, args := range everyCommand(file) {
			var stderr strings.Builder
			code := run(t.Context(), args, c.env, strings.NewReader(""), io.Discard, &stderr)
			if code != c.code || !strings.Contains(stderr.String(), c.says) {
				t.Errorf("%s: ks %s: got %d %q, want %d %q", c.name, strings.Join(args, " "), code, stderr.String(), c.code, c.says)
			}
		}
	}
	if _, err := os.Stat(file + ".log"); err == nil {
		t.Error("there is an export although none came")
	}
}

func TestAServerWithAPrivateAuthorityIsTrustedOnlyWhenItIsNamed(t *testing.T) {
	kit := newKit(t)
	server := httptest.NewUnstartedServer(newFront(t, kit.URL).proxy)
	server.Config.ErrorLog = discardLog() // of connections that are given up
	server.StartTLS()
	defer server.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"KS_HOME=" + t.TempDir(), "KS_TOKEN=" + kit.Token("olga"), "KS_SERVER=" + server.URL}
	var stdout, stderr strings.Builder
	if code := run(t.Context(), []string{"whoami", "--ca-file", authority}, env, nil, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "olga") {
		t.Errorf("got %d %q", code, stderr.String())
	}
	if code := run(t.Context(), []string{"whoami"}, env, nil, io.Discard, &stderr); code != exitOther || !strings.Contains(stderr.String(), "name it with --ca-file") {
		t.Errorf("without --ca-file: got %d %q", code, stderr.String())
	}
}

func TestALogThatTellsOfWhatMayNotBeIsFound(t *testing.T) {
	p, signer, _, logKey := recorder(t)
	event := audit.Event{Version: audit.Version, Type: audit.OperationBecameApproved, Time: 1, Operation: "0192f0c1-0000-7000-8000-000000000001"}
	leaf, err := event.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	var tree audit.Tree
	tree, _ = tree.Append(leaf)
	signed, err := audit.SignCheckpoint(tree.Size(), tree.Root(), signer)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(name, bytes.Join([][]byte{leaf, {}, signed}, []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	err = p.auditVerify(name, logKey)
	if explain(err).code != exitTampered || !strings.Contains(err.Error(), "but it tells of what may not be: audit entry 0: ") {
		t.Errorf("got %v", err)
	}
}

func TestAnEmptyLogIsALogToo(t *testing.T) {
	p, signer, _, logKey := recorder(t)
	var out strings.Builder
	p.stdout = &out
	var tree audit.Tree
	signed, err := audit.SignCheckpoint(0, tree.Root(), signer)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(name, append([]byte("\n"), signed...), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.auditVerify(name, logKey); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(out.String(), "entries:    0\n") || !strings.Contains(out.String(), "compared:   with 1 remembered checkpoint:") {
		t.Errorf("got %s", out.String())
	}
}

func TestWithoutKS_HOMETheFilesAreInTheUsersConfiguration(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	p := &program{}
	if got, err := p.home(); err != nil || got != filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "ks") {
		t.Errorf("got %s, %v", got, err)
	}
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", "")
	var stderr strings.Builder
	if code := run(t.Context(), []string{"whoami"}, nil, nil, io.Discard, &stderr); code != exitOther || !strings.Contains(stderr.String(), "set KS_HOME") {
		t.Errorf("got %d %q", code, stderr.String())
	}
}
