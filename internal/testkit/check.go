package testkit

import (
	"context"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/database"
)

// Check verifies the whole state and log in other words than the law, as keyserver verify does, against
// every checkpoint of earlier checks, and holds the log against what the keystores themselves have counted. It
// fails the test where they do not hold together. It is called when the test ends, and after each restart.
func (k *Kit) Check() {
	k.Helper()
	verifier, err := audit.NewVerifier(k.Keyserver.LogKey())
	k.must(err)
	report, err := database.Verify(context.Background(), k.DB, verifier, verify.Options{Remembered: k.remembered})
	if err != nil {
		k.Errorf("verifying the database: %v", err)
		return
	}
	k.remembered = append(k.remembered, report.Checkpoint)
	k.checkCalls()
}

// checkCalls checks that a keystore was never asked without an attempt that had been audited, and that no
// signature was stored that it was not asked for (I2, I7).
func (k *Kit) checkCalls() {
	k.Helper()
	before := k.asked()
	attempts, signed := map[law.KeyID]int{}, map[law.KeyID]int{}
	for _, e := range k.Events("") {
		switch e.Type {
		case audit.OrderAccepted, audit.OrderAttempted:
			attempts[e.Key]++
		case audit.CertificateAccepted:
			attempts[e.Certificate.Issuer]++
		case audit.CertificateRequestAccepted, audit.RevocationListAccepted:
			attempts[e.Key]++
		case audit.StatusesPermitted: // of which it is not said how many were signed
			attempts[e.Key] += e.Count
		case audit.CertificateIssued:
			signed[e.Certificate.Issuer]++
		case audit.CertificateRequestSigned, audit.RevocationListIssued:
			signed[e.Key]++
		case audit.OrderSigned:
			signed[e.Key]++
		}
	}
	for key, n := range before {
		if n > attempts[key] {
			k.Errorf("the keystore was asked %d times to sign with key %s, but only %d attempts are in the audit log", n, key, attempts[key])
		}
	}
	after := k.asked()
	for key, n := range signed {
		if n > after[key] {
			k.Errorf("%d signatures of key %s are in the audit log, but the keystore was asked only %d times", n, key, after[key])
		}
	}
}

func (k *Kit) asked() map[law.KeyID]int {
	n := map[law.KeyID]int{}
	for _, p := range k.Keystore.Calls() {
		n[p.Key().ID]++
	}
	if k.options.Asked != nil {
		for key, more := range k.options.Asked(k) {
			n[key] += more
		}
	}
	return n
}
