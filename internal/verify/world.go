package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// people is a set of subjects.
type people map[law.SubjectID]struct{}

func (p people) has(who law.SubjectID) bool { _, is := p[who]; return is }

// world is the configuration as the log tells it, up to the entry being read.
type world struct {
	version  int // grows with every change
	objects  map[object]*configured
	issuers  map[string]law.Issuer
	subjects map[law.SubjectID]law.Subject
	roles    map[law.RoleID]law.Role
	keys     map[law.KeyID]law.Key
	ever     map[string][]byte // every public key there ever was, by fingerprint

	administration law.Administration

	// Who may do what, disabled subjects left out.
	orderers, approvers     map[law.KeyID]people
	administrators, viewers people // viewers see everything
	actors                  map[law.ActorName]law.SubjectID

	devices  map[law.KeyID]string // digests of the profiles of device certificates
	profiles map[law.KeyID]string // digests of what CA keys put into the certificates of FW keys
}

// object names a part of the configuration.
type object struct {
	kind audit.ConfigurationKind
	id   string
}

// configured is a part of the configuration as it is now.
type configured struct {
	value string // canonical JSON
	seen  bool   // in the database
}

func newWorld() world {
	return world{
		objects: map[object]*configured{}, issuers: map[string]law.Issuer{}, subjects: map[law.SubjectID]law.Subject{},
		roles: map[law.RoleID]law.Role{}, keys: map[law.KeyID]law.Key{}, ever: map[string][]byte{},
	}
}

// required is how many administrators must authorise an administration session.
func (w *world) required() int {
	if w.administration.Administrators == 0 {
		return 2
	}
	return w.administration.Administrators
}

// active is how long an administration session is active, in ms.
func (w *world) active() int64 {
	if w.administration.Active == 0 {
		return time.Hour.Milliseconds()
	}
	return w.administration.Active.Milliseconds()
}

// set puts one part of the configuration in its place. What follows from it is not up to date until derive.
func (w *world) set(c *audit.Configuration) error {
	if c.Removes() {
		return w.remove(object{c.Kind, c.ID})
	}
	var one law.Configuration
	if err := c.AddTo(&one); err != nil {
		return breaks("the form of the configuration", "%v", err)
	}
	own := ""
	if c.Kind == audit.ConfiguredAdministration {
		own, w.administration = "administration", one.Administration
		if w.administration.Administrators < 0 || w.administration.Active < 0 {
			return breaks("section 5", "a session cannot take %d administrators for %v", w.administration.Administrators, w.administration.Active)
		}
	}
	for _, i := range one.Issuers {
		own, w.issuers[i.URL] = i.URL, i
	}
	for _, s := range one.Subjects {
		if was, known := w.subjects[s.ID]; known && was.Kind != s.Kind {
			return breaks("section 5", "subject %s is a %s for ever", s.ID, was.Kind)
		}
		own, w.subjects[s.ID] = string(s.ID), s
	}
	for _, r := range one.Roles {
		own, w.roles[r.ID] = string(r.ID), r
	}
	for _, k := range one.Keys {
		if err := w.setKey(k); err != nil {
			return err
		}
		own = string(k.ID)
	}
	if own != c.ID {
		return breaks("the form of the configuration", "%s %q is configured under the name %q", c.Kind, own, c.ID)
	}
	w.objects[object{c.Kind, c.ID}] = &configured{value: string(c.Value)}
	return nil
}

func (w *world) setKey(k law.Key) error {
	sum := sha256.Sum256(k.PublicKey)
	switch {
	case k.Fingerprint != hex.EncodeToString(sum[:]):
		return breaks("rule 9", "the fingerprint of key %s is not that of its public key", k.ID)
	case !k.Requirement.Set():
		return breaks("section 3", "key %s has no requirement", k.ID)
	case k.Type != law.Firmware && forStatuses(k):
		return breaks("section 3", "key %s issues certificates and could tell their statuses by a certificate of its own", k.ID)
	case k.Devices != nil && (k.Type != law.CA || !ofDevices(*k.Devices)):
		return breaks("section 3", "key %s may issue device certificates that no device should have", k.ID)
	}
	if was, known := w.keys[k.ID]; known {
		if err := outlasts(was, k); err != nil {
			return err
		}
	}
	w.keys[k.ID], w.ever[k.Fingerprint] = k, k.PublicKey
	return nil
}

