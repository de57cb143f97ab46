package httpapi

import (
	"encoding/json/jsontext"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

func createOperation(s *server, c *call) (answer, error) {
	in, err := decode[api.NewOperation](c)
	if err != nil {
		return answer{}, err
	}
	ask := law.Ask{
		Description: in.Description, Context: in.Context, Validity: time.Duration(in.ValidMS) * time.Millisecond,
	}
	for i, k := range in.KeyUsageRestrictions {
		if slices.ContainsFunc(in.KeyUsageRestrictions[:i], func(other api.KeyUsageRestriction) bool { return other.KeyID == k.KeyID }) {
			at := jsontext.Pointer("/new-keyusagerestrictions/" + strconv.Itoa(i) + "/keyid")
			return answer{}, malformed(at, "key %s is named twice; name it once, with all its uses", k.KeyID)
		}
		ask.Keys = append(ask.Keys, law.KeyAsk{Key: law.KeyID(k.KeyID), MaxUses: k.MaxUsageCount})
	}
	for _, a := range in.Artifacts {
		ask.Artifacts = append(ask.Artifacts, law.Artifact{Name: a.Name, Size: a.Size, Hash: law.Hash(a.Hash), Digest: a.Digest})
	}
	for _, id := range in.Clients {
		ask.Clients = append(ask.Clients, law.SubjectID(id))
	}
	o, err := s.Keyserver.CreateOperation(c.Context(), c.Caller, keyserver.CreateRequest{
		IdempotencyKey: c.Header.Get(api.HeaderIdempotencyKey), Ask: ask,
	})
	if err != nil {
		return answer{}, err
	}
	location := strings.Replace(api.PathOperation, "{operation}", string(o.ID), 1)
	return answer{status: http.StatusCreated, value: operationOut(o), location: location}, nil
}

func listOperations(s *server, c *call) (answer, error) {
	page, err := s.Keyserver.Operations(c.Context(), c.Caller, keyserver.OperationFilter{
		State:   law.State(c.query.Get("state")),
		Key:     law.KeyID(c.query.Get("keyid")),
		Orderer: law.SubjectID(c.query.Get("orderer")),
		Queue:   c.query.Get("queue") == "true",
		Text:    c.query.Get("text"),
		From:    c.instant("from"),
		Until:   c.instant("until"),
		Page:    c.page(),
	})
	if err != nil {
		return answer{}, err
	}
	out := api.Operations{Next: page.Next}
	for _, o := range page.Operations {
		out.Operations = append(out.Operations, operationOut(o))
	}
	return asJSON(out)
}

func getOperation(s *server, c *call) (answer, error) {
	o, err := s.Keyserver.Operation(c.Context(), c.Caller, c.operation())
	return asOperation(o, err)
}

func waitOperation(s *server, c *call) (answer, error) {
	wait := time.Duration(c.integer("waitms", api.DefaultWait)) * time.Millisecond
	o, err := s.Keyserver.WaitOperation(c.Context(), c.Caller, c.operation(), c.integer("revision", 0), wait)
	return asOperation(o, err)
}

func approveOperation(s *server, c *call) (answer, error) {
	in, err := decode[api.NewApproval](c)
	if err != nil {
		return answer{}, err
	}
	o, err := s.Keyserver.Approve(c.Context(), c.Caller, c.operation(), law.Digest(in.Digest))
	return asOperation(o, err)
}

func withdrawApproval(s *server, c *call) (answer, error) {
	o, err := s.Keyserver.Withdraw(c.Context(), c.Caller, c.operation())
	return asOperation(o, err)
}

func rejectOperation(s *server, c *call) (answer, error) {
	in, err := decode[api.Ending](c)
	if err != nil {
		return answer{}, err
	}
	o, err := s.Keyserver.Reject(c.Context(), c.Caller, c.operation(), in.Reason)
	return asOperation(o, err)
}

func revokeOperation(s *server, c *call) (answer, error) {
	in, err := decode[api.Ending](c)
	if err != nil {
		return answer{}, err
	}
	o, err := s.Keyserver.Revoke(c.Context(), c.Caller, c.operation(), in.Reason)
	return asOperation(o, err)
}

// operation returns the operation that the path names.
func (c *call) operation() law.OperationID { return law.OperationID(c.PathValue("operation")) }

func asOperation(o keyserver.Operation, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return asJSON(operationOut(o))
}
