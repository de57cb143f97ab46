package law

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// Changes is a change of the configuration: objects as they are to be, each in the place of the one with its id,
// and those that are to go. The keys in it have no key pair (see [KeyPair]): one that is there keeps its own.
type Changes struct {
	Set           Configuration // a zero Administration changes nothing
	RemoveRoles   []RoleID
	RemoveIssuers []string
	ReplacePairs  []KeyID // keys that get a new key pair, which ends every open operation that names them (rule 9)
}

// Empty says whether nothing changes.
func (c Changes) Empty() bool {
	return c.Set.Administration == (Administration{}) &&
		len(c.Set.Issuers)+len(c.Set.Subjects)+len(c.Set.Roles)+len(c.Set.Keys)+len(c.RemoveRoles)+len(c.RemoveIssuers)+len(c.ReplacePairs) == 0
}

// KeyPair is the part of a key that its keystore gives.
type KeyPair struct {
	Version     int
	Handle      string
	PublicKey   []byte // SubjectPublicKeyInfo, DER
	Fingerprint string
	Attributes  *KeyAttributes
}

// Pair returns the key pair of the key; the zero KeyPair if it has none yet.
func (k Key) Pair() KeyPair {
	return KeyPair{k.Version, k.Handle, k.PublicKey, k.Fingerprint, k.Attributes}
}

// With returns the key with this key pair.
func (k Key) With(p KeyPair) Key {
	k.Version, k.Handle, k.PublicKey, k.Fingerprint, k.Attributes = p.Version, p.Handle, p.PublicKey, p.Fingerprint, p.Attributes
	return k
}

// NewPairs returns the keys that need a new key pair before the change can be made: those that are not there yet and
// those whose key pair is replaced.
func (c Changes) NewPairs(f Facts) []Key {
	keys := slices.DeleteFunc(slices.Clone(c.Set.Keys), func(k Key) bool { _, known := f.keys[k.ID]; return known })
	for _, id := range c.ReplacePairs {
		if k, known := f.keys[id]; known {
			keys = append(keys, k)
		}
	}
	return keys
}

// Change makes a change of the configuration in the session, or refuses it. Without a plan the session allows any
// change that makes sense; with one nothing but the plan, whose digest is given, once, and only while the
// configuration is the one it was made against: changed counts the changes of the configuration. pairs are the key
// pairs of new keys; a nil map judges the change before they are made. The outcome is of the session, and the
// configuration is the one after.
func (s Session) Change(who SubjectID, c Changes, plan Digest, changed int64, pairs map[KeyID]KeyPair, m Mode, f Facts, now time.Time) (SessionOutcome, Configuration, error) {
	out, err := s.Act(who, f, now)
	s = out.Session
	switch {
	case err != nil:
		return out, Configuration{}, err
	case s.Plan != "" && plan == "":
		return out, Configuration{}, refusePlanned()
	case s.Plan != plan:
		return out, Configuration{}, refuse(Forbidden, "this is not the plan that the session was authorised for")
	case s.Plan != "" && s.Base != changed:
		return out, Configuration{}, refuse(WrongState, "the configuration has changed since the plan was made; make the plan again, in a new session")
	}
	next, err := c.On(f, pairs, m)
	if err != nil {
		return out, Configuration{}, err
	}
	if s.Plan != "" && pairs != nil {
		out.Changes = append(out.Changes, Change{Kind: DidApplyPlan, By: who})
		out = s.end(out, SessionClosed, Change{Kind: DidCloseSession, By: who, Reason: "its plan has been applied"}, now)
	}
	return out, next, nil
}

