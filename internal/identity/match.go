package identity

import (
	"fmt"
	"slices"

	"example.org/keyserver/internal/law"
)

// subject returns the one enabled subject that the token belongs to, as the facts are now.
func (v *verified) subject(f law.Facts) (law.SubjectID, error) {
	if m := v.matched.Load(); m != nil && m.making == f.Making() {
		return m.subject, nil
	}
	subject, err := v.match(f)
	if err == nil {
		v.matched.Store(&matched{f.Making(), subject})
	}
	return subject, err
}

func (v *verified) match(f law.Facts) (law.SubjectID, error) {
	var found []law.Subject
	for _, s := range f.Subjects() {
		if slices.ContainsFunc(s.Identities, v.fits) {
			found = append(found, s)
		}
	}
	who := law.Principal{Issuer: v.issuer.URL, Sub: v.sub}
	if len(found) == 0 {
		return "", &Error{Kind: NotAllowed, Reason: NoSubject, Who: who, Sentence: fmt.Sprintf(
			"no subject of this server has an identity for this token (issuer %s, sub %q); ask an administrator to enter it", v.issuer.URL, v.sub)}
	}
	if len(found) > 1 {
		return "", &Error{Kind: NotAllowed, Reason: TwoSubjects, Who: who, Sentence: fmt.Sprintf(
			"this token (issuer %s, sub %q) belongs to more than one subject; ask an administrator to correct their identities", v.issuer.URL, v.sub),
			cause: fmt.Errorf("it matches subjects %s and %s", found[0].ID, found[1].ID)}
	}
	who.Subject = found[0].ID
	if !found[0].Enabled {
		return "", &Error{Kind: NotAllowed, Reason: DisabledSubject, Who: who, Sentence: fmt.Sprintf(
			"subject %s is disabled; ask an administrator", found[0].ID)}
	}
	return found[0].ID, nil
}

// fits says whether every claim that the identity names is a string in the token and, byte for byte, one
// of the values listed.
func (v *verified) fits(i law.Identity) bool {
	if i.Issuer != v.issuer.URL || len(i.Claims) == 0 {
		return false
	}
	for name, values := range i.Claims {
		value, isText := v.text[name]
		if !isText || !slices.Contains(values, value) {
			return false
		}
	}
	return true
}
