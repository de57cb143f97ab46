package law

import "time"

// RevocationList is the revocation list (RFC 5280 section 5) of a key that issues certificates: the newest one that was
// issued, and the attempt under way at the next.
type RevocationList struct {
	Key         KeyID
	Fingerprint string    // of the key pair that signs it
	Number      int64     // of the newest one that was accepted, issued or not; never decreases
	Lease       time.Time // until when the attempt at that may run; zero: none is under way
	DER         []byte    // of the newest one that was issued; nil: none was yet
	Issued      int64     // its number
	Entries     int       // certificates on it
	ThisUpdate  time.Time
	NextUpdate  time.Time
}

// How long revocation lists are good for, and how long before that ends the next is made or, where people must make
// it, asked for.
const (
	ListValidity     = 7 * 24 * time.Hour // a CA key's
	ListRenewal      = 3 * 24 * time.Hour
	RootListValidity = 365 * 24 * time.Hour // a ROOT key's
	RootListRenewal  = 30 * 24 * time.Hour
)

// ListDraft is a revocation list that is to be signed.
type ListDraft struct {
	Draft
	Entries    int // certificates on it
	ThisUpdate time.Time
	NextUpdate time.Time
}

// ListAttempt is a revocation list that is being signed.
type ListAttempt struct {
	ListDraft
	List   RevocationList // with the attempt under way
	Permit Permit
}

// Due says whether a new list must be made: there is none by the key pair that the key has now, certificates were
// revoked since, or it soon lapses. revoked counts those that the key pair has issued.
func (l RevocationList) Due(k Key, revoked int, now time.Time) bool {
	renewal := ListRenewal
	if k.Type == Root {
		renewal = RootListRenewal
	}
	return l.Issued == 0 || l.Fingerprint != k.Fingerprint || l.Entries != revoked || l.NextUpdate.Sub(now) < renewal
}

// Running says whether a list is being signed now. A lease that ends too late is of a time before the clock went back.
func (l RevocationList) Running(now time.Time) bool {
	return now.Before(l.Lease) && !now.Add(AttemptLease).Before(l.Lease)
}

// PermitRevocationList permits the signature of the next revocation list of a CA key, which the server makes by itself.
func (l RevocationList) PermitRevocationList(d ListDraft, f Facts, now time.Time) (ListAttempt, error) {
	if k := f.keys[l.Key]; k.Type != CA {
		return ListAttempt{}, refuse(Impossible, "key %q is no CA key; the list of a ROOT key is made in an administration session", l.Key)
	}
	return l.permit(d, f, now)
}

// PermitRevocationList permits the signature of the next revocation list of a ROOT key.
func (s Session) PermitRevocationList(who SubjectID, l RevocationList, d ListDraft, f Facts, now time.Time) (SessionOutcome, ListAttempt, error) {
	out, err := s.uses(who, f, now)
	if err != nil {
		return out, ListAttempt{}, err
	}
	switch k, known := f.keys[l.Key]; {
	case !known:
		return out, ListAttempt{}, refuse(Impossible, "there is no key %q that could have a revocation list", l.Key)
	case k.Type != Root:
		return out, ListAttempt{}, refuse(Impossible, "key %s is a %s key; in a session the list of a ROOT key is made, and that of a CA key without one", l.Key, k.Type)
	}
	a, err := l.permit(d, f, now)
	a.Permit.session = s.ID
	return out, a, err
}

func (l RevocationList) permit(d ListDraft, f Facts, now time.Time) (ListAttempt, error) {
	k := f.keys[l.Key]
	in, err := d.signedBy(k)
	switch {
	case f.ClockHeld:
		return ListAttempt{}, refuseClock()
	case k.State != KeyActive:
		return ListAttempt{}, refuse(Impossible, "key %s is not active", k.ID)
	case l.Running(now):
		return ListAttempt{}, refuse(Superseded, "a revocation list of key %s is being made; ask again soon", k.ID)
	case err != nil:
		return ListAttempt{}, err
	case d.ThisUpdate.After(now) || !now.Before(d.NextUpdate):
		return ListAttempt{}, refuse(Impossible, "the list would be good from %v to %v, which is not now", d.ThisUpdate.UTC(), d.NextUpdate.UTC())
	}
	l.Number++
	l.Lease = now.Add(AttemptLease)
	p := Permit{granted: true, purpose: ForRevocationList, list: l.Number, key: k, input: in}
	return ListAttempt{ListDraft: d, List: l, Permit: p}, nil
}

// Complete makes the list that an attempt has given the newest one, unless a later attempt was begun since.
func (a ListAttempt) Complete(now RevocationList, der []byte) (RevocationList, error) {
	if err := a.heard(now); err != nil {
		return now, err
	}
	now.Fingerprint, now.DER, now.Issued, now.Lease = a.Permit.key.Fingerprint, der, a.List.Number, time.Time{}
	now.Entries, now.ThisUpdate, now.NextUpdate = a.Entries, a.ThisUpdate, a.NextUpdate
	return now, nil
}

// Fail ends an attempt that gave no list.
func (a ListAttempt) Fail(now RevocationList) (RevocationList, error) {
	if err := a.heard(now); err != nil {
		return now, err
	}
	now.Lease = time.Time{}
	return now, nil
}

func (a ListAttempt) heard(now RevocationList) error {
	if now.Number != a.List.Number || now.Lease.IsZero() {
		return refuse(Superseded, "another revocation list of key %s has been begun since", now.Key)
	}
	return nil
}
