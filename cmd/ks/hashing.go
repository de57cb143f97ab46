package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"

	"example.org/keyserver/internal/law"
)

// hashFile returns the size of a file and its digest under each of the hashes. On a terminal it shows how
// far it is.
func (p *program) hashFile(ctx context.Context, name string, hashes ...law.Hash) (size int64, digests [][]byte, err error) {
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
		if h.Size() == 0 {
			return 0, nil, usage("", "hash %q is unknown; it is one of %v", string(h), law.Hashes())
		}
		state := h.Crypto().New()
		states, writers = append(states, state), append(writers, state)
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

// progress returns a progress bar for bytes, nil when nobody would see it.
func (p *program) progress(size int64, what string) *progressbar.ProgressBar {
	return p.bar(size, what, progressbar.OptionShowBytes(true))
}

// count returns a progress bar for things, nil when nobody would see it.
func (p *program) count(n int, what string) *progressbar.ProgressBar {
	return p.bar(int64(n), what, progressbar.OptionShowCount())
}

func (p *program) bar(size int64, what string, shows progressbar.Option) *progressbar.ProgressBar {
	if _, ok := terminal(p.stderr); !ok {
		return nil
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription(cell(what, 40)),
		shows,
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
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
	data, err := io.ReadAll(io.LimitReader(f, law.MaxMessage+1))
	if err != nil {
		return nil, fmt.Errorf("reading data: %w", err)
	}
	if len(data) == 0 || len(data) > law.MaxMessage {
		return nil, refused("sign a file with the file's digest in it, or use another key", "Ed25519 keys sign the data itself, from 1 to %d bytes; %s has more or none", law.MaxMessage, name)
	}
	return data, nil
}

// readInput makes of a file what a key with this hash and scheme signs.
func (p *program) readInput(ctx context.Context, file string, hash law.Hash, scheme law.Scheme) (law.Input, error) {
	in := law.Input{Hash: hash, Scheme: scheme}
	if scheme != law.EdDSA {
		_, digests, err := p.hashFile(ctx, file, hash)
		if err == nil {
			in.Digest = digests[0]
		}
		return in, err
	}
	if hash != law.SHA512 {
		return in, usage("", "%s hashes with %s (RFC 8032), not %q", law.EdDSA, law.SHA512, string(hash))
	}
	data, err := readData(file)
	if err == nil {
		in.Message, in.Digest = data, hash.Sum(data)
	}
	return in, err
}

// defaultIdempotencyKey names an input: whoever asks again for a signature over the same input with the
// same key under the same operation gets the same sign order, which takes no second use.
func defaultIdempotencyKey(in law.Input) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "ks sign 1\n%s\n%s\n%x\n", in.Hash, in.Scheme, in.Digest))
	return "ks-" + hex.EncodeToString(sum[:])
}
