package keyserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	faults, err := k.comparePairs(ctx, nil)
	var different error
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		different, unknown = errors.Join(different, faults[name].different), errors.Join(unknown, faults[name].unknown)
	}
	return unknown, errors.Join(err, different)
}

// fault is what is wrong with the key pairs of one keystore.
type fault struct {
	different error // which key pairs are not what is configured
	unknown   error // which could not be compared
}

// comparePairs compares, for every key that is not revoked, the key pair in its keystore with the configured
// one, if that has not been done. Keystores that are ill are not asked. It returns what is wrong, by keystore.
func (k *Keyserver) comparePairs(ctx context.Context, ill map[string]error) (map[string]*fault, error) {
	facts, err := k.Facts(ctx)
	if err != nil {
		return nil, err
	}
	k.pairs.Lock()
	defer k.pairs.Unlock()
	faults := map[string]*fault{}
	late := map[string]bool{} // keystores that did not answer in time: not asked for every key
	for _, key := range facts.Keys() {
		at := place{key.Keystore, key.Handle, key.Fingerprint}
		if key.State == law.KeyRevoked || k.pairs.same[at] || late[key.Keystore] || ill[key.Keystore] != nil {
			continue
		}
		if faults[key.Keystore] == nil {
			faults[key.Keystore] = &fault{}
		}
		f := faults[key.Keystore]
		public, err := k.keystores.PublicKey(ctx, key.Keystore, key.Handle)
		switch {
		case errors.Is(err, keystore.ErrNoKeyPair):
			f.different = errors.Join(f.different, fmt.Errorf("key %s: keystore %s does not have its key pair %s; is it the keystore that the key was made in?",
				key.ID, key.Keystore, key.Handle))
		case err != nil:
			f.unknown = errors.Join(f.unknown, fmt.Errorf("key %s: %w", key.ID, err))
			late[key.Keystore] = errors.Is(err, context.DeadlineExceeded)
		case !bytes.Equal(public, key.PublicKey):
			f.different = errors.Join(f.different, fmt.Errorf("key %s: its key pair %s in keystore %s has the fingerprint %s, and must have %s; is it the keystore that the key was made in?",
				key.ID, key.Handle, key.Keystore, keystore.Fingerprint(public), key.Fingerprint))
		default:
			k.pairs.same[at] = true
		}
	}
	return faults, nil
}

// keystoresReady says of every keystore whether it could sign now, with the key pairs that are configured.
// A key in a keystore that is not configured any more counts as one of these.
func (k *Keyserver) keystoresReady(ctx context.Context) []Check {
	ill := k.keystores.Ready(ctx)
	faults, err := k.comparePairs(ctx, ill)
	names := slices.Sorted(maps.Keys(faults))
	names = append(names, k.keystores.Names()...)
	slices.Sort(names)
	var checks []Check
	for _, name := range slices.Compact(names) {
		wrong := errors.Join(err, ill[name])
		if f := faults[name]; f != nil {
			wrong = errors.Join(wrong, f.different, f.unknown)
		}
		checks = append(checks, Check{"keystore " + name, wrong})
	}
	return checks
}
