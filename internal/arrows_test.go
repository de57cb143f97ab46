// Package internal_test keeps the arrows of ARCHITECTURE.md: which room may import which.
package internal_test

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "example.org/keyserver/"

// arrows says for each room which rooms it may import. Test kits may import everything.
var arrows = map[string][]string{
	"internal/law":               {},
	"internal/audit":             {"internal/law"},
	"internal/keystore":          {"internal/law"},
	"internal/keystore/software": {"internal/law", "internal/keystore"},
	"internal/keystore/hsm":      {"internal/law", "internal/keystore"},
	"internal/coredump":          {},
	"internal/identity":          {"internal/law"},
	"internal/strictyaml":        {},
	"internal/limits":            {"internal/law"},
	"internal/pki":               {"internal/law", "internal/keystore"},
	"internal/policy":            {"internal/law", "internal/strictyaml"},
	"internal/config":            {"internal/law", "internal/policy", "internal/strictyaml"},
	"internal/store":             {"internal/law", "internal/audit"},
	"internal/lotreport":         {"internal/law", "internal/audit"},
	"internal/verify":            {"internal/law", "internal/audit", "internal/keystore"},
	"internal/verify/database":   {"internal/law", "internal/audit", "internal/keystore", "internal/store", "internal/verify"},
	"internal/keyserver":         {"internal/law", "internal/audit", "internal/identity", "internal/keystore", "internal/pki", "internal/store", "internal/lotreport"},
	"internal/notify":            {"internal/law", "internal/audit", "internal/keyserver"},
	"internal/httpapi":           {"api", "internal/law", "internal/limits", "internal/audit", "internal/keystore", "internal/identity", "internal/keyserver", "internal/policy"},
	"internal/webui":             {"api", "internal/law", "internal/limits", "internal/audit", "internal/identity", "internal/keyserver", "internal/pki", "internal/policy"},
	"api":                        {},
	"client":                     {"api"},
	"cmd/ks":                     {"api", "client", "internal/law", "internal/audit", "internal/keystore", "internal/lotreport", "internal/policy", "internal/verify"},
	"cmd/keyserver": {
		"internal/law", "internal/limits", "internal/audit", "internal/config", "internal/coredump", "internal/httpapi", "internal/identity", "internal/keyserver", "internal/keystore",
		"internal/keystore/hsm", "internal/keystore/software", "internal/store", "internal/verify", "internal/verify/database", "internal/webui", "internal/notify",
	},
	"cmd/keyserver-hsm": {"internal/law", "internal/keystore", "internal/keystore/hsm", "internal/coredump"},
	"cmd/devidp":        {},
}

// kits serve tests and trials.
var kits = []string{
	"internal/testkit", "internal/keystore/keystoretest", "internal/keystore/hsm/hsmtest", "internal/identity/identitytest", "internal/store/storetest", "internal/store/postgrestest",
	"internal/verify/verifytest", "internal/notify/notifytest",
	"internal/law/mutants", "e2e/demo", "e2e/bench", "e2e/stand", "e2e/pkcs11shim", "e2e/browser",
}

// only says which rooms alone may import a package of others, besides the kits.
var only = map[string][]string{
	"database/sql":                      {"internal/store"},
	"modernc.org/sqlite":                {"internal/store"},
	"github.com/jackc/pgx/v5":           {"internal/store"},
	"net/http":                          {"api", "internal/httpapi", "internal/webui", "internal/notify", "internal/identity", "client", "cmd/keyserver", "cmd/ks", "cmd/devidp"},
	"github.com/zitadel/oidc/v3/pkg/op": {"cmd/devidp"},
	"github.com/miekg/pkcs11":           {"cmd/keyserver-hsm"}, // which is cgo
	"github.com/chromedp/chromedp":      {},
	"C":                                 {},
}

type room struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	CgoFiles   []string
	Imports    []string
}

func rooms(t *testing.T) []room {
	t.Helper()
	c := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,CgoFiles,Imports", "./...")
	c.Dir, c.Env = "..", append(os.Environ(), "CGO_ENABLED=1") // the HSM worker is there with cgo alone
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []room
	for d := jsontext.NewDecoder(bytes.NewReader(out)); d.PeekKind() != 0; {
		var r room
		if err := json.UnmarshalDecode(d, &r); err != nil {
			t.Fatal(err)
		}
		r.ImportPath = strings.TrimPrefix(r.ImportPath, module)
		all = append(all, r)
	}
	if len(all) < len(arrows) {
		t.Fatalf("go list names %d rooms; there are at least %d", len(all), len(arrows))
	}
	return all
}

func TestEachRoomImportsOnlyWhatTheArrowsAllow(t *testing.T) {
	for _, r := range rooms(t) {
		if slices.Contains(kits, r.ImportPath) || len(r.GoFiles) == 0 {
			continue
		}
		allowed, known := arrows[r.ImportPath]
		if !known {
			t.Errorf("%s is a room without arrows; add it here and to ARCHITECTURE.md", r.ImportPath)
		}
		for _, i := range r.Imports {
			if own, ours := strings.CutPrefix(i, module); ours && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s, and there is no such arrow", r.ImportPath, own)
			}
			if rooms, restricted := only[i]; restricted && !slices.Contains(rooms, r.ImportPath) {
				t.Errorf("%s imports %s, which is for %v alone", r.ImportPath, i, rooms)
			}
		}
		if len(r.CgoFiles) > 0 {
			t.Errorf("%s uses cgo", r.ImportPath)
		}
	}
}

func TestTheLawIsPure(t *testing.T) {
	for _, r := range rooms(t) {
		if r.ImportPath != "internal/law" {
			continue
		}
		for _, i := range r.Imports {
			for _, impure := range []string{"os", "io", "net", "database", "log", "math/rand", "crypto/rand", "context", "sync", "runtime", "syscall"} {
				if i == impure || strings.HasPrefix(i, impure+"/") {
					t.Errorf("the law imports %s", i)
				}
			}
		}
	}
}

// A program tells the time in one place, and passes it on.
func TestTheClockIsReadInOnePlaceOfAProgram(t *testing.T) {
	for _, r := range rooms(t) {
		if slices.Contains(kits, r.ImportPath) {
			continue
		}
		uses := 0
		for _, file := range r.GoFiles {
			uses += usesOf(t, filepath.Join(r.Dir, file), "time", "Now")
		}
		switch program := strings.HasPrefix(r.ImportPath, "cmd/"); {
		case program && uses > 1:
			t.Errorf("%s reads the clock in %d places; one is allowed", r.ImportPath, uses)
		case !program && r.ImportPath != "client" && uses > 0:
			t.Errorf("%s reads the clock; it is to be told the time", r.ImportPath)
		}
	}
}

// usesOf counts how often a file uses a name of a package.
func usesOf(t *testing.T, path, pkg, name string) int {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		if s, ok := node.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == pkg && s.Sel.Name == name {
				n++
			}
		}
		return true
	})
	return n
}
