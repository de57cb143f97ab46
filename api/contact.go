package api

// NewContact chooses what the caller is told, and by what.
type NewContact struct {
	Tells     []string    `json:"tells"` // of waiting, expiring and change; empty: nothing
	Mail      string      `json:"mail,omitzero"`
	Webhook   *NewWebhook `json:"webhook,omitzero"`
	NewSecret bool        `json:"newsecret,omitzero"` // whether the webhook gets another secret
}

// NewWebhook is where messages are posted.
type NewWebhook struct {
	URL    string `json:"url"`
	Format string `json:"format"` // standard or chat
}

// Contact is what the caller has chosen to be told, and by what.
type Contact struct {
	Tells   []string `json:"tells"`
	Mail    string   `json:"mail,omitzero"`
	Webhook *Webhook `json:"webhook,omitzero"`
	Failure string   `json:"failure,omitzero"` // why the last message could not be sent; empty: it was
}

// Webhook is where messages are posted.
type Webhook struct {
	URL    string `json:"url"`
	Format string `json:"format"`
	Secret string `json:"secret,omitzero"` // there only when it was just made
}
