package httpapi

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

func placeSignOrder(s *server, c *call) (answer, error) {
	in, err := decode[api.NewSignOrder](c)
	if err != nil {
		return answer{}, err
	}
	digest, err := digestOf(in)
	if err != nil {
		return answer{}, err
	}
	key := law.KeyID(in.KeyID)
	if err := s.checkFormat(c, key, in.Format); err != nil {
		return answer{}, err
	}
	order, err := s.Keyserver.PlaceSignOrder(c.Context(), c.Caller, c.operation(), law.OrderAsk{
		Key: key, IdempotencyKey: c.Header.Get(api.HeaderIdempotencyKey),
		Hash: law.Hash(in.Hash), Scheme: law.Scheme(in.Scheme), Digest: digest, Data: in.Data,
	})
	if err == keyserver.ErrStale { // the request is not over
		return answer{}, err
	}
	s.metrics.placed(err)
	if err != nil {
		return answer{}, err
	}
	out, err := orderOut(order, c.facts, in.Format)
	location := strings.Replace(api.PathSignOrder, "{signorder}", string(order.ID), 1)
	return answer{status: http.StatusCreated, value: out, location: location}, err
}

func getSignOrder(s *server, c *call) (answer, error) {
	order, err := s.Keyserver.SignOrder(c.Context(), c.Caller, law.OrderID(c.PathValue("signorder")))
	if err != nil {
		return answer{}, err
	}
	format := api.Format(c.query.Get("format"))
	if err := s.checkFormat(c, order.Key, format); err != nil {
		return answer{}, err
	}
	out, err := orderOut(order, c.facts, format)
	if err != nil {
		return answer{}, err
	}
	return asJSON(out)
}

func listSignOrders(s *server, c *call) (answer, error) {
	page, err := s.Keyserver.SignOrders(c.Context(), c.Caller, c.operation(), c.page())
	if err != nil {
		return answer{}, err
	}
	out := api.SignOrders{Next: page.Next}
	for _, o := range page.Orders {
		one, err := orderOut(o, c.facts, "")
		if err != nil {
			return answer{}, err
		}
		out.SignOrders = append(out.SignOrders, one)
	}
	return asJSON(out)
}

// digestOf decodes the digest as its encoding says. Nothing is guessed: 64 characters could be either.
func digestOf(in api.NewSignOrder) (digest []byte, err error) {
	switch {
	case in.Digest == "":
		return nil, nil
	case in.Encoding == api.Base64:
		digest, err = base64.StdEncoding.Strict().DecodeString(in.Digest)
	default:
		digest, err = hex.DecodeString(in.Digest)
	}
	if err != nil {
		return nil, malformed("/digest", "it is not in the encoding that encoding names; hex unless said")
	}
	return digest, nil
}

// checkFormat refuses, before anything is signed, a form that the signatures of the key do not have. Of
// keys that the caller may not see it says nothing: the law refuses those orders.
func (s *server) checkFormat(c *call, id law.KeyID, f api.Format) error {
	key, known := c.facts.Key(id)
	if f == "" || !known || !c.facts.SeesKey(c.Caller.Subject, id) || fits(f, key.Algorithm) {
		return nil
	}
	if c.recent {
		return keyserver.ErrStale // to refuse and to name what the key is takes the facts of now
	}
	return s.refused(c, law.InputMisfit, fmt.Sprintf("signatures of key %s, which is %s, have no form %s; use %s", id, key.Algorithm, f, forms(key.Algorithm)))
}

func forms(a law.Algorithm) string {
	if keystore.Curve(a) != nil {
		return "der or p1363"
	}
	return "raw"
}

func fits(f api.Format, a law.Algorithm) bool {
	ecdsa := keystore.Curve(a) != nil
	return ecdsa && (f == api.DER || f == api.P1363) || !ecdsa && f == api.Raw
}

// orderOut writes a sign order with its signature in the form asked for.
func orderOut(o keyserver.SignOrder, f law.Facts, format api.Format) (api.SignOrder, error) {
	out := api.SignOrder{
		ID: string(o.ID), Operation: string(o.Operation), Requester: string(o.Requester), Certifies: string(o.Certifies),
		KeyID: string(o.Key), Fingerprint: o.Fingerprint, State: string(o.State), Use: o.Use, Of: o.Of, Attempt: o.Attempt,
		Hash: string(o.Input.Hash), Scheme: string(o.Input.Scheme), Digest: hex.EncodeToString(o.Input.Digest),
		Accepted: millis(o.Accepted), Settled: millis(o.Settled), Failure: o.Failure, Checkpoint: o.Checkpoint,
	}
	if len(o.Signature) == 0 {
		return out, nil
	}
	out.Signature, out.Format = o.Signature, api.Raw
	if o.Input.Scheme != law.ECDSA {
		return out, nil
	}
	out.Format = api.DER
	if format != api.P1363 {
		return out, nil
	}
	key, _ := f.Key(o.Key)
	raw, err := keystore.ToP1363(key.Algorithm, o.Signature)
	if err != nil {
		return api.SignOrder{}, fmt.Errorf("writing the signature of sign order %s: %w", o.ID, err)
	}
	out.Signature, out.Format = raw, api.P1363
	return out, nil
}
