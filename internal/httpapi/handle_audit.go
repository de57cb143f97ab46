package httpapi

import (
	"encoding/json/jsontext"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

func listEvents(s *server, c *call) (answer, error) {
	page, err := s.Keyserver.Events(c.Context(), c.Caller, keyserver.EventFilter{
		Type:      c.query.Get("type"),
		Operation: law.OperationID(c.query.Get("operation")),
		Subject:   law.SubjectID(c.query.Get("subject")),
		Key:       law.KeyID(c.query.Get("keyid")),
		Session:   law.SessionID(c.query.Get("session")),
		Page:      c.page(),
	})
	if err != nil {
		return answer{}, err
	}
	out := api.Events{Next: page.Next}
	for _, leaf := range page.Leaves {
		out.Events = append(out.Events, jsontext.Value(leaf))
	}
	return asJSON(out)
}

func getCheckpoint(s *server, c *call) (answer, error) {
	checkpoint, err := s.Keyserver.Checkpoint(c.Context(), c.Caller)
	if err != nil {
		return answer{}, err
	}
	return asText(api.MediaText, checkpoint)
}

func getInclusionProof(s *server, c *call) (answer, error) {
	index, size := c.integer("index", 0), c.integer("size", 0)
	hashes, err := s.Keyserver.InclusionProof(c.Context(), c.Caller, index, size)
	if err != nil {
		return answer{}, err
	}
	return asJSON(api.InclusionProof{Index: index, Size: size, Hashes: hashes})
}

func getConsistencyProof(s *server, c *call) (answer, error) {
	from, to := c.integer("from", 0), c.integer("to", 0)
	hashes, err := s.Keyserver.ConsistencyProof(c.Context(), c.Caller, from, to)
	if err != nil {
		return answer{}, err
	}
	return asJSON(api.ConsistencyProof{From: from, To: to, Hashes: hashes})
}

func exportAudit(s *server, c *call) (answer, error) {
	return answer{}, s.Keyserver.Export(c.Context(), c.Caller, c.stream(api.MediaText))
}
