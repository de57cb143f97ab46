package keyserver

import (
	"context"
	"errors"
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// Difference is what would change if the configuration became another one.
type Difference struct {
	Changes law.Changes
	Before  law.Configuration // the objects that change, as they are now
	Faults  []string          // why the change would be refused, each a sentence; empty: it would not be
}

// Policy returns the whole configuration, for administrators and auditors.
func (k *Keyserver) Policy(ctx context.Context, c Caller) (law.Configuration, error) {
	return readConfiguration(ctx, k, c, func(f law.Facts) (law.Configuration, error) {
		all := f.Configuration()
		all.Administration = f.Administration()
		return all, nil
	})
}

// Subjects lists all subjects, for administrators and auditors.
func (k *Keyserver) Subjects(ctx context.Context, c Caller) ([]law.Subject, error) {
	return readConfiguration(ctx, k, c, func(f law.Facts) ([]law.Subject, error) { return f.Subjects(), nil })
}

// Roles lists all roles, for administrators and auditors.
func (k *Keyserver) Roles(ctx context.Context, c Caller) ([]law.Role, error) {
	return readConfiguration(ctx, k, c, func(f law.Facts) ([]law.Role, error) { return f.Roles(), nil })
}

// readConfiguration answers somebody who may read the whole configuration.
func readConfiguration[T any](ctx context.Context, k *Keyserver, c Caller, read func(law.Facts) (T, error)) (T, error) {
	var refused error
	out, err := look(ctx, k, func(r *store.Reader) (T, error) {
		if refused = r.Facts().ReadConfiguration(c.Subject); refused != nil {
			var none T
			return none, refused
		}
		return read(r.Facts())
	})
	if refused == nil {
		return out, err // a trial that is refused is no event
	}
	return out, k.auditHidden(ctx, c, err, audit.Event{})
}

// Difference says what would change if the configuration became the wanted one, which is whole, and why that would be
// refused. It is a trial: it changes nothing, and what is refused of it is no event.
func (k *Keyserver) Difference(ctx context.Context, c Caller, wanted law.Configuration) (Difference, error) {
	return readConfiguration(ctx, k, c, func(f law.Facts) (Difference, error) {
		changes, err := f.Difference(wanted)
		if err != nil {
			return Difference{Faults: []string{err.Error()}}, nil
		}
		return Difference{changes, before(f, changes), k.faults(f, changes, wanted)}, nil
	})
}

// faults says why the changes to what is wanted would be refused.
func (k *Keyserver) faults(f law.Facts, changes law.Changes, wanted law.Configuration) []string {
	if changes.Empty() {
		return nil
	}
	var faults []string
	if after, err := law.NewFacts(wanted); err == nil {
		faults = after.NewFaults(f, k.mode)
	}
	if _, err := changes.On(f, nil, k.mode); err != nil && !slices.Contains(faults, err.Error()) {
		faults = append(faults, err.Error())
	}
	if err := k.knowsKeystores(changes.NewPairs(f)); err != nil {
		faults = append(faults, err.Error())
	}
	return faults
}

// WhoCan says who can obtain a signature with a key, for administrators and auditors: in the configuration as it is, in
// the whole one that is planned, or in the one after the plan of a session. planned may be nil and session empty.
func (k *Keyserver) WhoCan(ctx context.Context, c Caller, key law.KeyID, planned *law.Configuration, session law.SessionID) (law.WhoCan, error) {
	if planned == nil && session != "" {
		after, err := k.planned(ctx, c, session)
		if err != nil {
			return law.WhoCan{}, err
		}
		planned = &after
	}
	return readConfiguration(ctx, k, c, func(f law.Facts) (law.WhoCan, error) {
		if planned != nil {
			after, err := law.NewFacts(*planned)
			if err != nil {
				return law.WhoCan{}, misfit("%v", err)
			}
			f = after
		}
		who, known := f.WhoCan(key)
		if !known {
			return law.WhoCan{}, errNoKey
		}
		return who, nil
	})
}

// planned is the configuration as it would be after the plan of a session.
func (k *Keyserver) planned(ctx context.Context, c Caller, id law.SessionID) (law.Configuration, error) {
	after, err := look(ctx, k, func(r *store.Reader) (law.Configuration, error) {
		s, err := visibleSession(r, c, id)
		if err != nil {
			return law.Configuration{}, err
		}
		if len(s.Changes) == 0 {
			return r.Facts().Configuration(), nil
		}
		changes, err := audit.ParsePlan(s.Changes)
		if err != nil {
			return law.Configuration{}, err
		}
		return changes.On(r.Facts(), nil, k.mode)
	})
	var u *unseen
	if errors.As(err, &u) {
		err = k.auditHidden(ctx, c, err, audit.Event{Session: string(id)})
	}
	return after, err
}

// before is the objects that a change is about, as they are now.
func before(f law.Facts, c law.Changes) law.Configuration {
	var all law.Configuration
	if c.Set.Administration != (law.Administration{}) {
		all.Administration = f.Administration()
	}
	for _, i := range c.Set.Issuers {
		all.Issuers = appendKnown(all.Issuers, i.URL, f.Issuer)
	}
	for _, url := range c.RemoveIssuers {
		all.Issuers = appendKnown(all.Issuers, url, f.Issuer)
	}
	for _, s := range c.Set.Subjects {
		all.Subjects = appendKnown(all.Subjects, s.ID, f.Subject)
	}
	for _, k := range c.Set.Keys {
		all.Keys = appendKnown(all.Keys, k.ID, f.Key)
	}
	for _, id := range c.ReplacePairs {
		all.Keys = appendKnown(all.Keys, id, f.Key)
	}
	roles := map[law.RoleID]bool{}
	for _, r := range c.Set.Roles {
		roles[r.ID] = true
	}
	for _, id := range c.RemoveRoles {
		roles[id] = true
	}
	for _, r := range f.Roles() {
		if roles[r.ID] {
			all.Roles = append(all.Roles, r)
		}
	}
	return all
}

func appendKnown[T, ID any](all []T, id ID, find func(ID) (T, bool)) []T {
	if o, known := find(id); known {
		return append(all, o)
	}
	return all
}
