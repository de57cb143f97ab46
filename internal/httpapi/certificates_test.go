package httpapi_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/google/uuid"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/testkit"
)

func TestCertificatesAreIssuedOrderedRevokedAndListedOverHTTP(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: testkit.Hierarchy})
	ctx := t.Context()
	ada, olga := clientOf(k, "ada"), clientOf(k, "olga")
	session := k.ActiveSession(nil)
	for _, key := range []string{"root", "ca-dev"} {
		c := must[api.Certificate](t)(ada.IssueCertificate(ctx, string(session.ID), api.NewCertificate{KeyID: key, Issuer: "root"}))
		if c.State != "issued" || c.Session != string(session.ID) || c.Checkpoint == "" {
			t.Errorf("issued: %+v", c)
		}
	}
	o := k.Create(testkit.Ask("ca-dev"))
	key := uuid.NewString()
	ordered := must[api.Certificate](t)(olga.OrderCertificate(ctx, string(o.ID), key, api.NewCertificateOrder{KeyID: "ca-dev", For: "fw-dev"}))
	again := must[api.Certificate](t)(olga.OrderCertificate(ctx, string(o.ID), key, api.NewCertificateOrder{KeyID: "ca-dev", For: "fw-dev"}))
	order := must[api.SignOrder](t)(olga.SignOrder(ctx, ordered.ID, ""))
	if again.Chain != ordered.Chain || order.Certifies != "fw-dev" || ordered.Operation != string(o.ID) {
		t.Errorf("ordered %+v and again %+v by %+v", ordered, again, order)
	}
	chain := must[[]byte](t)(olga.Certificate(ctx, "fw-dev"))
	if string(chain) != ordered.Chain || bytes.Count(chain, []byte("-----BEGIN CERTIFICATE-----")) != 3 {
		t.Errorf("the current certificate is\n%s", chain)
	}
	block, _ := pem.Decode(chain)
	leaf := must[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes))

	revoked := must[api.Certificate](t)(ada.RevokeCertificate(ctx, ordered.ID, api.NewCertificateRevocation{Code: "keyCompromise", Reason: "leaked"}))
	if revoked.Revoked == nil || revoked.Revoked.By != "ada" || revoked.Revoked.Code != "keyCompromise" {
		t.Errorf("revoked: %+v", revoked)
	}
	_, err := olga.Certificate(ctx, "fw-dev")
	refusedAs(t, "a key whose certificate is revoked", err, api.NotFound)
	k.Beat()
	list := must[*x509.RevocationList](t)(x509.ParseRevocationList(must[[]byte](t)(olga.RevocationList(ctx, "ca-dev"))))
	if len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Cmp(leaf.SerialNumber) != 0 || list.RevokedCertificateEntries[0].ReasonCode != 1 {
		t.Errorf("on the list are %+v", list.RevokedCertificateEntries)
	}
	of := must[api.RevocationList](t)(ada.MakeRevocationList(ctx, string(session.ID), "root"))
	if of.Number != 1 || of.KeyID != "root" {
		t.Errorf("ROOT's list: %+v", of)
	}
	request := must[[]byte](t)(ada.RequestCertificate(ctx, string(session.ID), "ca-dev"))
	if block, _ := pem.Decode(request); block == nil || block.Type != "CERTIFICATE REQUEST" {
		t.Errorf("the request is\n%s", request)
	}
	_, err = ada.ImportCertificate(ctx, string(session.ID), api.NewImport{KeyID: "fw-dev", Chain: ordered.Chain + ordered.Chain})
	refusedAs(t, "a chain that goes round", err, api.Impossible)
	page := must[api.Certificates](t)(olga.Certificates(ctx, "fw-dev", client.Page{}))
	one := must[api.Certificate](t)(olga.CertificateByID(ctx, ordered.ID))
	if len(page.Certificates) != 1 || page.Certificates[0].ID != one.ID || one.Revoked == nil {
		t.Errorf("listed: %+v, one: %+v", page, one)
	}
}