// On returns the configuration after the change, or refuses a change that cannot be or makes no sense: see [Sense].
// A nil map of key pairs judges it before they are made.
func (c Changes) On(f Facts, pairs map[KeyID]KeyPair, m Mode) (Configuration, error) {
	if c.Empty() {
		return Configuration{}, refuse(Impossible, "nothing would change")
	}
	if err := c.once(); err != nil {
		return Configuration{}, err
	}
	next := f.Configuration()
	if a := c.Set.Administration; a != (Administration{}) {
		next.Administration = a
	}
	keys := make([]Key, 0, len(c.Set.Keys))
	for _, k := range c.Set.Keys {
		k, err := k.after(f, pairs)
		if err != nil {
			return Configuration{}, err
		}
		keys = append(keys, k)
	}
	for _, id := range c.ReplacePairs {
		k, err := f.replaced(id, pairs)
		if err != nil {
			return Configuration{}, err
		}
		keys = append(keys, k)
	}
	next.Issuers = replace(next.Issuers, c.Set.Issuers, func(i Issuer) string { return i.URL })
	next.Subjects = replace(next.Subjects, c.Set.Subjects, func(s Subject) SubjectID { return s.ID })
	next.Roles = replace(next.Roles, c.Set.Roles, func(r Role) RoleID { return r.ID })
	next.Keys = replace(next.Keys, keys, func(k Key) KeyID { return k.ID })
	for _, id := range c.RemoveRoles {
		if _, known := f.roles[id]; !known {
			return Configuration{}, refuse(Impossible, "role %q is to be removed, but there is none", id)
		}
		next.Roles = slices.DeleteFunc(next.Roles, func(r Role) bool { return r.ID == id })
	}
	for _, url := range c.RemoveIssuers {
		if _, known := f.issuers[url]; !known {
			return Configuration{}, refuse(Impossible, "issuer %q is to be removed, but there is none", url)
		}
		next.Issuers = slices.DeleteFunc(next.Issuers, func(i Issuer) bool { return i.URL == url })
	}
	after, err := NewFacts(next)
	if err != nil {
		return Configuration{}, refuse(Impossible, "%v", err)
	}
	for _, s := range c.Set.Subjects {
		if was, known := f.subjects[s.ID]; known && was.Kind != s.Kind {
			return Configuration{}, refuse(Impossible, "subject %s is a %s for ever; enter a new subject", s.ID, was.Kind)
		}
	}
	if faults := after.NewFaults(f, m); len(faults) > 0 {
		return Configuration{}, refuse(Impossible, "%s", faults[0])
	}
	return next, nil
}

// NewFaults returns what makes no sense in the configuration, see [Facts.Sense], but for what made the same no sense
// before: that need not be mended by the change.
func (f Facts) NewFaults(before Facts, m Mode) []string {
	known := map[string]bool{}
	for _, fault := range before.Sense(m) {
		known[fault] = true
	}
	var faults []string
	for _, fault := range f.Sense(m) {
		if !known[fault] {
			faults = append(faults, fault)
		}
	}
	return faults
}

// once refuses a change that names an object twice: nobody could tell which of the two is meant.
func (c Changes) once() error {
	type object struct{ kind, id string }
	var objects []object
	for _, i := range c.Set.Issuers {
		objects = append(objects, object{"issuer", i.URL})
	}
	for _, s := range c.Set.Subjects {
		objects = append(objects, object{"subject", string(s.ID)})
	}
	for _, r := range c.Set.Roles {
		objects = append(objects, object{"role", string(r.ID)})
	}
	for _, k := range c.Set.Keys {
		objects = append(objects, object{"key", string(k.ID)})
	}
	for _, id := range c.RemoveRoles {
		objects = append(objects, object{"role", string(id)})
	}
	for _, url := range c.RemoveIssuers {
		objects = append(objects, object{"issuer", url})
	}
	for _, id := range c.ReplacePairs {
		objects = append(objects, object{"key", string(id)})
	}
	named := make(map[object]bool, len(objects))
	for _, o := range objects {
		if named[o] {
			return refuse(Impossible, "%s %q is named twice; say once what is to become of it", o.kind, o.id)
		}
		named[o] = true
	}
	return nil
}

// fits refuses a key pair that the key cannot have.
func (p KeyPair) fits(k Key) error {
	sum := sha256.Sum256(p.PublicKey)
	switch {
	case p.Version < 1 || p.Handle == "" || len(p.PublicKey) == 0 || p.Fingerprint != hex.EncodeToString(sum[:]):
		return refuse(Impossible, "key %s: its key pair is not complete", k.ID)
	case p.Attributes.CanLeave() && !k.MayLeave && (k.Adopted != "" || p.Attributes != nil): // a keystore may say nothing of what it made
		return refuse(Impossible, "key %s: the private key could leave keystore %s, or does not say that it could not; make a new one, or say extractable: allowed",
			k.ID, k.Keystore)
	}
	return nil
}

