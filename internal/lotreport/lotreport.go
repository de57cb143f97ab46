// Package lotreport makes and verifies the report on a lot: what became of the device certificates of an operation that has
// ended, signed with the key of the audit log, and the list of the certificates as CSV, whose digest is in the report. It is
// pure over bytes.
package lotreport

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Version is the version of the format that this package writes and reads.
const Version = 1

// Report is the report on a lot. Times are ms since 1970, UTC.
type Report struct {
	Version      int             `json:"version"`
	Server       string          `json:"server"` // origin of the audit log, whose key signs
	At           int64           `json:"at"`     // when it was made
	Operation    law.OperationID `json:"operation"`
	Digest       law.Digest      `json:"digest"` // of the operation
	Description  string          `json:"description"`
	Orderer      law.SubjectID   `json:"orderer"`
	State        law.State       `json:"state"` // exhausted, expired, revoked or rejected
	Created      int64           `json:"created"`
	Ended        int64           `json:"ended"`
	Reason       string          `json:"reason"` // for which it ended
	Approvals    []Approval      `json:"approvals"`
	Lots         []Lot           `json:"lots"`
	Certificates Certificates    `json:"certificates"`
	Checkpoint   string          `json:"checkpoint"` // of the audit log at that time, which tells of all this
}

// Issued is how many certificates the lots have.
func (r Report) Issued() int {
	n := 0
	for _, l := range r.Lots {
		n += l.Issued
	}
	return n
}

// Approval is one approval that stood when the operation ended.
type Approval struct {
	By   law.SubjectID `json:"by"`
	At   int64         `json:"at"`
	Keys []law.KeyID   `json:"keys"` // that it counts for
}

// Lot is what became of the certificates of one CA key.
type Lot struct {
	Key         law.KeyID `json:"keyid"`
	Fingerprint string    `json:"fingerprint"` // of its public key
	MaxUses     int       `json:"maxusagecount"`
	Taken       int       `json:"taken"` // uses
	Issued      int       `json:"issued"`
	Revoked     int       `json:"revoked"`
	Refused     int       `json:"refused"` // orders under the operation that were refused, for whatever reason
	First       *Device   `json:"first,omitzero"`
	Last        *Device   `json:"last,omitzero"`
}

// Device is a device that got a certificate.
type Device struct {
	Device string `json:"device"` // its identity
	Serial string `json:"serial"` // of the certificate, lower-case hex
	Issued int64  `json:"issued"`
}

// Certificates is what the list of the certificates is.
type Certificates struct {
	Count  int    `json:"count"`
	SHA256 string `json:"sha256"` // of the CSV, lower-case hex
}

// header is what the signature covers beside the report (RFC 7515 section 4.1).
type header struct {
	Algorithm string `json:"alg"` // EdDSA (RFC 8037)
	KeyID     string `json:"kid"` // of the log key, as in signed notes: its name and hash
	Type      string `json:"typ"`
}

func headerOf(name string, hash uint32) []byte {
	out, _ := json.Marshal(header{"EdDSA", fmt.Sprintf("%s+%08x", name, hash), "keyserver-lot-report+json"}) // strings alone
	return out
}

// signature is a JSON Web Signature in its flattened JSON serialization (RFC 7515 section 7.2.2).
type signature struct {
	Payload   string `json:"payload"`
	Protected string `json:"protected"`
	Signature string `json:"signature"`
}

// Sign returns the report as a JSON Web Signature (RFC 7515 section 7.2.2) with the key of the audit log (Ed25519, RFC 8037).
// No checkpoint has the form of what is signed, which has no line end.
func Sign(r Report, s audit.Signer) ([]byte, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("signing a lot report: %w", err)
	}
	out := signature{Payload: encode(payload), Protected: encode(headerOf(s.Name(), s.KeyHash()))}
	made, err := s.Sign([]byte(out.Protected + "." + out.Payload))
	if err != nil {
		return nil, fmt.Errorf("signing a lot report: %w", err)
	}
	out.Signature = encode(made)
	return json.Marshal(out, jsontext.Multiline(true))
}

// Max is how long a signed report may be, in bytes.
const Max = 1 << 20

