package software

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
)

const maxFile = 64 << 10 // bytes; the largest key file, of an RSA-4096 key, has less than 3 KiB

// private refuses what anybody but the owner can reach.
func private(name string, info os.FileInfo) error {
	if wide := info.Mode().Perm() & 0o077; wide != 0 {
		return fmt.Errorf("%s has mode %04o, which lets others than its owner at it; run chmod go= on it", name, info.Mode().Perm())
	}
	return nil
}

func openDir(path string) (*os.Root, error) {
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat(".")
	if err == nil {
		err = private("directory "+path, info)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

func readFile(dir *os.Root, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, more than such a file ever has", name, info.Size())
	}
	if err := private("file "+name, info); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// writeFile makes a new file, whole and durable or not at all. It never replaces one: then the error is
// os.ErrExist. It ends with a link, not a rename, because a rename replaces.
func writeFile(dir *os.Root, name string, data []byte) error {
	draft := ".new-" + rand.Text()
	f, err := dir.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = dir.Link(draft, name)
	}
	if err = errors.Join(err, dir.Remove(draft)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
