// Package keystoretest has what tests of and with keystores need: the contract that every keystore keeps
// ([Run]), permits ([Permit]), and a wrapper that counts and does harm ([Counting]).
package keystoretest

import (
	"slices"
	"testing"
	"time"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// Key returns a firmware key, as an administrator would configure it, for a key pair in the named keystore.
func Key(name string, id law.KeyID, a law.Algorithm, pair keystore.KeyPair) law.Key {
	return law.Key{
		ID: id, Type: law.Firmware, Algorithm: a, Hash: HashesOf(a)[0], Schemes: a.Schemes(), Requirement: law.Require(0),
		MaxValidity: time.Hour, MaxUses: 1, Approvals: law.SessionApprovals, State: law.KeyActive,
		Keystore: name, Version: 1, Handle: pair.Handle, PublicKey: pair.PublicKey, Fingerprint: keystore.Fingerprint(pair.PublicKey),
	}
}

// HashesOf lists the hashes that a key of this algorithm may have.
func HashesOf(a law.Algorithm) []law.Hash {
	if a == law.Ed25519 {
		return []law.Hash{law.SHA512}
	}
	return law.Hashes()
}

// Input returns the input of a message, as the law makes it of data.
func Input(h law.Hash, s law.Scheme, message []byte) law.Input {
	in := law.Input{Hash: h, Scheme: s, Digest: h.Sum(message)}
	if s == law.EdDSA {
		in.Message = message
	}
	return in
}

// Permit returns the permit to sign the input with the key. It is the law's own: an orderer creates an
// operation on this key alone, which here requires nobody, and places one sign order.
func Permit(t testing.TB, key law.Key, in law.Input) law.Permit {
	t.Helper()
	key.Type, key.Requirement, key.State, key.ArtifactsNeeded = law.Firmware, law.Require(0), law.KeyActive, false
	key.Hash, key.Schemes = in.Hash, []law.Scheme{in.Scheme}
	const issuer, orderer = "https://id.example.org", "ci"
	facts, err := law.NewFacts(law.Configuration{
		Issuers:  []law.Issuer{{URL: issuer, Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}}},
		Subjects: []law.Subject{{ID: orderer, Kind: law.Client, Name: "Build pipeline", Enabled: true}},
		Roles:    []law.Role{{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{key.ID}, Members: []law.SubjectID{orderer}}},
		Keys:     []law.Key{key},
	})
	if err != nil {
		t.Fatalf("making the world for a permit: %v", err)
	}
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	created, err := law.Create(law.Caller{Principal: law.Principal{Subject: orderer, Issuer: issuer, Sub: orderer}}, law.Ask{
		Server: "test", ID: "operation", Nonce: "00", Keys: []law.KeyAsk{{Key: key.ID, MaxUses: 1}},
		Description: "a test", Context: "of keystores", Validity: time.Millisecond,
	}, facts, now)
	if err != nil {
		t.Fatalf("creating an operation for a permit: %v", err)
	}
	ask := law.OrderAsk{ID: "order", Who: orderer, Key: key.ID, IdempotencyKey: "1", Hash: in.Hash, Scheme: in.Scheme}
	if in.Scheme == law.EdDSA {
		ask.Data = slices.Clone(in.Message)
	} else {
		ask.Digest = slices.Clone(in.Digest)
	}
	placed, err := created.Operation.Place(ask, nil, facts, now)
	if err != nil {
		t.Fatalf("placing a sign order for a permit: %v", err)
	}
	return placed.Permit
}
