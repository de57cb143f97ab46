package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/schollz/progressbar/v3"
)

// maxData is how much data a sign order takes, in bytes.
const maxData = 32 << 10

// hashFile returns the size of a file and its digest under each of the hashes. On a terminal it shows how
// far it is.
func (p *program) hashFile(ctx context.Context, name string, hashes ...string) (size int64, digests [][]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, nil, fmt.Errorf("hashing: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, nil, fmt.Errorf("hashing: %w", err)
	}
	if info.IsDir() {
		return 0, nil, usage("", "%s is a directory; name files", name)
	}
	var states []hash.Hash
	var writers []io.Writer
	for _, h := range hashes {
		state := hashOf(h)
		if state == 0 {
			return 0, nil, usage("", "hash %q is unknown; it is one of SHA-256, SHA-384 and SHA-512", h)
		}
		states = append(states, state.New())
		writers = append(writers, states[len(states)-1])
	}
	if bar := p.progress(info.Size(), "hashing "+filepath.Base(name)); bar != nil {
		defer bar.Close()
		writers = append(writers, bar)
	}
	size, err = io.Copy(io.MultiWriter(writers...), interruptible{ctx, f})
	if err != nil {
		return 0, nil, fmt.Errorf("hashing %s: %w", name, err)
	}
	for _, s := range states {
		digests = append(digests, s.Sum(nil))
	}
	return size, digests, nil
}

// interruptible stops reading when its context is done.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i interruptible) Read(b []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(b)
}

// progress returns a progress bar, nil when nobody would see it.
func (p *program) progress(size int64, what string) *progressbar.ProgressBar {
	if _, ok := terminal(p.stderr); !ok {
		return nil
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription(cell(what, 40)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionClearOnFinish(),
	)
}

// readData reads a file that is signed as a whole.
func readData(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading data: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxData+1))
	if err != nil {
		return nil, fmt.Errorf("reading data: %w", err)
	}
	if len(data) == 0 || len(data) > maxData {
		return nil, refused("sign a file with the file's digest in it, or use another key", "Ed25519 keys sign the data itself, from 1 to %d bytes; %s has more or none", maxData, name)
	}
	return data, nil
}

// readInput makes of a file what a key with this hash and scheme signs.
func (p *program) readInput(ctx context.Context, file, hash, scheme string) (input, error) {
	in := input{hash: hash, scheme: scheme}
	if scheme != edDSA {
		_, digests, err := p.hashFile(ctx, file, hash)
		if err == nil {
			in.digest = digests[0]
		}
		return in, err
	}
	data, err := readData(file)
	if err != nil {
		return in, err
	}
	state := hashOf(hash)
	if state == 0 {
		return in, errors.New("an Ed25519 key without a hash; it must be SHA-512 (RFC 8032)")
	}
	h := state.New()
	h.Write(data)
	in.data, in.digest = data, h.Sum(nil)
	return in, nil
}

// defaultIdempotencyKey names an input: whoever asks again for a signature over the same input with the
// same key under the same operation gets the same sign order, which takes no second use.
func defaultIdempotencyKey(in input) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "ks sign 1\n%s\n%s\n%x\n", in.hash, in.scheme, in.digest))
	return "ks-" + hex.EncodeToString(sum[:])
}
