package audit

import (
	"bytes"
	"cmp"
	"encoding/json/v2"
	"fmt"
	"slices"

	"example.org/keyserver/internal/law"
)

// planVersion is the version of the form of plans that this package writes.
const planVersion = 1

type plan struct {
	Objects []Configuration `json:"objects"`
	Version int             `json:"version"`
}

// Plan returns the canonical form of a plan, over which its digest is taken: one JSON object as RFC 8785 orders and
// writes it, with the objects as they stand in events, in the order in which [Changed] has them. Its keys have no key
// pair, and a plan replaces none: whoever authorises it could not see by what.
func Plan(c law.Changes) ([]byte, error) {
	if len(c.ReplacePairs) > 0 {
		return nil, fmt.Errorf("writing a plan: the key pair of %s is to be replaced, which no plan does", c.ReplacePairs[0])
	}
	objects, err := Changed(c, c.Set)
	if err != nil {
		return nil, err
	}
	return PlanOf(objects)
}

// PlanOf returns the canonical form of the plan whose changes these are, as they stand in events.
func PlanOf(changed []Configuration) ([]byte, error) {
	objects := make([]Configuration, 0, len(changed))
	for _, o := range changed {
		if o.Kind != ConfiguredKey {
			objects = append(objects, o)
			continue
		}
		var one law.Configuration
		err := o.AddTo(&one)
		for i, k := range one.Keys {
			one.Keys[i] = k.With(law.KeyPair{})
		}
		bare, again := ConfigurationOf(one)
		if err = cmp.Or(err, again); err != nil {
			return nil, err
		}
		objects = append(objects, bare...)
	}
	canonical, err := json.Marshal(plan{objects, planVersion})
	if err != nil {
		return nil, fmt.Errorf("writing a plan: %w", err)
	}
	return canonical, nil
}

// ParsePlan reads the canonical form of a plan back. It refuses anything that is not byte for byte what [Plan] writes.
func ParsePlan(canonical []byte) (law.Changes, error) {
	var p plan
	if err := json.Unmarshal(canonical, &p, json.RejectUnknownMembers(true)); err != nil {
		return law.Changes{}, fmt.Errorf("reading a plan: %w", err)
	}
	var c law.Changes
	for _, o := range p.Objects {
		switch {
		case !o.Removes():
			if err := o.AddTo(&c.Set); err != nil {
				return law.Changes{}, fmt.Errorf("reading a plan: %w", err)
			}
		case o.Kind == ConfiguredRole:
			c.RemoveRoles = append(c.RemoveRoles, law.RoleID(o.ID))
		case o.Kind == ConfiguredIssuer:
			c.RemoveIssuers = append(c.RemoveIssuers, o.ID)
		default:
			return law.Changes{}, fmt.Errorf("reading a plan: %s %s cannot go", o.Kind, o.ID)
		}
	}
	if again, err := Plan(c); err != nil || p.Version != planVersion || !bytes.Equal(again, canonical) {
		return law.Changes{}, fmt.Errorf("reading a plan: not in canonical form (RFC 8785), version %d", planVersion)
	}
	return c, nil
}

// Changed returns the objects of a change as they stand in events: what is set, as it is in the configuration after
// the change, each kind by id, then the roles and the issuers that go, by id. It refuses a change that names an object
// twice, since nobody could tell which of the two is meant.
func Changed(c law.Changes, after law.Configuration) ([]Configuration, error) {
	set := law.Configuration{
		Administration: c.Set.Administration,
		Issuers:        by(c.Set.Issuers, func(i law.Issuer) string { return i.URL }),
		Subjects:       by(c.Set.Subjects, func(s law.Subject) string { return string(s.ID) }),
		Roles:          by(c.Set.Roles, func(r law.Role) string { return string(r.ID) }),
	}
	changed := map[law.KeyID]bool{}
	for _, k := range c.Set.Keys {
		changed[k.ID] = true
	}
	for _, id := range c.ReplacePairs {
		changed[id] = true
	}
	for _, k := range after.Keys {
		if changed[k.ID] {
			set.Keys = append(set.Keys, k)
		}
	}
	set.Keys = by(set.Keys, func(k law.Key) string { return string(k.ID) })
	objects, err := ConfigurationOf(set)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(slices.Values(c.RemoveRoles)) {
		objects = append(objects, Removed(ConfiguredRole, string(id)))
	}
	for _, url := range slices.Sorted(slices.Values(c.RemoveIssuers)) {
		objects = append(objects, Removed(ConfiguredIssuer, url))
	}
	type name struct {
		kind ConfigurationKind
		id   string
	}
	named := map[name]bool{}
	for _, o := range objects {
		if named[name{o.Kind, o.ID}] {
			return nil, fmt.Errorf("writing a change: %s %s is named twice", o.Kind, o.ID)
		}
		named[name{o.Kind, o.ID}] = true
	}
	return objects, nil
}

// by returns the objects in the order of their ids.
func by[T any](objects []T, id func(T) string) []T {
	return slices.SortedFunc(slices.Values(objects), func(a, b T) int { return cmp.Compare(id(a), id(b)) })
}