// replaced is a key that is there, with a new key pair.
func (f Facts) replaced(id KeyID, pairs map[KeyID]KeyPair) (Key, error) {
	k, known := f.keys[id]
	p, made := pairs[id]
	switch {
	case !known:
		return Key{}, refuse(Impossible, "there is no key %q whose key pair could be replaced", id)
	case k.State == KeyRevoked:
		return Key{}, refuse(Impossible, "key %s is revoked for ever; make a new key", id)
	case k.Adopted != "":
		return Key{}, refuse(Impossible, "key %s was adopted; its key pair is not ours to replace, adopt another one as a new key", id)
	case pairs == nil:
		return k, nil
	case !made:
		return Key{}, refuse(Impossible, "key %s has no new key pair", id)
	case p.Version <= k.Version || p.Fingerprint == k.Fingerprint:
		return Key{}, refuse(Impossible, "key %s: version %d of its key pair is not a new one", id, p.Version)
	}
	return k.With(p), p.fits(k)
}

// after is the key as it is after the change, with its key pair.
func (k Key) after(f Facts, pairs map[KeyID]KeyPair) (Key, error) {
	was, known := f.keys[k.ID]
	if !known {
		p, made := pairs[k.ID]
		switch {
		case k.State != KeyActive:
			return Key{}, refuse(Impossible, "key %s is new; it must be active", k.ID)
		case pairs == nil:
			return k, nil
		case !made:
			return Key{}, refuse(Impossible, "key %s is new and has no key pair", k.ID)
		}
		return k.With(p), p.fits(k)
	}
	fixed := func(what string) error {
		return refuse(Impossible, "key %s: its %s never changes; make a new key", k.ID, what)
	}
	switch {
	case was.State == KeyRevoked && k.State != KeyRevoked:
		return Key{}, refuse(Impossible, "key %s is revoked for ever; make a new key", k.ID)
	case was.Type != k.Type:
		return Key{}, fixed("type")
	case was.Responder() != k.Responder():
		return Key{}, fixed("extended key usage OCSPSigning")
	case was.Algorithm != k.Algorithm:
		return Key{}, fixed("algorithm")
	case was.Hash != k.Hash:
		return Key{}, fixed("hash")
	case !slices.Equal(was.Schemes, k.Schemes):
		return Key{}, fixed("signature schemes")
	case was.Keystore != k.Keystore || was.Adopted != k.Adopted || was.MayLeave != k.MayLeave:
		return Key{}, fixed("keystore and key pair")
	}
	return k.With(was.Pair()), nil
}

// replace puts each object in the place of the one with its id, or adds it.
func replace[T any, ID comparable](now, set []T, id func(T) ID) []T {
	at := make(map[ID]int, len(now))
	for i, o := range now {
		at[id(o)] = i
	}
	for _, o := range set {
		if i, known := at[id(o)]; known {
			now[i] = o
			continue
		}
		at[id(o)] = len(now)
		now = append(now, o)
	}
	return now
}

// DisableKey is the change by which any administrator disables a key at once, without a session. It is empty if the
// key is disabled already.
func (f Facts) DisableKey(who SubjectID, id KeyID) (Changes, error) {
	k, known := f.keys[id]
	switch {
	case !f.Holds(who, Administrator, ""):
		return Changes{}, refuse(Forbidden, "a key is disabled by an administrator")
	case !known:
		return Changes{}, refuse(NotFound, "there is no such key")
	case k.State == KeyRevoked:
		return Changes{}, refuse(WrongState, "key %s is revoked already", id)
	case k.State == KeyDisabled:
		return Changes{}, nil
	}
	k.State = KeyDisabled
	return Changes{Set: Configuration{Keys: []Key{k}}}, nil
}

// DisableSubject is the change by which any administrator disables a subject at once, without a session. It is empty
// if the subject is disabled already.
func (f Facts) DisableSubject(who SubjectID, id SubjectID) (Changes, error) {
	s, known := f.subjects[id]
	switch {
	case !f.Holds(who, Administrator, ""):
		return Changes{}, refuse(Forbidden, "a subject is disabled by an administrator")
	case !known:
		return Changes{}, refuse(NotFound, "there is no such subject")
	case !s.Enabled:
		return Changes{}, nil
	}
	s.Enabled = false
	return Changes{Set: Configuration{Subjects: []Subject{s}}}, nil
}

