package stand

import (
	"context"
	"fmt"
	"strings"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
)

// Keys of [Stand.Factory]: the CA key, and the one that signs statuses of its certificates.
const (
	FactoryKey = "ca-factory"
	StatusKey  = "status-factory"
)

// What [Stand.Factory] adds to the policy.
const (
	factoryRole = `
  - {id: stations, kind: orderer, keys: [ca-factory, status-factory], members: [ci-firmware]}`
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
  - keyid: ca-factory # nobody needs to approve
    type: CA
    algorithm: ECDSA-P256
    hash: SHA-256
    schemes: [ECDSA]
    requirement: 0
    max-validityms: 604800000 # a week
    max-usagecount: 1000000
    approvals: session
    artifacts: optional
    keystore: KEYSTORE
    certificate:
      subject: {organization: Example, common-name: Example Factory CA}
      validityms: 315360000000
      path-length: 0
      key-usage: [keyCertSign, cRLSign]
    devices:
      preset: idevid
      subject:
        - {attribute: organization, fixed: Example}
        - {attribute: serial-number, pattern: "[A-Z0-9-]+", max-length: 20}
      duplicates: refuse
  - keyid: status-factory
    type: FW
    algorithm: ECDSA-P256
    hash: SHA-256
    schemes: [ECDSA]
    requirement: 0
    max-validityms: 86400000
    max-usagecount: 1
    approvals: session
    artifacts: optional
    keystore: KEYSTORE
    certificate:
      subject: {organization: Example, common-name: Example Factory CA Status}
      validityms: 7776000000
      key-usage: [digitalSignature]
      extended-key-usage: [OCSPSigning]`
)

// Factory adds a hierarchy to the policy whose CA key issues device certificates to the machine ci-firmware.
func (s *Stand) Factory(ctx context.Context) error {
	carol, err := s.As(ctx, "carol")
	if err != nil {
		return err
	}
	adam, err := s.As(ctx, "adam")
	if err != nil {
		return err
	}
	policy, err := carol.Policy(ctx)
	if err != nil {
		return err
	}
	keystore := Software
	if s.Token != nil {
		keystore = "hsm"
	}
	text := strings.Replace(string(policy), "\nroles:", "\nroles:"+factoryRole, 1)
	text = strings.Replace(text, "\nkeys:", "\nkeys:"+strings.ReplaceAll(factoryKeys, "KEYSTORE", keystore), 1)
	plan, err := openSession(ctx, carol, adam, api.NewSession{Description: "A hierarchy for devices", Policy: text})
	if err == nil {
		_, err = carol.ApplyPlan(ctx, plan)
	}
	if err != nil {
		return fmt.Errorf("adding a hierarchy: %w", err)
	}
	session, err := openSession(ctx, carol, adam, api.NewSession{Description: "Certificates of the hierarchy"})
	for _, key := range []string{"root", FactoryKey} {
		if err == nil {
			_, err = carol.IssueCertificate(ctx, session, api.NewCertificate{KeyID: key, Issuer: "root"})
		}
	}
	if err == nil {
		_, err = carol.CloseSession(ctx, session)
	}
	if err != nil {
		return fmt.Errorf("certifying the hierarchy: %w", err)
	}
	return nil
}

// openSession opens an administration session that another administrator authorises.
func openSession(ctx context.Context, opener, other *client.Client, n api.NewSession) (id string, err error) {
	s, err := opener.OpenSession(ctx, n)
	if err == nil {
		_, err = other.AuthoriseSession(ctx, s.ID, s.Digest)
	}
	return s.ID, err
}
