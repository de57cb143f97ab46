package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// What the second plan adds to the policy: a hierarchy whose CA key issues device certificates.
const (
	factoryRoles = `
  - {id: line-engineers, kind: orderer, keys: [ca-devices, status-devices], members: [dana]}
  - {id: line-approvers, kind: approver, keys: [ca-devices], members: [alice, bob]}
`
	factoryKeys = `
  - keyid: root
    type: ROOT
    algorithm: ECDSA-P256
    hash: SHA-256
    schemes: [ECDSA]
    requirement: 2
    max-validityms: 86400000
    max-usagecount: 1
    approvals: session
    artifacts: optional
    keystore: KEYSTORE
    certificate:
      subject: {organization: Example, common-name: Example Root}
      validityms: 630720000000
      path-length: 1
      key-usage: [keyCertSign, cRLSign]
  - keyid: ca-devices # two people must approve each lot
    type: CA
    algorithm: ECDSA-P256
    hash: SHA-256
    schemes: [ECDSA]
    requirement: 2
    max-validityms: 604800000 # a week
    max-usagecount: 5000
    approvals: session
    artifacts: optional
    keystore: KEYSTORE
    certificate:
      subject: {organization: Example, common-name: Example Device CA}
      validityms: 315360000000
      path-length: 0
      key-usage: [keyCertSign, cRLSign]
    devices:
      preset: idevid
      subject:
        - {attribute: organization, fixed: Example}
        - {attribute: serial-number, pattern: "MTR-[0-9]{6}", max-length: 10}
      duplicates: refuse
  - keyid: status-devices # tells of the certificates of ca-devices, and signs nothing else
    type: FW
    algorithm: ECDSA-P256
    hash: SHA-256
    schemes: [ECDSA]
    requirement: 2
    max-validityms: 86400000
    max-usagecount: 1
    approvals: session
    artifacts: optional
    keystore: KEYSTORE
    certificate:
      subject: {organization: Example, common-name: Example Device CA Status}
      validityms: 7776000000
      key-usage: [digitalSignature]
      extended-key-usage: [OCSPSigning]
`
)

// lotSize is how many devices the demonstration provisions.
const lotSize = 100

func (d *demo) planFactory(ctx context.Context) error {
	d.step("Carol and adam add a ROOT key and a CA key for devices, and certify both")
	policy, err := os.ReadFile(d.path("policy.yaml"))
	if err != nil {
		return err
	}
	keystore := "software"
	if d.Token != nil {
		keystore = "hsm"
	}
	text := strings.Replace(string(policy), "\nroles:", "\nroles:"+strings.TrimRight(factoryRoles, "\n"), 1)
	text = strings.Replace(text, "\nkeys:", "\nkeys:"+strings.TrimRight(strings.ReplaceAll(factoryKeys, "KEYSTORE", keystore), "\n"), 1)
	if err := os.WriteFile(d.path("policy.yaml"), []byte(text), 0o600); err != nil {
		return err
	}
	r, err := d.as(ctx, "carol", allWell, "admin", "plan", "-f", "policy.yaml", "--description", "A hierarchy for devices")
	if err != nil {
		return err
	}
	session := field(r, "session")
	if _, err := d.as(ctx, "adam", allWell, "admin", "session", "authorise", session, "--digest", field(r, "digest")); err != nil {
		return err
	}
	if _, err := d.as(ctx, "carol", allWell, "admin", "apply", session); err != nil {
		return err
	}
	r, err = d.as(ctx, "carol", allWell, "admin", "session", "open", "--description", "Certificates of the hierarchy")
	if err != nil {
		return err
	}
	session = field(r, "session")
	if _, err := d.as(ctx, "adam", allWell, "admin", "session", "authorise", session, "--digest", field(r, "digest")); err != nil {
		return err
	}
	for _, key := range []string{"root", "ca-devices"} {
		if _, err := d.as(ctx, "carol", allWell, "certificate", "issue", key, "--issuer", "root", "--session", session); err != nil {
			return err
		}
	}
	if _, err := d.as(ctx, "carol", allWell, "certificate", "chain", "ca-devices", "--output", "chain.pem"); err != nil {
		return err
	}
	d.proof("the CA key has a certificate that the ROOT key has signed, in a session of two administrators")
	return nil
}

