package keyserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// pairs are the key pairs that were compared with the configuration and are what it says.
type pairs struct {
	sync.Mutex
	same map[place]bool
}

// place is where a key pair is to be, and which one.
type place struct{ keystore, handle, fingerprint string }

// fits says whether the log key and the keystores are those of the database. unknown says what could not be
// compared, since a keystore is not to be had.
func (k *Keyserver) fits(ctx context.Context) (unknown, err error) {
	server, err := look(ctx, k, func(r *store.Reader) (string, error) { return r.Server(), nil })
	if err != nil {
		return nil, err
	}
	if server != k.ServerID() {
		return nil, fmt.Errorf("the log key is that of %s and the database that of %s; configure the log key and the database that belong together",
			k.ServerID(), server)
	}
	different, unknown, err := k.comparePairs(ctx)
	return unknown, errors.Join(err, different)
}

// comparePairs compares, for every key that is not revoked, the key pair in its keystore with the configured
// one, if that has not been done. different says which are not the same, unknown which could not be compared.
func (k *Keyserver) comparePairs(ctx context.Context) (different, unknown, err error) {
	facts, err := k.Facts(ctx)
	if err != nil {
		return nil, nil, err
	}
	k.pairs.Lock()
	defer k.pairs.Unlock()
	late := map[string]bool{} // keystores that did not answer in time: not asked for every key
	for _, key := range facts.Keys() {
		at := place{key.Keystore, key.Handle, key.Fingerprint}
		if key.State == law.KeyRevoked || k.pairs.same[at] || late[key.Keystore] {
			continue
		}
		public, err := k.keystores.PublicKey(ctx, key.Keystore, key.Handle)
		switch {
		case errors.Is(err, keystore.ErrNoKeyPair):
			different = errors.Join(different, fmt.Errorf("key %s: keystore %s does not have its key pair %s; is it the keystore that the key was made in?",
				key.ID, key.Keystore, key.Handle))
		case err != nil:
			unknown = errors.Join(unknown, fmt.Errorf("key %s: %w", key.ID, err))
			late[key.Keystore] = errors.Is(err, context.DeadlineExceeded)
		case !bytes.Equal(public, key.PublicKey):
			different = errors.Join(different, fmt.Errorf("key %s: its key pair %s in keystore %s has the fingerprint %s, and must have %s; is it the keystore that the key was made in?",
				key.ID, key.Handle, key.Keystore, keystore.Fingerprint(public), key.Fingerprint))
		default:
			k.pairs.same[at] = true
		}
	}
	return different, unknown, nil
}

// keystoresReady says whether every keystore could sign now, with the key pairs that are configured.
func (k *Keyserver) keystoresReady(ctx context.Context) error {
	if err := k.keystores.Ready(ctx); err != nil {
		return err
	}
	different, unknown, err := k.comparePairs(ctx)
	return errors.Join(err, different, unknown)
}