// Verify reads a signed report. An error says that the log key has not signed it, that it is no report, or that the
// checkpoint in it is not one of the log.
func Verify(signed []byte, v audit.Verifier) (Report, error) {
	var s signature
	if err := json.Unmarshal(signed, &s, json.RejectUnknownMembers(true)); err != nil || len(signed) > Max {
		return Report{}, errors.New("it is no JSON Web Signature in the flattened form (RFC 7515 section 7.2.2)")
	}
	protected, err := decode(s.Protected)
	payload, err2 := decode(s.Payload)
	made, err3 := decode(s.Signature)
	if err := errors.Join(err, err2, err3); err != nil {
		return Report{}, err
	}
	switch {
	case !bytes.Equal(protected, headerOf(v.Name(), v.KeyHash())):
		return Report{}, fmt.Errorf("it is not a lot report by log key %s+%08x", v.Name(), v.KeyHash())
	case !v.Verify([]byte(s.Protected+"."+s.Payload), made):
		return Report{}, fmt.Errorf("log key %s+%08x has not signed it", v.Name(), v.KeyHash())
	}
	var r Report
	if err := json.Unmarshal(payload, &r, json.RejectUnknownMembers(true)); err != nil {
		return Report{}, fmt.Errorf("reading the report: %w", err)
	}
	if r.Version != Version || r.Server != v.Name() {
		return Report{}, fmt.Errorf("it is of version %d and of server %q; version %d of server %q was to be read", r.Version, r.Server, Version, v.Name())
	}
	if _, err := audit.ParseCheckpoint([]byte(r.Checkpoint), v); err != nil {
		return Report{}, err
	}
	return r, nil
}

// CheckCertificates says whether the CSV is the list that the report is about, and counts its certificates.
func (r Report) CheckCertificates(list io.Reader) error {
	sum := sha256.New()
	rows := csv.NewReader(io.TeeReader(list, sum))
	rows.ReuseRecord = true
	count := -1 // of the names of the columns
	for {
		if _, err := rows.Read(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("reading the certificates: %w", err)
		}
		count++
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != r.Certificates.SHA256 || count != r.Certificates.Count {
		return fmt.Errorf("they are %d with SHA-256 %s; the report is on %d with SHA-256 %s", count, got, r.Certificates.Count, r.Certificates.SHA256)
	}
	return nil
}

// columns are those of the list of certificates.
var columns = []string{"key", "device", "serial", "issued", "notbefore", "notafter", "fingerprint", "request", "sha256", "revoked", "code", "certificate"}

// List writes the list of certificates as CSV (RFC 4180). Since nothing is issued after the end of an operation, and nobody
// is told of revocations after a time that is given, it is the same list whenever it is written.
type List struct {
	csv     *csv.Writer
	sum     hash.Hash
	count   int
	revoked map[law.KeyID]int // by the key that has issued
	at      time.Time
}

// NewList begins a list as it is at that time: what was revoked then, or later, is not said to be.
func NewList(w io.Writer, at time.Time) *List {
	l := &List{sum: sha256.New(), revoked: map[law.KeyID]int{}, at: at}
	l.csv = csv.NewWriter(io.MultiWriter(w, l.sum))
	l.csv.UseCRLF = true
	_ = l.csv.Write(columns) // Flush says what went wrong
	return l
}

// Add writes the certificate of a device, if it is issued.
func (l *List) Add(c law.Certificate) {
	if c.State != law.CertificateIssued {
		return
	}
	revoked, code := "", ""
	if at := c.Revocation.At; !at.IsZero() && at.Before(l.at) {
		revoked, code = instant(at), string(c.Revocation.Code)
		l.revoked[c.Issuer]++
	}
	digest := sha256.Sum256(c.DER)
	_ = l.csv.Write([]string{
		string(c.Issuer), c.Device, c.Serial, instant(c.Settled), instant(c.NotBefore), instant(c.NotAfter), c.Fingerprint, c.Request, hex.EncodeToString(digest[:]),
		revoked, code, string(c.ID),
	})
	l.count++
}

// Revoked is how many of the certificates by this key the list says are revoked.
func (l *List) Revoked(by law.KeyID) int { return l.revoked[by] }

// End ends the list and says what it is.
func (l *List) End() (Certificates, error) {
	l.csv.Flush()
	return Certificates{l.count, hex.EncodeToString(l.sum.Sum(nil))}, l.csv.Error()
}

// instant is a time as the list has it: RFC 3339, in milliseconds, UTC.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || encode(b) != s {
		return nil, errors.New("a part of it is not in Base64url (RFC 7515 section 2), or not in its only encoding: " + strconv.Quote(s[:min(len(s), 20)]))
	}
	return b, nil
}