func (d *demo) lot(ctx context.Context) error {
	d.step("A station makes %d device keys and asks for certificates; alice and bob approve the lot", lotSize)
	if err := d.makeRequests(); err != nil {
		return err
	}
	r, err := d.as(ctx, "dana", allWell, "operation", "create", "--key", fmt.Sprintf("ca-devices=%d", lotSize), "--valid", "1h",
		"--description", "Meters, lot 7", "--context", "The first lot of the meter, on line 2.")
	if err != nil {
		return err
	}
	line := approveLine.FindStringSubmatch(r.stderr)
	if line == nil {
		return fmt.Errorf("ks does not say how to approve it")
	}
	d.lotOperation = line[1]
	batch := []string{"device", "batch", "requests", "--operation", d.lotOperation, "--key", "ca-devices", "--output", "certificates"}
	for _, approver := range []string{"alice", "bob"} {
		if r, err = d.as(ctx, "dana", refused, batch...); err != nil {
			return err
		}
		if issued, _ := filepath.Glob(d.path("certificates/*.pem")); len(issued) != 0 {
			return fmt.Errorf("certificates were issued before both had approved")
		}
		if _, err := d.as(ctx, approver, allWell, "operation", "approve", d.lotOperation, "--digest", line[2]); err != nil {
			return err
		}
	}
	for range 2 { // the second time nothing is left to do
		if _, err := d.as(ctx, "dana", allWell, batch...); err != nil {
			return err
		}
	}
	if _, err := d.as(ctx, "dana", allWell, "device", "lot", d.lotOperation, "--list", "lot.csv", "--report", "lot.json"); err != nil {
		return err
	}
	if _, err := d.as(ctx, "dana", allWell, "device", "verify", "lot.json", "--list", "lot.csv"); err != nil {
		return err
	}
	r, err = d.as(ctx, "dana", allWell, "operation", "show", d.lotOperation)
	if err != nil {
		return err
	}
	issued, err := filepath.Glob(d.path("certificates/*.pem"))
	if err != nil || len(issued) != lotSize || !says(r, "state", "exhausted") {
		return fmt.Errorf("there are %d certificates, and the operation is not exhausted (%w)", len(issued), err)
	}
	d.proof("before two people had approved there was none; then %d, each taking one use, and none twice; the signed report on the lot is verified without the server", lotSize)
	return nil
}

// makeRequests does what the devices do: each makes its key and a certificate request.
func (d *demo) makeRequests() error {
	if err := os.Mkdir(d.path("requests"), 0o700); err != nil {
		return err
	}
	for i := range lotSize {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		serial := fmt.Sprintf("MTR-%06d", i+1)
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{SerialNumber: serial}}, key)
		if err != nil {
			return err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
		if err := os.WriteFile(filepath.Join(d.path("requests"), serial+".csr"), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) verifyDevices(ctx context.Context) error {
	d.step("openssl verifies some of the devices' certificates, from the ROOT")
	for _, device := range []string{"MTR-000001", "MTR-000050", "MTR-000100"} {
		// chain.pem is the certificate of the CA key and then that of the ROOT key
		c := exec.CommandContext(ctx, "openssl", "verify", "-x509_strict", "-CAfile", "chain.pem", "certificates/"+device+".pem")
		c.Dir = d.Dir
		r, err := d.show("$ openssl", allWell, c)
		if err != nil {
			return err
		}
		if !strings.Contains(r.stdout, ": OK") {
			return fmt.Errorf("openssl does not say OK")
		}
	}
	d.proof("openssl says OK for all three")
	return nil
}

func (d *demo) statuses(ctx context.Context) error {
	d.step("The CA key certifies a key for certificate statuses, under two approvals; one device is stolen, and openssl asks for its status")
	r, err := d.as(ctx, "dana", allWell, "operation", "create", "--key", "ca-devices=1", "--valid", "1h",
		"--description", "Certificate of status-devices", "--context", "So that those who meet a meter can ask whether its certificate is revoked.")
	if err != nil {
		return err
	}
	line := approveLine.FindStringSubmatch(r.stderr)
	if line == nil {
		return fmt.Errorf("ks does not say how to approve it")
	}
	for _, approver := range []string{"alice", "bob"} {
		if _, err := d.as(ctx, approver, allWell, "operation", "approve", line[1], "--digest", line[2]); err != nil {
			return err
		}
	}
	if _, err := d.as(ctx, "dana", allWell, "certificate", "issue", "status-devices", "--issuer", "ca-devices", "--operation", line[1]); err != nil {
		return err
	}
	const device = "MTR-000050"
	if err := d.askStatus(ctx, device, "good"); err != nil {
		return err
	}
	if r, err = d.as(ctx, "carol", allWell, "device", "list", "--key", "ca-devices", "--device", device, "--json"); err != nil {
		return err
	}
	id := certificateID.FindStringSubmatch(r.stdout)
	if id == nil {
		return fmt.Errorf("ks does not name the certificate of %s", device)
	}
	if _, err := d.as(ctx, "carol", allWell, "device", "revoke", id[1], "--code", "keyCompromise", "--reason", "stolen from the van"); err != nil {
		return err
	}
	if err := d.askStatus(ctx, device, "revoked"); err != nil {
		return err
	}
	d.proof("openssl verifies both answers from the ROOT: good, and after an administrator revoked the certificate at once revoked")
	return nil
}

var certificateID = regexp.MustCompile(`"id": "([0-9a-f-]{36})"`)

// askStatus asks with openssl for the status of a device's certificate.
func (d *demo) askStatus(ctx context.Context, device, want string) error {
	c := exec.CommandContext(ctx, "openssl", "ocsp", "-no_nonce", "-issuer", "chain.pem", "-cert", "certificates/"+device+".pem", "-CAfile", "chain.pem", "-url", d.Server+"/ocsp")
	c.Dir = d.Dir
	r, err := d.show("$ openssl", allWell, c)
	if err != nil {
		return err
	}
	if said := r.stdout + r.stderr; !strings.Contains(said, "Response verify OK") || !strings.Contains(said, ": "+want) {
		return fmt.Errorf("openssl does not say that it is %s", want)
	}
	return nil
}
