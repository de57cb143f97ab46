package httpapi

import (
	"encoding/base64"
	"math"
	"net/http"
	"strings"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// csr is a certificate request as it was sent: PEM, or DER in base64. What is neither is left to those who read it.
func csr(text string) []byte {
	if der, err := base64.StdEncoding.DecodeString(text); err == nil && !strings.HasPrefix(text, "-----") {
		return der
	}
	return []byte(text)
}

func issueDeviceCertificate(s *server, c *call) (answer, error) {
	in, err := decode[api.NewDeviceCertificate](c)
	if err != nil {
		return answer{}, err
	}
	made, err := s.Keyserver.IssueDevice(c.Context(), c.Caller, law.OperationID(in.Operation), law.KeyID(in.KeyID), keyserver.DeviceOrder{
		IdempotencyKey: c.Header.Get(api.HeaderIdempotencyKey), Request: csr(in.CSR),
	})
	if err != keyserver.ErrStale { // else the request is not over
		s.metrics.placed(err)
	}
	if err != nil {
		return answer{}, err
	}
	location := strings.Replace(api.PathDeviceCertificate, "{certificate}", string(made.ID), 1)
	return answer{status: http.StatusCreated, value: deviceOut(made), location: location}, nil
}

func issueDeviceCertificates(s *server, c *call) (answer, error) {
	in, err := decode[api.NewDeviceBatch](c)
	if err != nil {
		return answer{}, err
	}
	orders := make([]keyserver.DeviceOrder, len(in.Requests))
	for i, r := range in.Requests {
		orders[i] = keyserver.DeviceOrder{IdempotencyKey: r.IdempotencyKey, Request: csr(r.CSR)}
	}
	all, err := s.Keyserver.IssueDevices(c.Context(), c.Caller, law.OperationID(in.Operation), law.KeyID(in.KeyID), orders)
	if err != nil {
		return answer{}, err
	}
	out := api.DeviceResults{Results: make([]api.DeviceResult, len(all)), Checkpoint: all[0].Certificate.Checkpoint}
	for i, r := range all {
		s.metrics.placed(r.Err)
		if r.Err != nil {
			out.Results[i].Problem = s.complete(c, r.Err)
			continue
		}
		one := deviceOut(r.Certificate)
		one.Checkpoint = ""
		out.Results[i].Certificate = &one
	}
	return asJSON(out)
}

func listDeviceCertificates(s *server, c *call) (answer, error) {
	page, err := s.Keyserver.DeviceCertificates(c.Context(), c.Caller, keyserver.DeviceFilter{
		Operation: law.OperationID(c.query.Get("operation")), Key: law.KeyID(c.query.Get("keyid")), Device: c.query.Get("device"),
		Serial: c.query.Get("serial"), Page: c.page(),
	})
	if err != nil {
		return answer{}, err
	}
	out := api.DeviceCertificates{Next: page.Next}
	for _, one := range page.Certificates {
		out.Certificates = append(out.Certificates, deviceOut(one))
	}
	return asJSON(out)
}

func getDeviceCertificate(s *server, c *call) (answer, error) {
	one, err := s.Keyserver.DeviceCertificate(c.Context(), c.Caller, c.certificate())
	if err != nil {
		return answer{}, err
	}
	return asJSON(deviceOut(one))
}

func revokeDeviceCertificate(s *server, c *call) (answer, error) {
	in, err := decode[api.NewCertificateRevocation](c)
	if err != nil {
		return answer{}, err
	}
	one, err := s.Keyserver.RevokeDeviceCertificate(c.Context(), c.Caller, c.certificate(), law.RevocationCode(in.Code), in.Reason)
	if err != nil {
		return answer{}, err
	}
	return asJSON(deviceOut(one))
}

func revokeDeviceCertificates(s *server, c *call) (answer, error) {
	in, err := decode[api.NewCertificateRevocation](c)
	if err != nil {
		return answer{}, err
	}
	n, err := s.Keyserver.RevokeDeviceCertificatesOf(c.Context(), c.Caller, c.operation(), law.RevocationCode(in.Code), in.Reason)
	if err != nil {
		return answer{}, err
	}
	return asJSON(api.RevokedCount{Revoked: n})
}

func getLots(s *server, c *call) (answer, error) {
	lots, err := s.Keyserver.Lots(c.Context(), c.Caller, c.operation())
	if err != nil {
		return answer{}, err
	}
	out := api.Lots{Lots: []api.Lot{}}
	for _, l := range lots {
		one := api.Lot{
			KeyID: string(l.Key), State: string(l.State), MaxUsageCount: l.MaxUses, Taken: l.Taken, Remaining: l.Remaining(), Issued: l.Issued,
			Revoked: l.Revoked, Refused: l.Refused, PerHour: int(math.Round(l.Rate())),
		}
		if l.Issued > 0 {
			first, last := deviceOut(keyserver.Certificate{Certificate: l.First}), deviceOut(keyserver.Certificate{Certificate: l.Last})
			one.First, one.Last = &first, &last
		}
		out.Lots = append(out.Lots, one)
	}
	return asJSON(out)
}

func deviceOut(c keyserver.Certificate) api.DeviceCertificate {
	out := api.DeviceCertificate{
		ID: string(c.ID), Operation: string(c.Operation), KeyID: string(c.Issuer), Device: c.Device, Serial: c.Serial, Fingerprint: c.Fingerprint,
		Request: c.Certificate.Request, State: string(c.State), NotBefore: millis(c.NotBefore), NotAfter: millis(c.NotAfter), Accepted: millis(c.Accepted),
		Settled: millis(c.Settled), Failure: c.Failure, Chain: c.PEM(), Checkpoint: c.Checkpoint,
	}
	if r := c.Revocation; !r.At.IsZero() {
		out.Revoked = &api.CertificateRevoked{At: millis(r.At), By: string(r.By), Code: string(r.Code), Reason: r.Reason}
	}
	return out
}

func getLotReport(s *server, c *call) (answer, error) {
	report, err := s.Keyserver.LotReport(c.Context(), c.Caller, c.operation())
	if err != nil {
		return answer{}, err
	}
	return asText(api.MediaJOSE, string(report))
}

func writeLot(s *server, c *call) (answer, error) {
	return answer{}, s.Keyserver.WriteLot(c.Context(), c.Caller, c.operation(), c.instant("at"), c.stream(api.MediaCSV))
}
