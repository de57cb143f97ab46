package api

// Health says that the process is alive.
type Health struct {
	Status string `json:"status"` // ok
}

// Readiness says whether what the server needs can be had.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// Check is one thing that the server needs.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}

// Version says which server this is.
type Version struct {
	Software string `json:"software"` // name and version
	API      string `json:"api"`      // version of the specification
	Server   string `json:"server"`   // server id, part of every operation's digest
	Mode     string `json:"mode"`     // production or development
	LogKey   string `json:"logkey"`   // verifier key of the audit log's checkpoints
}

// Self says who the caller is to the server.
type Self struct {
	Subject string `json:"subject"`
	Kind    string `json:"kind"` // user or client
	Name    string `json:"name"`
	Roles   []Role `json:"roles"`
}

// Role is a named grant.
type Role struct {
	Role string   `json:"role"`
	Kind string   `json:"kind"` // orderer, approver, administrator or auditor
	Keys []string `json:"keys"` // that it covers; none for administrators and auditors
}

// Keys is a list of keys.
type Keys struct {
	Keys []Key `json:"keys"`
}

// Key is a signing key as it is configured now.
type Key struct {
	KeyID           string   `json:"keyid"`
	Type            string   `json:"type"` // ROOT, CA or FW
	Algorithm       string   `json:"algorithm"`
	Hash            string   `json:"hash"`
	Schemes         []string `json:"schemes"`
	Requirement     int      `json:"requirement"` // how many people must approve
	MaxValidMS      int64    `json:"maxvalidms"`
	MaxUsageCount   int      `json:"maxusagecount"`
	Approvals       string   `json:"approvals"` // session or signed
	ArtifactsNeeded bool     `json:"artifactsneeded"`
	State           string   `json:"state"` // active, disabled or revoked
	Keystore        string   `json:"keystore"`
	Version         int      `json:"version"`          // of the key pair
	Fingerprint     string   `json:"fingerprint"`      // SHA-256 of the SubjectPublicKeyInfo, lower-case hex
	Adopted         string   `json:"adopted,omitzero"` // the name by which its keystore had the key pair already; empty: it was made for this server
	MayLeave        bool     `json:"mayleave"`         // a key pair was allowed, explicitly, whose private key can leave its keystore

	Profile    *Profile       `json:"profile,omitzero"`    // absent if it gets no certificate
	Devices    *DeviceProfile `json:"devices,omitzero"`    // absent if it issues no device certificates
	Attributes *KeyAttributes `json:"attributes,omitzero"` // absent if its keystore says nothing of the private key
}

// KeyAttributes say where a private key can have been, by the token that has it.
type KeyAttributes struct {
	Local            bool `json:"local"`            // made in the token
	Sensitive        bool `json:"sensitive"`        // its value cannot be read in plain text
	AlwaysSensitive  bool `json:"alwayssensitive"`  // and never could be
	Extractable      bool `json:"extractable"`      // it can be taken out of the token, encrypted or not
	NeverExtractable bool `json:"neverextractable"` // and never could be
}

// Profile says what the certificate of a key holds (RFC 5280).
type Profile struct {
	Subject          Name     `json:"subject"`
	ValidMS          int64    `json:"validms"`
	PathLength       int      `json:"pathlength"` // CA certificates that may follow below; 0 for FW keys, which issue none
	KeyUsage         []string `json:"keyusage"`
	ExtendedKeyUsage []string `json:"extendedkeyusage"` // names or dotted object identifiers
	CRLURL           string   `json:"crlurl,omitzero"`  // of the key's revocation list; empty: its certificates do not say
}

// Name is a distinguished name (RFC 5280 section 4.1.2.4).
type Name struct {
	Country            string `json:"country,omitzero"`
	Province           string `json:"province,omitzero"`
	Locality           string `json:"locality,omitzero"`
	Organization       string `json:"organization,omitzero"`
	OrganizationalUnit string `json:"organizationalunit,omitzero"`
	CommonName         string `json:"commonname"`
}
