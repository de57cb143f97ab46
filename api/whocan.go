package api

// WhoCan answers who can obtain a signature with a key. Only enabled subjects who can sign in count.
type WhoCan struct {
	KeyID       string   `json:"keyid"`
	Type        string   `json:"type"`        // ROOT, CA or FW
	State       string   `json:"state"`       // active, disabled or revoked
	Requirement int      `json:"requirement"` // how many people must approve
	Orderers    []string `json:"orderers"`    // who can order operations with it
	Approvers   []string `json:"approvers"`   // who can approve them
	Never       []Never  `json:"never"`       // orderers none of whose operations with it could ever be approved

	// Of a ROOT key, which is used in administration sessions alone: who can authorise them, and how many must.
	Administrators []string `json:"administrators"`
	Needed         int      `json:"needed"`

	Alone   []Alone    `json:"alone"`   // how a single person or credential could obtain a signature
	Persons [][]string `json:"persons"` // of all these subjects those that one person can sign in as
}

// Never is an orderer who orders in vain.
type Never struct {
	Orderer string `json:"orderer"`
	Why     string `json:"why"` // a sentence
}

// Alone is a way in which a single person or credential could obtain a signature.
type Alone struct {
	Subjects []string `json:"subjects"` // as whom
	How      string   `json:"how"`      // a sentence
}
