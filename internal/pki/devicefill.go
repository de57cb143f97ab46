package pki

import (
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"

	"example.org/keyserver/internal/law"
)

// filled is a profile whose open places are filled with what it lets through of a request.
type filled struct {
	profile  law.DeviceProfile
	request  DeviceRequest
	identity string
	subject  pkix.RDNSequence
	names    []requestedName
}

func fill(p law.DeviceProfile, r DeviceRequest) (filled, error) {
	f := filled{profile: p, request: r}
	for _, step := range []func() error{f.fillSubject, f.fillNames, f.checkWishes} {
		if err := step(); err != nil {
			return filled{}, err
		}
	}
	return f, nil
}

func (f *filled) fillSubject() error {
	known := map[string]bool{}
	for _, a := range f.profile.Subject {
		id, err := law.ParseDeviceAttribute(a.Type)
		if err != nil {
			return err
		}
		known[id.String()] = true
		i := slices.IndexFunc(f.request.subject, func(o requestedAttribute) bool { return o.id.Equal(id) })
		value := a.Fixed
		switch {
		case a.Fixed != "" && i >= 0 && f.request.subject[i].value != a.Fixed:
			return fmt.Errorf("the request says %s %q, and the profile %q; leave it out, or say the same", a.Type, f.request.subject[i].value, a.Fixed)
		case a.Fixed == "" && i < 0 && a.Optional:
			continue
		case a.Fixed == "" && i < 0:
			return fmt.Errorf("the request lacks the attribute %s in its subject", a.Type)
		case a.Fixed == "":
			value = f.request.subject[i].value
			if err := a.Passes(value); err != nil {
				return fmt.Errorf("attribute %s of the request: %w", a.Type, err)
			}
		}
		if a.Type == f.profile.Identity {
			f.identity = value
		}
		f.subject = append(f.subject, pkix.RelativeDistinguishedNameSET{{Type: id, Value: value}})
	}
	for _, a := range f.request.subject {
		if !known[a.id.String()] {
			return fmt.Errorf("the request has the attribute %s in its subject, of which the profile says nothing; remove it", attributeName(a.id))
		}
	}
	return nil
}

func (f *filled) fillNames() error {
	open := f.request.names
	for _, n := range f.profile.Names { // those that are the same for all devices; none is made of an identity of its kind
		if n.Fixed != "" && !strings.Contains(n.Fixed, law.DeviceMark) {
			open = without(open, requestedName{n.Kind, n.HardwareType, n.Fixed})
		}
	}
	for _, is := range open {
		if string(is.kind) == f.profile.Identity {
			f.identity = is.value
		}
	}
	made := make([]requestedName, len(f.profile.Names)) // where fixed; a request may have them too
	for i, n := range f.profile.Names {
		if n.Fixed == "" {
			continue
		}
		made[i] = requestedName{n.Kind, n.HardwareType, strings.ReplaceAll(n.Fixed, law.DeviceMark, f.identity)}
		if err := n.Valid(made[i].value); err != nil {
			return fmt.Errorf("alternative name %s of the profile, for device %q: %w", n.Kind, f.identity, err)
		}
		open = without(open, made[i])
	}
	for i, n := range f.profile.Names {
		switch {
		case n.Fixed == "":
			var err error
			if open, err = f.take(n, open); err != nil {
				return err
			}
		case !slices.Contains(f.names, made[i]):
			f.names = append(f.names, made[i])
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("the request has the alternative name %s %q, and the profile lets no such name through; remove it", open[0].kind, open[0].value)
	}
	return nil
}

func without(names []requestedName, one requestedName) []requestedName {
	return slices.DeleteFunc(slices.Clone(names), func(n requestedName) bool { return n == one })
}

// take lets the names through that the request may have of one kind, and returns the others.
func (f *filled) take(n law.DeviceName, open []requestedName) ([]requestedName, error) {
	var rest []requestedName
	taken := 0
	for _, is := range open {
		if is.kind != n.Kind {
			rest = append(rest, is)
			continue
		}
		if is.hardware != n.HardwareType {
			return nil, fmt.Errorf("the request has a hardware module of type %s, and the profile has %s", is.hardware, n.HardwareType)
		}
		if taken++; taken > n.Most {
			return nil, fmt.Errorf("the request has more alternative names %s than the profile allows, which is %d", n.Kind, n.Most)
		}
		if err := n.Passes(is.value); err != nil {
			return nil, fmt.Errorf("alternative name %s of the request: %w", n.Kind, err)
		}
		f.names = append(f.names, is)
	}
	if taken == 0 && !n.Optional {
		return nil, fmt.Errorf("the request lacks an alternative name %s", n.Kind)
	}
	return rest, nil
}

// checkWishes compares the usages that the request asks for with those that the certificate has.
func (f *filled) checkWishes() error {
	for _, u := range f.request.usage {
		if !slices.Contains(f.profile.KeyUsage, u) {
			return fmt.Errorf("the request asks for the key usage %s, and the profile gives %v; remove it", u, f.profile.KeyUsage)
		}
	}
	gives, err := purposesOf(f.profile.ExtendedKeyUsage)
	if err != nil {
		return err
	}
	for _, wanted := range f.request.purposes {
		if !slices.ContainsFunc(gives, wanted.Equal) {
			return fmt.Errorf("the request asks for the extended key usage %s, and the profile gives %v; remove it", wanted, f.profile.ExtendedKeyUsage)
		}
	}
	return nil
}
