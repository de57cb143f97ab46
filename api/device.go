package api

// DeviceProfile says what the device certificates (RFC 5280) of a CA key hold, and what of it may come from a
// certificate request. What a request asks for beyond it is refused.
type DeviceProfile struct {
	Digest           string            `json:"digest"` // of its canonical form, lower-case hex SHA-256
	Subject          []DeviceAttribute `json:"subject"`
	Names            []DeviceName      `json:"names"`      // subject alternative names
	Identity         string            `json:"identity"`   // the type of the attribute or the kind of the name that names the device
	Algorithms       []string          `json:"algorithms"` // that device keys may have
	ValidMS          int64             `json:"validms"`    // 0 if they have no expiry
	NoExpiry         bool              `json:"noexpiry"`   // they end at 99991231235959Z
	KeyUsage         []string          `json:"keyusage"`
	ExtendedKeyUsage []string          `json:"extendedkeyusage"` // names or dotted object identifiers
	Policies         []string          `json:"policies"`         // dotted object identifiers
	Extensions       []DeviceExtension `json:"extensions"`
	CRLURL           string            `json:"crlurl,omitzero"`    // empty: the certificates do not say
	OCSPURL          string            `json:"ocspurl,omitzero"`   // empty: the certificates do not say
	IssuerURL        string            `json:"issuerurl,omitzero"` // empty: the certificates do not say
	Duplicates       string            `json:"duplicates"`         // refuse, same or replace
}

// DeviceAttribute is an attribute of the subject of a device. It is fixed, or comes from the request.
type DeviceAttribute struct {
	Type      string `json:"type"` // a name such as serial-number, or a dotted object identifier
	Fixed     string `json:"fixed,omitzero"`
	Pattern   string `json:"pattern,omitzero"`   // regular expression (RE2) that the whole value of the request must match
	MaxLength int    `json:"maxlength,omitzero"` // of the value of the request, in characters
	Optional  bool   `json:"optional"`           // a request may leave it out
}

// DeviceName is a subject alternative name of a device. It is fixed, or comes from the request.
type DeviceName struct {
	Kind         string `json:"kind"`                  // dns, uri or hardware-module
	HardwareType string `json:"hardwaretype,omitzero"` // object identifier; hardware-module only
	Fixed        string `json:"fixed,omitzero"`        // {device} in it stands for the device identity
	Pattern      string `json:"pattern,omitzero"`      // regular expression (RE2) that the whole value of the request must match
	MaxLength    int    `json:"maxlength,omitzero"`    // of the value of the request, in characters
	Most         int    `json:"most,omitzero"`         // how many of them a request may have
	Optional     bool   `json:"optional"`              // a request may leave it out
}

// DeviceExtension is an extension that all device certificates of a key have alike. It is never critical.
type DeviceExtension struct {
	ID    string `json:"id"`    // dotted object identifier
	Value string `json:"value"` // DER, lower-case hex
}
