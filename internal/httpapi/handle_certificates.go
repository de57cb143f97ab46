package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

func issueCertificate(s *server, c *call) (answer, error) {
	in, err := decode[api.NewCertificate](c)
	if err != nil {
		return answer{}, err
	}
	made, err := s.Keyserver.IssueCertificate(c.Context(), c.Caller, c.session(), keyserver.IssueRequest{Key: law.KeyID(in.KeyID), Issuer: law.KeyID(in.Issuer)})
	return asMade(made, err)
}

func orderCertificate(s *server, c *call) (answer, error) {
	in, err := decode[api.NewCertificateOrder](c)
	if err != nil {
		return answer{}, err
	}
	made, err := s.Keyserver.PlaceCertificateOrder(c.Context(), c.Caller, c.operation(), keyserver.CertificateOrder{
		Issuer: law.KeyID(in.KeyID), Key: law.KeyID(in.For), IdempotencyKey: c.Header.Get(api.HeaderIdempotencyKey),
	})
	if err != keyserver.ErrStale { // else the request is not over
		s.metrics.placed(err)
	}
	return asMade(made, err)
}

func importCertificate(s *server, c *call) (answer, error) {
	in, err := decode[api.NewImport](c)
	if err != nil {
		return answer{}, err
	}
	made, err := s.Keyserver.ImportCertificate(c.Context(), c.Caller, c.session(), law.KeyID(in.KeyID), []byte(in.Chain))
	return asMade(made, err)
}

func requestCertificate(s *server, c *call) (answer, error) {
	in, err := decode[api.OfKey](c)
	if err != nil {
		return answer{}, err
	}
	request, err := s.Keyserver.CertificateRequest(c.Context(), c.Caller, c.session(), law.KeyID(in.KeyID))
	if err != nil {
		return answer{}, err
	}
	return asText(api.MediaPEM, string(request))
}

func makeRevocationList(s *server, c *call) (answer, error) {
	in, err := decode[api.OfKey](c)
	if err != nil {
		return answer{}, err
	}
	l, err := s.Keyserver.MakeRevocationList(c.Context(), c.Caller, c.session(), law.KeyID(in.KeyID))
	if err != nil {
		return answer{}, err
	}
	location := strings.Replace(api.PathRevocationList, "{list}", in.KeyID+listSuffix, 1)
	return answer{status: http.StatusCreated, location: location, value: api.RevocationList{
		KeyID: in.KeyID, Number: l.Number, Entries: l.Entries, ThisUpdate: millis(l.ThisUpdate), NextUpdate: millis(l.NextUpdate),
	}}, nil
}

func listCertificates(s *server, c *call) (answer, error) {
	page, err := s.Keyserver.Certificates(c.Context(), c.Caller, keyserver.CertificateFilter{Key: law.KeyID(c.query.Get("keyid")), Page: c.page()})
	if err != nil {
		return answer{}, err
	}
	out := api.Certificates{Next: page.Next}
	for _, one := range page.Certificates {
		out.Certificates = append(out.Certificates, certificateOut(one))
	}
	return asJSON(out)
}

func getCertificateByID(s *server, c *call) (answer, error) {
	one, err := s.Keyserver.Certificate(c.Context(), c.Caller, c.certificate())
	if err != nil {
		return answer{}, err
	}
	return asJSON(certificateOut(one))
}

func revokeCertificate(s *server, c *call) (answer, error) {
	in, err := decode[api.NewCertificateRevocation](c)
	if err != nil {
		return answer{}, err
	}
	one, err := s.Keyserver.RevokeCertificate(c.Context(), c.Caller, c.certificate(), law.RevocationCode(in.Code), in.Reason)
	if err != nil {
		return answer{}, err
	}
	return asJSON(certificateOut(one))
}

func getCertificate(s *server, c *call) (answer, error) {
	one, err := s.Keyserver.CurrentCertificate(c.Context(), c.Caller, law.KeyID(c.PathValue("keyid")))
	if err != nil {
		return answer{}, err
	}
	return asText(api.MediaPEM, one.PEM())
}

// listSuffix ends the names of revocation lists (RFC 5280 section 4.2.1.13).
const listSuffix = ".crl"

// getRevocationList serves a list to anybody, and lets anybody keep it until there is a newer one at the latest.
func getRevocationList(s *server, c *call) (answer, error) {
	l, err := s.Keyserver.RevocationList(c.Context(), law.KeyID(strings.TrimSuffix(c.PathValue("list"), listSuffix)))
	if err != nil {
		return answer{}, err
	}
	fresh := min(listFresh, max(0, int(l.NextUpdate.Sub(s.Now()).Seconds())))
	return answer{media: api.MediaRevocationList, data: l.DER, cache: fmt.Sprintf("public, max-age=%d", fresh)}, nil
}

// listFresh is for how many seconds a revocation list is kept: the next one, with what was revoked since, is to be seen
// soon.
const listFresh = 3600

// certificate returns the certificate that the path names.
func (c *call) certificate() law.CertificateID { return law.CertificateID(c.PathValue("certificate")) }

func asMade(made keyserver.Certificate, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	location := strings.Replace(api.PathCertificateByID, "{certificate}", string(made.ID), 1)
	return answer{status: http.StatusCreated, value: certificateOut(made), location: location}, nil
}

func certificateOut(c keyserver.Certificate) api.Certificate {
	out := api.Certificate{
		ID: string(c.ID), KeyID: string(c.Key), Fingerprint: c.Fingerprint, Issuer: string(c.Issuer), Serial: c.Serial, State: string(c.State),
		NotBefore: millis(c.NotBefore), NotAfter: millis(c.NotAfter), Session: string(c.Session), Operation: string(c.Operation),
		Accepted: millis(c.Accepted), Settled: millis(c.Settled), Failure: c.Failure, Chain: c.PEM(),
		Checkpoint: c.Checkpoint,
	}
	if r := c.Revocation; !r.At.IsZero() {
		out.Revoked = &api.CertificateRevoked{At: millis(r.At), By: string(r.By), Code: string(r.Code), Reason: r.Reason}
	}
	return out
}
