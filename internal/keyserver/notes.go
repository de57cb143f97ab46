package keyserver

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/law"
)

// Note is something that a careful person would notice about an operation, as a plain fact. Sentences quote what
// others have written as Go does, so that what cannot be seen is visible.
type Note struct {
	Kind     string    // one of the constants below
	Key      law.KeyID // that it is about; empty: the whole operation
	Sentence string
}

// Kinds of notes.
const (
	NoteFirstTime   = "first-time"   // the orderer has not asked for the key before
	NoteCount       = "count"        // more uses of the key than in any earlier one
	NoteClaim       = "claim"        // a claim is not what it was in the orderer's last operation
	NoteIdentity    = "identity"     // the orderer came as somebody else than then
	NoteNoArtifacts = "no-artifacts" // signatures are wanted, and it is not said of what
	NoteValidity    = "validity"     // valid longer than any earlier one
	NoteClients     = "clients"      // others than the orderer may use it
)

// former are the operations on a key before the one that is looked at, as far as was looked.
type former struct {
	key   law.KeyID
	all   []formerOperation // newest first, those that the caller may see
	whole bool              // these are all there are, also those that others see
	open  bool              // the caller may see every operation on the key
	limit int               // how many were looked at, at most
}

type formerOperation struct {
	law.Operation
	approved bool // at some time
}

// notesOn says what a careful person would notice about an operation. signs says of a key whether it signs what it is
// given, and not certificates only. What is usual is told by operations that were approved alone: what others have
// refused makes nothing usual.
func notesOn(o law.Operation, before []former, signs func(law.KeyID) bool) []Note {
	var notes []Note
	add := func(kind string, key law.KeyID, sentence string, args ...any) {
		notes = append(notes, Note{kind, key, fmt.Sprintf(sentence, args...)})
	}
	for _, f := range before {
		if !slices.ContainsFunc(f.all, func(p formerOperation) bool { return p.Orderer.Subject == o.Orderer.Subject }) {
			if f.whole {
				add(NoteFirstTime, f.key, "%s has not asked for key %s before", o.Orderer.Subject, f.key)
			} else {
				add(NoteFirstTime, f.key, "%s has not asked for key %s in %s", o.Orderer.Subject, f.key, f.looked())
			}
		}
		grant, _ := o.Grant(f.key)
		if most, of := f.most(); of > 0 && grant.MaxUses > most {
			add(NoteCount, f.key, "%s asked for, which is more than in %s: there it was %d at most",
				counted(grant.MaxUses, fmt.Sprintf("use of key %s is", f.key), fmt.Sprintf("uses of key %s are", f.key)), f.usual(of), most)
		}
	}
	if last, known := lastOf(o, before); known {
		notes = append(notes, changesSince(last, o)...)
	}
	if n := signatures(o, signs); n > 0 && len(o.Artifacts) == 0 {
		add(NoteNoArtifacts, "", "%s wanted, and no artifact is named: what is signed is not fixed", counted(n, "signature is", "signatures are"))
	}
	if sentence := longValidity(o, before); sentence != "" {
		add(NoteValidity, "", "%s", sentence)
	}
	if len(o.Clients) > 0 {
		add(NoteClients, "", "besides %s, it may be used by %s", o.Orderer.Subject, list(o.Clients))
	}
	return notes
}

// most is the largest number of uses of the key that an approved one has asked for, and of how many.
func (f former) most() (most, of int) {
	for _, p := range f.all {
		if grant, _ := p.Grant(f.key); p.approved {
			most = max(most, grant.MaxUses)
			of++
		}
	}
	return most, of
}

// looked says which operations were looked at. To those who do not see every operation on the key it says nothing of
// others, not even that there are none.
func (f former) looked() string {
	if f.open {
		return fmt.Sprintf("the newest %d operations on it before this one", f.limit)
	}
	return fmt.Sprintf("those of the newest %d operations on it before this one that you may see", f.limit)
}

func (f former) usual(of int) string {
	which := "operation on it that was"
	if of > 1 {
		which = "operations on it that were"
	}
	if f.whole {
		return fmt.Sprintf("the %d earlier %s approved", of, which)
	}
	return fmt.Sprintf("the %d %s approved, of %s", of, which, strings.Replace(f.looked(), " on it before this one", "", 1))
}

// lastOf is the orderer's last operation on exactly the same keys, or else on one of them.
func lastOf(o law.Operation, before []former) (last law.Operation, known bool) {
	same := false
	for _, f := range before {
		for _, p := range f.all {
			if p.Orderer.Subject != o.Orderer.Subject {
				continue
			}
			is := sameKeys(p.Operation, o)
			if !known || is && !same || is == same && p.ID > last.ID {
				last, known, same = p.Operation, true, is
			}
		}
	}
	return last, known
}

// sameKeys says whether two operations name exactly the same keys.
func sameKeys(a, b law.Operation) bool {
	return len(a.Keys) == len(b.Keys) && !slices.ContainsFunc(a.Keys, func(k law.KeyGrant) bool { _, named := b.Grant(k.Key); return !named })
}

// changesSince says what is not as it was in the orderer's last operation.
func changesSince(last, o law.Operation) []Note {
	var notes []Note
	if last.Orderer != o.Orderer {
		notes = append(notes, Note{Kind: NoteIdentity, Sentence: fmt.Sprintf("%s came as %q of %q, and in operation %s as %q of %q",
			o.Orderer.Subject, o.Orderer.Sub, o.Orderer.Issuer, last.ID, last.Orderer.Sub, last.Orderer.Issuer)})
	}
	claim := func(of law.Operation, name string) string {
		i := slices.IndexFunc(of.Claims, func(c law.Claim) bool { return c.Name == name })
		switch {
		case i < 0:
			return "not captured"
		case !of.Claims[i].Present:
			return "absent"
		}
		return fmt.Sprintf("%q", of.Claims[i].Value)
	}
	names := map[string]bool{}
	for _, c := range slices.Concat(o.Claims, last.Claims) {
		if names[c.Name] {
			continue
		}
		names[c.Name] = true
		if was, is := claim(last, c.Name), claim(o, c.Name); was != is {
			notes = append(notes, Note{Kind: NoteClaim, Sentence: fmt.Sprintf("claim %s is %s, and was %s in operation %s, the last one of %s looked at",
				c.Name, is, was, last.ID, o.Orderer.Subject)})
		}
	}
	return notes
}

// signatures is how many signatures over what the orderer gives can be made.
func signatures(o law.Operation, signs func(law.KeyID) bool) int {
	n := 0
	for _, k := range o.Keys {
		if signs(k.Key) {
			n += k.MaxUses
		}
	}
	return n
}

// longValidity says that an operation is valid for longer than any that was looked at and was approved; empty: it is not.
func longValidity(o law.Operation, before []former) string {
	var longest time.Duration
	seen := map[law.OperationID]bool{}
	for _, f := range before {
		for _, p := range f.all {
			if p.approved {
				seen[p.ID] = true
				longest = max(longest, p.Expires.Sub(p.Created))
			}
		}
	}
	validity := o.Expires.Sub(o.Created)
	if len(seen) == 0 || validity <= longest {
		return ""
	}
	return fmt.Sprintf("it is valid for %v, which is longer than %s looked at that had been approved: the longest was %v", validity,
		counted(len(seen), "earlier operation", "earlier operations"), longest)
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func list(ids []law.SubjectID) string {
	texts := make([]string, 0, len(ids))
	for _, id := range ids {
		texts = append(texts, string(id))
	}
	return strings.Join(texts, ", ")
}