// ofDevices says whether certificates by the profile are of devices: none is a CA's, and none speaks for another's.
func ofDevices(p law.DeviceProfile) bool {
	named := false // by something that devices do not have in common
	for _, a := range p.Subject {
		named = named || a.Type == p.Identity && a.Pattern != "" && !a.Optional
	}
	for _, n := range p.Names {
		named = named || string(n.Kind) == p.Identity && n.Pattern != "" && !n.Optional && n.Most == 1
	}
	for _, u := range p.KeyUsage {
		named = named && u != law.KeyCertSign && u != law.CRLSign
	}
	for _, u := range p.ExtendedKeyUsage {
		id, err := law.ParseExtendedKeyUsage(u)
		named = named && err == nil && !slices.Contains([]string{"1.3.6.1.5.5.7.3.9", "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.8", "2.5.29.37.0"}, id.String())
	}
	for _, e := range p.Extensions {
		named = named && !strings.HasPrefix(e.ID, "2.5.29.")
	}
	return named && len(p.Algorithms) > 0 && p.NoExpiry == (p.Validity == 0)
}

// remove removes a role or an issuer.
func (w *world) remove(name object) error {
	switch {
	case w.objects[name] == nil:
		return breaks("the form of the configuration", "%s %q is removed, but it is not there", name.kind, name.id)
	case name.kind == audit.ConfiguredRole:
		delete(w.roles, law.RoleID(name.id))
	case name.kind == audit.ConfiguredIssuer:
		delete(w.issuers, name.id)
	default:
		return breaks("section 5", "%s %q is removed, but only roles and issuers ever are", name.kind, name.id)
	}
	delete(w.objects, name)
	return nil
}

// derive works out who may do what. Its error says what makes no sense.
func (w *world) derive() error {
	w.version++
	w.orderers, w.approvers = map[law.KeyID]people{}, map[law.KeyID]people{}
	w.administrators, w.viewers = people{}, people{}
	w.actors = map[law.ActorName]law.SubjectID{}
	w.devices, w.profiles = map[law.KeyID]string{}, map[law.KeyID]string{}
	keys := slices.Collect(maps.Values(w.keys))
	pairs := map[string]law.KeyID{}
	for _, k := range w.keys {
		if k.Devices != nil {
			w.devices[k.ID] = k.Devices.Digest()
		}
		if k.Type == law.CA {
			w.profiles[k.ID] = law.ProfilesDigest(k, keys)
		}
		if other, taken := pairs[k.Fingerprint]; taken {
			return fmt.Errorf("keys %s and %s have the same key pair", min(k.ID, other), max(k.ID, other))
		}
		pairs[k.Fingerprint] = k.ID
	}
	for _, s := range w.subjects {
		for _, a := range s.Actors {
			if other, taken := w.actors[a]; taken || s.Kind != law.User {
				return fmt.Errorf("subjects %s and %s cannot both be the person %q of issuer %s", s.ID, other, a.Value, a.Issuer)
			}
			w.actors[a] = s.ID
		}
	}
	for _, r := range w.roles {
		if err := w.grant(r); err != nil {
			return fmt.Errorf("role %s: %w", r.ID, err)
		}
	}
	return nil
}

func (w *world) grant(r law.Role) error {
	for _, m := range r.Members {
		s, known := w.subjects[m]
		switch {
		case !known:
			return fmt.Errorf("there is no subject %q", m)
		case s.Kind != law.User && (r.Kind == law.Approver || r.Kind == law.Administrator):
			return fmt.Errorf("%s is a machine, and machines are never %ss", m, r.Kind)
		case !s.Enabled:
			continue
		}
		switch r.Kind {
		case law.Orderer:
			enter(w.orderers, r.Keys, m)
		case law.Approver:
			enter(w.approvers, r.Keys, m)
		case law.Administrator:
			w.administrators[m], w.viewers[m] = struct{}{}, struct{}{}
		case law.Auditor:
			w.viewers[m] = struct{}{}
		default:
			return fmt.Errorf("kind %q is unknown", r.Kind)
		}
	}
	return nil
}

func enter(lists map[law.KeyID]people, keys []law.KeyID, who law.SubjectID) {
	for _, k := range keys {
		if lists[k] == nil {
			lists[k] = people{}
		}
		lists[k][who] = struct{}{}
	}
}
