package audit

// SignIn is a sign-in with a browser as events tell of it: how it was made in [SignedIn], when it would have ended by
// itself in [SignedOut]. A zero field is left out. Times are ms since 1970, UTC.
type SignIn struct {
	ACR   string   `json:"acr,omitzero"` // how strongly the issuer says that it has authenticated the person
	AMR   []string `json:"amr,omitzero"` // by which methods
	At    int64    `json:"at,omitzero"`  // when it authenticated the person: the ID token's auth_time
	ID    string   `json:"id"`
	Until int64    `json:"until,omitzero"`
}

func (m *members) signIn(s *SignIn) {
	m.name("signin")
	m.open()
	m.text("acr", s.ACR)
	if s.AMR != nil {
		m.name("amr")
		list(m, s.AMR)
	}
	m.number("at", s.At)
	m.quoted("id", s.ID)
	m.number("until", s.Until)
	m.close()
}
