package identity

import (
	"fmt"

	"example.org/keyserver/internal/law"
)

// subject returns the one enabled subject that the token belongs to, as the facts are now.
func (v *verified) subject(f law.Facts) (law.SubjectID, error) {
	if m := v.matched.Load(); m != nil && m.making == f.Making() {
		return m.subject, nil
	}
	subject, err := v.only(f, f.Matching(v.issuer.URL, v.text))
	if err == nil {
		v.matched.Store(&matched{f.Making(), subject})
	}
	return subject, err
}

// only returns the subject of the token out of those that it matches.
func (v *verified) only(f law.Facts, found []law.SubjectID) (law.SubjectID, error) {
	who := law.Principal{Issuer: v.issuer.URL, Sub: v.sub}
	if len(found) == 0 {
		return "", &Error{Kind: NotAllowed, Reason: NoSubject, Who: who, Sentence: fmt.Sprintf(
			"no subject of this server has an identity for this token (issuer %s, sub %q); ask an administrator to enter it", v.issuer.URL, v.sub)}
	}
	if len(found) > 1 { // such a configuration is refused, but to let the token in as either would be the worse fault
		return "", &Error{Kind: NotAllowed, Reason: TwoSubjects, Who: who, Sentence: fmt.Sprintf(
			"this token (issuer %s, sub %q) belongs to more than one subject; ask an administrator to correct their identities", v.issuer.URL, v.sub),
			cause: fmt.Errorf("it matches subjects %s and %s", found[0], found[1])}
	}
	who.Subject = found[0]
	if s, known := f.Subject(found[0]); !known || !s.Enabled {
		return "", &Error{Kind: NotAllowed, Reason: DisabledSubject, Who: who, Sentence: fmt.Sprintf(
			"subject %s is disabled; ask an administrator", found[0])}
	}
	return found[0], nil
}
