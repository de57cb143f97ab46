package httpapi

import (
	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

func getPolicy(s *server, c *call) (answer, error) {
	configuration, err := s.Keyserver.Policy(c.Context(), c.Caller)
	if err != nil {
		return answer{}, err
	}
	return asText(api.MediaYAML, string(policy.Write(configuration)))
}

func comparePolicy(s *server, c *call) (answer, error) {
	wanted, err := s.wanted(c)
	if err != nil {
		return answer{}, err
	}
	d, err := s.Keyserver.Difference(c.Context(), c.Caller, *wanted)
	if err != nil {
		return answer{}, err
	}
	return asJSON(api.PolicyDifference{Items: itemsOut(policy.Describe(d.Changes, d.Before)), Faults: d.Faults})
}

func whoCan(s *server, c *call) (answer, error) {
	return s.whoCan(c, nil, law.SessionID(c.query.Get("session")))
}

func whoCould(s *server, c *call) (answer, error) {
	wanted, err := s.wanted(c)
	if err != nil {
		return answer{}, err
	}
	return s.whoCan(c, wanted, "")
}

func (s *server) whoCan(c *call, planned *law.Configuration, session law.SessionID) (answer, error) {
	who, err := s.Keyserver.WhoCan(c.Context(), c.Caller, law.KeyID(c.PathValue("keyid")), planned, session)
	if err != nil {
		return answer{}, err
	}
	return asJSON(whoCanOut(who))
}

func listSubjects(s *server, c *call) (answer, error) {
	subjects, err := s.Keyserver.Subjects(c.Context(), c.Caller)
	if err != nil {
		return answer{}, err
	}
	var out api.Subjects
	for _, subject := range subjects {
		out.Subjects = append(out.Subjects, subjectOut(subject))
	}
	return asJSON(out)
}

func listRoles(s *server, c *call) (answer, error) {
	roles, err := s.Keyserver.Roles(c.Context(), c.Caller)
	if err != nil {
		return answer{}, err
	}
	var out api.Roles
	for _, r := range roles {
		out.Roles = append(out.Roles, roleOut(r))
	}
	return asJSON(out)
}

func disableKey(s *server, c *call) (answer, error) {
	in, err := decode[api.Disabling](c)
	if err != nil {
		return answer{}, err
	}
	k, err := s.Keyserver.DisableKey(c.Context(), c.Caller, law.KeyID(c.PathValue("keyid")), in.Reason)
	if err != nil {
		return answer{}, err
	}
	return asJSON(keyOut(k))
}

func disableSubject(s *server, c *call) (answer, error) {
	in, err := decode[api.Disabling](c)
	if err != nil {
		return answer{}, err
	}
	subject, err := s.Keyserver.DisableSubject(c.Context(), c.Caller, law.SubjectID(c.PathValue("subject")), in.Reason)
	if err != nil {
		return answer{}, err
	}
	return asJSON(subjectOut(subject))
}

// wanted reads the policy of the body.
func (s *server) wanted(c *call) (*law.Configuration, error) {
	in, err := decode[api.Policy](c)
	if err != nil {
		return nil, err
	}
	return s.parsePolicy(c, in.Policy)
}

func (s *server) parsePolicy(c *call, text string) (*law.Configuration, error) {
	wanted, err := policy.Parse([]byte(text))
	if err != nil {
		return nil, s.policyFault(c, err)
	}
	return &wanted, nil
}

// policyFault refuses a text that is no policy. Whoever may not ask anyway is told that instead.
func (s *server) policyFault(c *call, fault error) error {
	if err := c.facts.ReadConfiguration(c.Caller.Subject); err != nil {
		return s.refused(c, law.Forbidden, err.Error())
	}
	return refuse(api.PolicyFault, "%v", fault)
}