// Difference is the change that makes the configuration what is wanted, which is whole: what it does not name is to
// go. Subjects and keys never go; they are disabled or revoked. What sessions take is not put back to its defaults by
// not being named.
func (f Facts) Difference(wanted Configuration) (Changes, error) {
	var c Changes
	if err := (Changes{Set: wanted}).once(); err != nil {
		return Changes{}, err
	}
	switch a := wanted.Administration.Effective(); {
	case a == f.Administration():
	case wanted.Administration == (Administration{}):
		return Changes{}, refuse(Impossible, "administration is not named, and it is not what it is by default; name it, as it is or as it is to be")
	default:
		c.Set.Administration = a
	}
	c.Set.Issuers = different(f.issuers, wanted.Issuers, func(i Issuer) string { return i.URL }, Issuer.same)
	c.Set.Subjects = different(f.subjects, wanted.Subjects, func(s Subject) SubjectID { return s.ID }, Subject.same)
	c.Set.Roles = different(f.roles, wanted.Roles, func(r Role) RoleID { return r.ID }, Role.same)
	c.Set.Keys = different(f.keys, wanted.Keys, func(k Key) KeyID { return k.ID }, Key.same)
	c.RemoveRoles = missing(f.roles, wanted.Roles, func(r Role) RoleID { return r.ID })
	c.RemoveIssuers = missing(f.issuers, wanted.Issuers, func(i Issuer) string { return i.URL })
	for _, id := range missing(f.subjects, wanted.Subjects, func(s Subject) SubjectID { return s.ID }) {
		return Changes{}, refuse(Impossible, "subject %s is not named; subjects never go: say enabled: false", id)
	}
	for _, id := range missing(f.keys, wanted.Keys, func(k Key) KeyID { return k.ID }) {
		return Changes{}, refuse(Impossible, "key %s is not named; keys never go: say state: disabled, or state: revoked", id)
	}
	return c, nil
}

func different[T any, ID comparable](now map[ID]T, wanted []T, id func(T) ID, same func(T, T) bool) []T {
	return slices.DeleteFunc(slices.Clone(wanted), func(w T) bool {
		n, known := now[id(w)]
		return known && same(n, w)
	})
}

func missing[T any, ID ~string](now map[ID]T, wanted []T, id func(T) ID) []ID {
	gone := maps.Clone(now)
	for _, w := range wanted {
		delete(gone, id(w))
	}
	return slices.Sorted(maps.Keys(gone))
}

func (i Issuer) same(o Issuer) bool {
	return slices.Equal(i.Audiences, o.Audiences) && slices.Equal(i.Algorithms, o.Algorithms) && slices.Equal(i.Types, o.Types) &&
		slices.Equal(i.Captured, o.Captured) && i.KeysURL == o.KeysURL && i.ActorClaim == o.ActorClaim && i.ActorOptional == o.ActorOptional
}

func (s Subject) same(o Subject) bool {
	return s.Kind == o.Kind && s.Name == o.Name && s.Enabled == o.Enabled && slices.Equal(s.Actors, o.Actors) &&
		slices.EqualFunc(s.Identities, o.Identities, func(a, b Identity) bool {
			return a.Issuer == b.Issuer && maps.EqualFunc(a.Claims, b.Claims, slices.Equal[[]string])
		})
}

// same compares roles; what they list has no order.
func (r Role) same(o Role) bool {
	return r.Kind == o.Kind && slices.Equal(sorted(r.Keys), sorted(o.Keys)) && slices.Equal(sorted(r.Members), sorted(o.Members))
}

func sorted[T ~string](ids []T) []T { return slices.Sorted(slices.Values(ids)) }

// same compares what is configured of keys, not their key pairs.
func (k Key) same(o Key) bool {
	return k.Type == o.Type && k.Algorithm == o.Algorithm && k.Hash == o.Hash && slices.Equal(k.Schemes, o.Schemes) &&
		k.Requirement == o.Requirement && k.MaxValidity == o.MaxValidity && k.MaxUses == o.MaxUses && k.Approvals == o.Approvals &&
		k.ArtifactsNeeded == o.ArtifactsNeeded && k.State == o.State && k.Keystore == o.Keystore && k.Adopted == o.Adopted &&
		k.MayLeave == o.MayLeave && k.Profile.same(o.Profile) && k.Devices.same(o.Devices)
}

func (p *Profile) same(o *Profile) bool {
	if p == nil || o == nil {
		return p == o
	}
	return p.Subject == o.Subject && p.Validity == o.Validity && p.PathLen == o.PathLen && slices.Equal(p.KeyUsage, o.KeyUsage) &&
		slices.Equal(p.ExtendedKeyUsage, o.ExtendedKeyUsage) && p.CRLURL == o.CRLURL
}
