package browser

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// The release of axe-core that pages are tested with, and what npm calls its integrity.
const (
	axeVersion   = "4.14.1"
	axeIntegrity = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// fetchPatience is for a package that comes over the network.
const fetchPatience = 2 * time.Minute

// Finding is something on a page that keeps people out.
type Finding struct {
	ID     string `json:"id"`     // of the rule of axe-core
	Impact string `json:"impact"` // "serious" or "critical"
	Target string `json:"target"` // selector of the element
	Help   string `json:"help"`   // what is asked for, with where to read more
}

// Axe looks for what WCAG 2.2 on level AA forbids, with axe-core, and returns what is serious or critical. The
// scripts of the page must be on: axe-core is one, though the content security policy does not hold it off.
func (p *Page) Axe() []Finding {
	p.t.Helper()
	if !Eval[bool](p, `typeof axe === "object"`) {
		source, err := axeSource()
		if err != nil {
			p.t.Fatal(err)
		}
		do(p, "loading axe-core", chromedp.Evaluate[chromedp.Void](source))
	}
	return Eval[[]Finding](p, `axe.run(document, {
		runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]},
		resultTypes: ["violations"],
	}).then(found => found.violations
		.flatMap(rule => rule.nodes.map(node => ({
			id: rule.id, impact: node.impact, target: node.target.flat().join(" "), help: rule.help + "; " + rule.helpUrl,
		})))
		.filter(finding => ["serious", "critical"].includes(finding.impact)))`)
}

// axeSource is the script of axe-core. The package is kept in the user's cache, and fetched by npm if it is not there;
// its integrity is checked every time.
func axeSource() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a place to keep axe-core: %w", err)
	}
	kept := filepath.Join(cache, "keyserver-tests", "axe-core-"+axeVersion+".tgz")
	packed, err := os.ReadFile(kept)
	if err != nil || checkAxe(packed) != nil {
		if packed, err = fetchAxe(kept); err != nil {
			return "", fmt.Errorf("tests of pages need axe-core %s, which npm fetches: %w; run scripts/need npm, "+
				"and see that npm reaches its registry", axeVersion, err)
		}
	}
	return unpackAxe(packed)
}

// fetchAxe has npm fetch the package, checks it, and keeps it. Other tests may do the same now: it appears whole.
func fetchAxe(kept string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(kept), "fetch-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, end := context.WithTimeout(context.Background(), fetchPatience)
	defer end()
	npm := exec.CommandContext(ctx, "npm", "pack", "axe-core@"+axeVersion, "--ignore-scripts", "--loglevel=error")
	npm.Dir = dir // where no project's settings are, and where npm leaves the package
	if out, err := npm.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm pack: %w\n%s", err, out)
	}
	fetched := filepath.Join(dir, filepath.Base(kept))
	packed, err := os.ReadFile(fetched)
	if err != nil {
		return nil, err
	}
	if err := checkAxe(packed); err != nil {
		return nil, err
	}
	return packed, os.Rename(fetched, kept)
}

// checkAxe refuses a package that is not the one that is named here.
func checkAxe(packed []byte) error {
	sum := sha512.Sum512(packed)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != axeIntegrity {
		return fmt.Errorf("the package of axe-core is not the one that is pinned: its integrity is %s, not %s", got, axeIntegrity)
	}
	return nil
}

// unpackAxe takes the script out of the package.
func unpackAxe(packed []byte) (string, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", fmt.Errorf("unpacking axe-core: %w", err)
	}
	for files := tar.NewReader(unzipped); ; {
		file, err := files.Next()
		if errors.Is(err, io.EOF) {
			return "", errors.New("unpacking axe-core: there is no axe.min.js in it")
		}
		if err != nil {
			return "", fmt.Errorf("unpacking axe-core: %w", err)
		}
		if file.Name == "package/axe.min.js" {
			var source strings.Builder
			if _, err := io.Copy(&source, files); err != nil {
				return "", fmt.Errorf("unpacking axe-core: %w", err)
			}
			return source.String(), nil
		}
	}
}
