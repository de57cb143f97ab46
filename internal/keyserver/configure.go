package keyserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// Adoption is a key of the first configuration whose key pair is not made: its keystore has it already.
type Adoption struct {
	Key         law.KeyID
	Name        string // of the key pair, as its keystore understands it
	Extractable bool   // whether it may be one that could leave its keystore
}

// Initialise makes the key pairs of the first configuration, or adopts them, and stores it. It does so once: a
// database that has a configuration is refused. It can be done again if it was cut off before.
func Initialise(ctx context.Context, db *store.DB, keystores *keystore.Set, first law.Configuration, adoptions ...Adoption) error {
	if _, err := law.NewFacts(first); err != nil {
		return err
	}
	for i := range first.Keys {
		key := &first.Keys[i]
		provide := makeKeyPair
		if j := slices.IndexFunc(adoptions, func(a Adoption) bool { return a.Key == key.ID }); j >= 0 {
			provide = adoptions[j].adopt
		}
		if err := provide(ctx, keystores, key); err != nil {
			return err
		}
	}
	_, err := store.Update(ctx, db, func(tx *store.Tx) (struct{}, error) {
		if len(tx.Facts().Subjects()) > 0 {
			return struct{}{}, errors.New("the database has a configuration already")
		}
		return struct{}{}, configure(tx, Caller{}, "first configuration", first)
	})
	return err
}

// makeKeyPair makes a key pair of the first version that the keystore does not have. One that it has, of an
// attempt that was cut off or of another server, is left alone: nobody vouches for where it has been.
func makeKeyPair(ctx context.Context, keystores *keystore.Set, key *law.Key) error {
	key.Version = 1
	pair, err := keystores.Generate(ctx, key.Keystore, key.ID, key.Version, key.Algorithm)
	for errors.Is(err, keystore.ErrExists) {
		key.Version++
		pair, err = keystores.Generate(ctx, key.Keystore, key.ID, key.Version, key.Algorithm)
	}
	if err != nil {
		return err
	}
	has(key, pair)
	return nil
}

// adopt gives the key the key pair that its keystore has. One that could be elsewhere as well is adopted only
// if that was said.
func (a Adoption) adopt(ctx context.Context, keystores *keystore.Set, key *law.Key) error {
	pair, err := keystores.Adopt(ctx, key.Keystore, a.Name)
	if err != nil {
		return fmt.Errorf("key %s: %w", key.ID, err)
	}
	is, err := keystore.AlgorithmOf(pair.PublicKey)
	if err != nil {
		return fmt.Errorf("key %s: %w", key.ID, err)
	}
	switch {
	case is != key.Algorithm:
		return fmt.Errorf("key %s: the key pair %s is of %s, not %s; say algorithm: %s", key.ID, a.Name, is, key.Algorithm, is)
	case pair.Attributes.CanLeave() && !a.Extractable:
		return fmt.Errorf("key %s: the private key of %s could leave keystore %s, or does not say that it could not; make a new one, or say extractable: allowed",
			key.ID, a.Name, key.Keystore)
	}
	key.Version = 1
	has(key, pair)
	return nil
}

func has(key *law.Key, pair keystore.KeyPair) {
	key.Handle, key.PublicKey, key.Fingerprint = pair.Handle, pair.PublicKey, keystore.Fingerprint(pair.PublicKey)
	key.Attributes = pair.Attributes
}

// configure stores the objects of a configuration that are new or changed, each in the place of the one with
// its id, and re-judges every open operation in the same transaction (rule 9).
func configure(tx *store.Tx, c Caller, why string, changed law.Configuration) error {
	objects, err := changes(tx.Facts(), changed)
	if err != nil || len(objects) == 0 {
		return err
	}
	events := make([]audit.Event, 0, len(objects))
	for _, object := range objects {
		e := audit.Event{Type: audit.ConfigurationChanged, Configuration: &object, Reason: why, Request: c.Request}
		if c.Subject != "" {
			e.Actor = c.actor()
		}
		events = append(events, e)
	}
	if err := tx.Configure(events...); err != nil {
		return fmt.Errorf("storing the configuration: %w", err)
	}
	open, err := allOpen(&tx.Reader)
	if err != nil {
		return err
	}
	return settleAll(tx, open)
}

// changes returns the objects that are not configured like this already.
func changes(now law.Facts, wanted law.Configuration) ([]audit.Configuration, error) {
	objects, err := audit.ConfigurationOf(wanted)
	if err != nil {
		return nil, err
	}
	as, err := audit.ConfigurationOf(law.Configuration{Issuers: now.Issuers(), Subjects: now.Subjects(), Roles: now.Roles(), Keys: now.Keys()})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(objects, func(o audit.Configuration) bool {
		return slices.ContainsFunc(as, func(n audit.Configuration) bool {
			return n.Kind == o.Kind && n.ID == o.ID && bytes.Equal(n.Value, o.Value)
		})
	}), nil
}

// Configure changes the configuration. Until administration sessions exist no route leads here: it serves
// tests, which change the facts that operations are judged by.
func (k *Keyserver) Configure(ctx context.Context, c Caller, why string, changed law.Configuration) error {
	_, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) { return struct{}{}, configure(tx, c, why, changed) })
	return err
}
