package keyserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// Initialise makes the key pairs of the first configuration, or adopts them, and stores it, for servers of this mode.
// It does so once: a database that has a configuration is refused, and so is a configuration that makes no sense. It
// can be done again if it was cut off before. The keys given have their key pairs afterwards.
func Initialise(ctx context.Context, db *store.DB, keystores *keystore.Set, m law.Mode, first law.Configuration) error {
	facts, err := law.NewFacts(first)
	if err != nil {
		return err
	}
	if faults := facts.Sense(m); len(faults) > 0 {
		return errors.New(strings.Join(faults, "\n"))
	}
	for i, key := range first.Keys {
		pair, err := provide(ctx, keystores, key.With(law.KeyPair{}))
		if err != nil {
			return err
		}
		first.Keys[i] = key.With(pair)
	}
	if _, err := law.NewFacts(first); err != nil {
		return err
	}
	objects, err := audit.ConfigurationOf(first)
	if err != nil {
		return err
	}
	_, err = store.Update(ctx, db, func(tx *store.Tx) (struct{}, error) {
		if len(tx.Facts().Subjects()) > 0 {
			return struct{}{}, errors.New("the database has a configuration already")
		}
		return struct{}{}, Caller{}.configure(tx, audit.Event{Reason: "first configuration"}, objects)
	})
	return err
}

// provide makes the key pair of a key that needs a new one, or adopts it.
func provide(ctx context.Context, keystores *keystore.Set, key law.Key) (law.KeyPair, error) {
	if key.Adopted != "" {
		return adopt(ctx, keystores, key)
	}
	return makeKeyPair(ctx, keystores, key)
}

// makeKeyPair makes a key pair of the next version that the keystore does not have. One that it has, of an
// attempt that was cut off or of another server, is left alone: nobody vouches for where it has been.
func makeKeyPair(ctx context.Context, keystores *keystore.Set, key law.Key) (law.KeyPair, error) {
	version := key.Version + 1
	pair, err := keystores.Generate(ctx, key.Keystore, key.ID, version, key.Algorithm)
	for errors.Is(err, keystore.ErrExists) {
		version++
		pair, err = keystores.Generate(ctx, key.Keystore, key.ID, version, key.Algorithm)
	}
	if err != nil {
		return law.KeyPair{}, err
	}
	return pairOf(pair, version), nil
}

// adopt returns the key pair that the key's keystore has. One that could be elsewhere as well is adopted only
// if that was said. What is wrong with the key pair itself is a refusal.
func adopt(ctx context.Context, keystores *keystore.Set, key law.Key) (law.KeyPair, error) {
	pair, err := keystores.Adopt(ctx, key.Keystore, key.Adopted)
	if errors.Is(err, keystore.ErrNoKeyPair) || errors.Is(err, keystore.ErrNoAdoption) {
		return law.KeyPair{}, misfit("key %s: %v", key.ID, err)
	}
	if err != nil {
		return law.KeyPair{}, fmt.Errorf("key %s: %w", key.ID, err)
	}
	is, err := keystore.AlgorithmOf(pair.PublicKey)
	switch {
	case err != nil:
		return law.KeyPair{}, misfit("key %s: %v", key.ID, err)
	case is != key.Algorithm:
		return law.KeyPair{}, misfit("key %s: the key pair %s is of %s, not %s; say algorithm: %s", key.ID, key.Adopted, is, key.Algorithm, is)
	case pair.Attributes.CanLeave() && !key.MayLeave:
		return law.KeyPair{}, misfit("key %s: the private key of %s could leave keystore %s, or does not say that it could not; make a new one, or say extractable: allowed",
			key.ID, key.Adopted, key.Keystore)
	}
	return pairOf(pair, 1), nil
}

func misfit(sentence string, args ...any) error {
	return &law.Refusal{Kind: law.Impossible, Reason: fmt.Sprintf(sentence, args...)}
}

func pairOf(p keystore.KeyPair, version int) law.KeyPair {
	return law.KeyPair{Version: version, Handle: p.Handle, PublicKey: p.PublicKey, Fingerprint: keystore.Fingerprint(p.PublicKey), Attributes: p.Attributes}
}

// configure stores objects of the configuration, or that they are configured no more. as is what their events have in
// common. What follows from it is for the caller, see rejudge.
func (c Caller) configure(tx *store.Tx, as audit.Event, objects []audit.Configuration) error {
	as.Type, as.Request = audit.ConfigurationChanged, c.Request
	if c.Subject != "" {
		as.Actor = c.actor()
	}
	events := make([]audit.Event, 0, len(objects))
	for _, object := range objects {
		as.Configuration = &object
		events = append(events, as)
	}
	if err := tx.Configure(events...); err != nil {
		return fmt.Errorf("storing the configuration: %w", err)
	}
	return nil
}

// rejudge stores what a change of the configuration has made of open operations (rule 9) and administration sessions,
// in the transaction of the change.
func rejudge(tx *store.Tx) error {
	open, err := allOpen(&tx.Reader)
	if err != nil {
		return err
	}
	if err := settleAll(tx, open); err != nil {
		return err
	}
	sessions, err := tx.OpenSessionIDs()
	if err != nil {
		return err
	}
	return settleSessions(tx, sessions)
}
