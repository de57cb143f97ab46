package main

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// home is the directory of ks's own files (`ks help files`).
func (p *program) home() (string, error) {
	if dir := p.getenv("KS_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding the directory for sign-ins: %w; set KS_HOME", err)
	}
	return filepath.Join(dir, "ks"), nil
}

// homeFile returns the name of a file of ours.
func (p *program) homeFile(dir, name string) (string, error) {
	home, err := p.home()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, dir, name), nil
}

// lock keeps other runs of ks from changing our files until unlock is called.
func (p *program) lock() (unlock func(), err error) {
	name, err := p.homeFile("", "lock")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory for sign-ins: %w", err)
	}
	unlock, err = lockedfile.MutexAt(name).Lock()
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", filepath.Dir(name), err)
	}
	return unlock, nil
}

// readPrivate reads a file of ours that is JSON, and says whether it is there. It refuses one that others
// can read or write.
func readPrivate(name string, into any) (bool, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", name, err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return false, fmt.Errorf("reading %s: others on this machine have access to it (mode %04o); run `chmod 600` on it if you trust it, else remove it and run `ks login`", name, info.Mode().Perm())
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", name, err)
	}
	if err := json.Unmarshal(data, into, json.RejectUnknownMembers(true)); err != nil {
		return false, fmt.Errorf("reading %s: %w; it was not written by this version of ks", name, err)
	}
	return true, nil
}

// writePrivate writes a file of ours that nobody else can read.
func writePrivate(name string, v any) error {
	out, err := json.Marshal(v, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return writeWhole(name, append(out, '\n'), 0o600)
}

// writeWhole writes a file completely or not at all.
func writeWhole(name string, data []byte, mode os.FileMode) error {
	return fillWhole(name, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// fillWhole is writeWhole for what is not at hand as a whole.
func fillWhole(name string, mode os.FileMode, fill func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".ks-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer os.Remove(f.Name()) // finds nothing once the file has its name
	if err := fill(f); err != nil {
		f.Close()
		return err
	}
	err = errors.Join(f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// writeNew writes a file unless another one with that name is there already. One with the same content is
// left as it is.
func writeNew(name string, data []byte, force bool) error {
	if !force {
		there, err := os.ReadFile(name)
		switch {
		case err == nil && bytes.Equal(there, data):
			return nil
		case err == nil:
			return errExists(name)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("looking for %s: %w", name, err)
		}
	}
	return writeWhole(name, data, 0o644)
}

func errExists(name string) error {
	return &failure{code: exitOther, what: fmt.Sprintf("%s is there already and something else", name), hint: "choose another file with --output, or overwrite it with --force"}
}
