package pki

import (
	"crypto"
	"encoding/asn1"
	"fmt"
	"time"

	"example.org/keyserver/internal/law"
)

// The entries of a revocation list are put into DER here, since crypto/x509 takes seconds and more than a kilobyte for
// each of a million. All else of the list is its work.

// withEntries is the draft of a list that says what the empty one says, with these entries (RFC 5280 section 5.1).
func withEntries(key law.Key, empty, entries []byte) (Draft, error) {
	tbs, err := insert(empty, entries)
	if err != nil {
		return Draft{}, err
	}
	return prepare(key, func(s crypto.Signer) ([]byte, error) {
		signature, err := s.(crypto.MessageSigner).SignMessage(nil, tbs, nil)
		if err != nil {
			return nil, err
		}
		return assemble(tbs, signature, inList)
	})
}

// insert puts the entries into the TBS of a list that has none: after version, signature, issuer and the two times.
func insert(empty, entries []byte) ([]byte, error) {
	if len(entries) == 0 {
		return empty, nil
	}
	var whole, part asn1.RawValue
	if _, err := asn1.Unmarshal(empty, &whole); err != nil {
		return nil, fmt.Errorf("reading an empty list: %w", err)
	}
	rest := whole.Bytes
	for range 5 {
		var err error
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			return nil, fmt.Errorf("reading an empty list: %w", err)
		}
	}
	before := whole.Bytes[:len(whole.Bytes)-len(rest)]
	list := appendHead(nil, tagSequence, len(entries))
	out := appendHead(make([]byte, 0, len(empty)+len(entries)+16), tagSequence, len(before)+len(list)+len(entries)+len(rest))
	out = append(append(out, before...), list...)
	return append(append(out, entries...), rest...), nil
}

const (
	tagInteger         = asn1.TagInteger
	tagOctets          = asn1.TagOctetString
	tagEnumerated      = asn1.TagEnum
	tagUTCTime         = asn1.TagUTCTime
	tagGeneralizedTime = asn1.TagGeneralizedTime
	tagSequence        = asn1.TagSequence | 0x20
)

// reasonExtension is the object identifier of a reason code (RFC 5280 section 5.3.1), DER.
var reasonExtension = []byte{asn1.TagOID, 3, 0x55, 0x1d, 0x15}

// entries are the entries of the list, one after the other.
func (l RevocationList) entries() ([]byte, error) {
	const usual = 55 // bytes of an entry
	out := make([]byte, 0, usual*len(l.Entries))
	seen := make(map[[20]byte]struct{}, len(l.Entries))
	this := l.ThisUpdate.UTC().Truncate(time.Second)
	for _, e := range l.Entries {
		if err := checkSerial(e.Serial); err != nil {
			return nil, err
		}
		var serial [20]byte
		e.Serial.FillBytes(serial[:])
		code, err := e.Reason.Code()
		at := e.Time.UTC().Truncate(time.Second)
		_, twice := seen[serial]
		switch {
		case err != nil:
		case twice:
			return nil, fmt.Errorf("serial number %x is there twice", e.Serial)
		case at.Year() < 1950 || at.After(this):
			err = fmt.Errorf("it is revoked at %s, and the list is made at %s; it can be revoked only before", instant(at), instant(this))
		}
		if err != nil {
			return nil, fmt.Errorf("serial number %x: %w", e.Serial, err)
		}
		seen[serial] = struct{}{}
		out = appendEntry(out, serial[:], at, code)
	}
	return out, nil
}

// appendEntry appends an entry: the serial number, since when, and the reason if one is given (RFC 5280 section 5.1.2.6).
// None is longer than 127 bytes, so its length is one byte.
func appendEntry(out, serial []byte, at time.Time, code int) []byte {
	begin := len(out)
	out = append(out, tagSequence, 0)
	for len(serial) > 1 && serial[0] == 0 {
		serial = serial[1:]
	}
	if serial[0] >= 0x80 { // else it were a negative number
		out = append(out, tagInteger, byte(len(serial)+1), 0)
	} else {
		out = append(out, tagInteger, byte(len(serial)))
	}
	out = append(out, serial...)
	if at.Year() < 2050 {
		out = at.AppendFormat(append(out, tagUTCTime, 13), "060102150405Z")
	} else {
		out = at.AppendFormat(append(out, tagGeneralizedTime, 15), "20060102150405Z")
	}
	if code != 0 {
		out = append(out, tagSequence, 12, tagSequence, 10)
		out = append(append(out, reasonExtension...), tagOctets, 3, tagEnumerated, 1, byte(code))
	}
	out[begin+1] = byte(len(out) - begin - 2)
	return out
}

// appendHead appends a tag and a length.
func appendHead(out []byte, tag byte, length int) []byte {
	out = append(out, tag)
	if length < 0x80 {
		return append(out, byte(length))
	}
	octets := 0
	for n := length; n > 0; n >>= 8 {
		octets++
	}
	out = append(out, 0x80|byte(octets))
	for i := octets - 1; i >= 0; i-- {
		out = append(out, byte(length>>(8*i)))
	}
	return out
}
