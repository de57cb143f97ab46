package audit

// Contact is what a subject wants to be told, and by what, as [ContactChanged] tells of it. Where messages go, addresses
// and URLs, is no part of the log. A zero field is left out, but not what is told.
type Contact struct {
	Mail    bool     `json:"mail,omitzero"`    // by e-mail
	Tells   []string `json:"tells"`            // of what, sorted: change, expiring, waiting
	Webhook string   `json:"webhook,omitzero"` // by a webhook of this format: standard or chat
}

func (m *members) contact(c *Contact) {
	m.name("contact")
	m.open()
	if c.Mail {
		m.name("mail")
		m.raw([]byte("true"))
	}
	m.name("tells")
	list(m, c.Tells)
	m.text("webhook", c.Webhook)
	m.close()
}
