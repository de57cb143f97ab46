package pki

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"example.org/keyserver/internal/law"
)

var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidHardwareModule   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 4} // RFC 4108 section 5
)

// readExtensions reads what the request asks for. Nothing of it is ever copied: it is compared with the profile, from
// which alone the certificate is made. What no profile can give is refused here.
func (r *DeviceRequest) readExtensions(all []extensionDER) error {
	for i, e := range all {
		if slices.ContainsFunc(all[:i], func(o extensionDER) bool { return o.ID.Equal(e.ID) }) {
			return fmt.Errorf("it asks for the extension %s twice", e.ID)
		}
		read, known := map[string]func([]byte) error{
			oidKeyUsage.String(): r.readUsage, oidSubjectAltName.String(): r.readNames, oidBasicConstraints.String(): r.readConstraints,
			oidExtendedKeyUsage.String(): r.readPurposes,
		}[e.ID.String()]
		if !known {
			return fmt.Errorf("it asks for the extension %s (critical: %t), and of extensions a request may name basic constraints, key usage, extended key usage and alternative names alone; remove it", e.ID, e.Critical)
		}
		if err := checkDER(e.Value); err != nil {
			return fmt.Errorf("the extension %s that it asks for: %w", e.ID, err)
		}
		if err := read(e.Value); err != nil {
			return err
		}
	}
	return nil
}

func (r *DeviceRequest) readConstraints(der []byte) error {
	// an empty sequence says that it is no CA, and FALSE is the default, which DER does not write
	if !bytes.Equal(der, []byte{0x30, 0}) {
		return errors.New("it asks for CA:TRUE, a path length or other basic constraints, and a device is no CA; remove them, or ask for CA:FALSE in DER")
	}
	r.constraint = true
	return nil
}

// requestable are the bits of the key usage that a device certificate can have, by their number (RFC 5280 section 4.2.1.3).
var requestable = map[int]law.KeyUsage{0: law.DigitalSignature, 1: law.ContentCommitment, 2: law.KeyEncipherment, 4: law.KeyAgreement}

func (r *DeviceRequest) readUsage(der []byte) error {
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(der, &bits); err != nil || len(rest) > 0 || bits.BitLength == 0 || bits.At(bits.BitLength-1) == 0 {
		return errors.New("the key usage that it asks for is empty or not DER (X.690 section 11.2.2)")
	}
	for i := range bits.BitLength {
		if bits.At(i) == 0 {
			continue
		}
		u, known := requestable[i]
		if !known {
			return fmt.Errorf("it asks for a key usage that no device gets (bit %d of RFC 5280 section 4.2.1.3; keyCertSign is 5, cRLSign is 6); remove it", i)
		}
		r.usage = append(r.usage, u)
	}
	return nil
}

func (r *DeviceRequest) readPurposes(der []byte) error {
	if rest, err := asn1.Unmarshal(der, &r.purposes); err != nil || len(rest) > 0 || len(r.purposes) == 0 || len(r.purposes) > law.MaxDeviceNames {
		return errors.New("the extended key usage that it asks for cannot be read")
	}
	return nil
}

func (r *DeviceRequest) readNames(der []byte) error {
	var all []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &all); err != nil || len(rest) > 0 || len(all) == 0 || len(all) > law.MaxDeviceNames {
		return fmt.Errorf("the alternative names that it asks for cannot be read, or are not between 1 and %d", law.MaxDeviceNames)
	}
	for _, v := range all {
		n := requestedName{value: string(v.Bytes)}
		switch {
		case v.Class == asn1.ClassContextSpecific && v.Tag == 2 && !v.IsCompound:
			n.kind = law.DNSName
		case v.Class == asn1.ClassContextSpecific && v.Tag == 6 && !v.IsCompound:
			n.kind = law.URIName
		case v.Class == asn1.ClassContextSpecific && v.Tag == 0 && v.IsCompound:
			var err error
			if n, err = hardwareModule(v.Bytes); err != nil {
				return err
			}
		default:
			return fmt.Errorf("it asks for an alternative name of a kind that no device gets (%d of RFC 5280 section 4.2.1.6); a device has DNS names, URIs and a hardware module", v.Tag)
		}
		if slices.Contains(r.names, n) {
			return fmt.Errorf("it asks for the alternative name %q twice", n.value)
		}
		if err := law.CheckLine(n.value, law.MaxDeviceName); err != nil {
			return fmt.Errorf("the alternative name %s that it asks for: %w", n.kind, err)
		}
		r.names = append(r.names, n)
	}
	return nil
}

// moduleName is a HardwareModuleName (RFC 4108 section 5).
type moduleName struct {
	Type   asn1.ObjectIdentifier
	Serial []byte
}

// hardwareModule reads what is inside of an otherName.
func hardwareModule(inside []byte) (requestedName, error) {
	refused := errors.New("it asks for an alternative name of another kind than a hardware module (RFC 4108 section 5), DNS name or URI; remove it")
	var id asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(inside, &id)
	if err != nil || !id.Equal(oidHardwareModule) {
		return requestedName{}, refused
	}
	var module moduleName
	if rest, err = asn1.UnmarshalWithParams(rest, &module, "explicit,tag:0"); err != nil || len(rest) > 0 {
		return requestedName{}, refused
	}
	return requestedName{law.HardwareModule, module.Type.String(), string(module.Serial)}, nil
}

// nameDER is the alternative name as it is in a certificate.
func nameDER(n requestedName) (asn1.RawValue, error) {
	switch n.kind {
	case law.DNSName:
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(n.value)}, nil
	case law.URIName:
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(n.value)}, nil
	}
	id, err := asn1.Marshal(oidHardwareModule)
	if err != nil {
		return asn1.RawValue{}, err
	}
	module, err := asn1.MarshalWithParams(moduleName{law.ParseObjectIdentifier(n.hardware), []byte(n.value)}, "explicit,tag:0")
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(id, module...)}, err
}
