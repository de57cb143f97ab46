package law

import (
	"slices"
	"time"
)

// DeviceDraft is a device certificate that is to be signed.
type DeviceDraft struct {
	CertificateDraft
	Device    string        // device identity
	Request   string        // lower-case hex SHA-256 of the certificate request, DER
	Profile   string        // digest of the profile that it was drawn up by
	Authority CertificateID // certificate of the CA key that it was drawn up under
}

// DeviceAsk asks for the certificate of a device, which a CA key issues under an operation. All but Request is given by
// the server; the draft is judged last.
type DeviceAsk struct {
	Request   string        // lower-case hex SHA-256 of what was sent, DER if it could be read
	Draft     DeviceDraft   // of an order placed before, that of then
	Authority CertificateID // current certificate of the CA key
	// Earlier are the certificates that the key pair of the CA key has issued for the same device identity or device key,
	// oldest first, also those that are still being issued, and the one of the order placed before.
	Earlier []Certificate
}

// OfDevice says whether it is a device's, and not that of a key of this server.
func (c Certificate) OfDevice() bool { return c.Device != "" }

// stands says whether a device has the certificate, or can still get it.
func (c Certificate) stands(now time.Time) bool {
	return c.State != CertificateWithheld && c.Revocation.At.IsZero() && now.Before(c.NotAfter)
}

// StillWanted refuses to issue a certificate that has been revoked before.
func (c Certificate) StillWanted() error {
	if !c.Revocation.At.IsZero() {
		return refuse(WrongState, "the certificate was revoked before it was issued")
	}
	return nil
}

// judgeDevice judges a device certificate that a CA key of the operation is to issue. If the device has it already and
// the profile says that it gets the same, that is the answer.
func (o Operation) judgeDevice(ask OrderAsk, f Facts, now time.Time) (toSign, error) {
	k, d := f.keys[ask.Key], ask.Device.Draft
	switch {
	case k.Devices == nil:
		return toSign{}, refuse(Impossible, "key %s has no profile of device certificates; have an administrator configure one, and create a new operation then", k.ID)
	case len(o.Artifacts) > 0 || k.ArtifactsNeeded:
		return toSign{}, refuse(InputMisfit, "the operation is for the artifacts that it names, and a certificate is none of them")
	}
	in, err := d.signedBy(k)
	switch {
	case err != nil:
		return toSign{}, err
	case d.Profile != f.devices[k.ID] || d.Authority != ask.Device.Authority:
		return toSign{}, refuse(WrongState, "the profile or the certificate of key %s has changed since the certificate was drawn up; ask for a new one, or, if the device has an order already, have an administrator revoke that first", k.ID)
	case f.hasKeyPair(d.Fingerprint):
		return toSign{}, refuse(Impossible, "the device key is one of this server's keys; make a new one in the device")
	case !serialPattern.MatchString(d.Serial):
		return toSign{}, refuse(Impossible, "%q is no serial number of a certificate", d.Serial)
	case d.Device == "" || CheckLine(d.Device, MaxDeviceName) != nil:
		return toSign{}, refuse(Impossible, "the certificate request does not name the device in one line of at most %d bytes", MaxDeviceName)
	case !d.NotBefore.Before(d.NotAfter) || !now.Before(d.NotAfter):
		return toSign{}, refuse(Impossible, "the certificate would be valid from %v to %v, which is never", d.NotBefore.UTC(), d.NotAfter.UTC())
	}
	same, err := k.Devices.duplicate(d, ask, now)
	if err != nil || same != nil {
		return toSign{same: same}, err
	}
	return toSign{input: in, certificate: Certificate{
		ID: CertificateID(ask.ID), Device: d.Device, Request: d.Request, Fingerprint: d.Fingerprint, Issuer: k.ID, IssuerFingerprint: k.Fingerprint,
		Serial: d.Serial, TBS: d.TBS, NotBefore: d.NotBefore, NotAfter: d.NotAfter, Operation: o.ID, Accepted: now, State: CertificateRunning,
		Lease: now.Add(AttemptLease),
	}}, nil
}

func (f Facts) hasKeyPair(fingerprint string) bool {
	for _, k := range f.keys {
		if k.Fingerprint == fingerprint {
			return true
		}
	}
	return false
}

// duplicate judges a draft by the certificates that the device has, or whose key it has. It returns the one that is the
// answer, if one is. The order's own one, of which a further attempt is made, does not count.
func (p DeviceProfile) duplicate(d DeviceDraft, ask OrderAsk, now time.Time) (*Certificate, error) {
	for _, c := range slices.Backward(ask.Device.Earlier) {
		switch unwanted := c.StillWanted(); {
		case c.ID == ask.prior && unwanted != nil:
			return nil, unwanted
		case c.ID == ask.prior || !c.stands(now):
			continue
		}
		sameDevice, sameKey := c.Device == d.Device, c.Fingerprint == d.Fingerprint
		switch {
		case !sameDevice && !sameKey:
		case c.State != CertificateIssued:
			return nil, refuse(WrongState, "a certificate of the same device or device key is being issued: sign order %s; ask for it again, or have an administrator revoke it", c.ID)
		case !sameDevice:
			return nil, refuse(WrongState, "the device key has a certificate under another device identity: %q, with serial number %s; make a new key in each device", c.Device, c.Serial)
		case p.Duplicates == DuplicatesSame && sameKey:
			return &c, nil
		case p.Duplicates != DuplicatesReplaced:
			return nil, refuse(WrongState, "device %q has a certificate already, with serial number %s; an administrator can revoke that one", c.Device, c.Serial)
		}
	}
	return nil, nil
}

// Replace revokes the certificates that a device had before it got this one, if the profile says so: those of the same
// key pair of the issuer and the same device identity. It returns them as they are now. One that was itself revoked while
// it was signed replaces none.
func (c Certificate) Replace(earlier []Certificate, by SubjectID, f Facts, now time.Time) []Certificate {
	k := f.keys[c.Issuer]
	if !c.OfDevice() || c.State != CertificateIssued || !c.Revocation.At.IsZero() || k.Devices == nil || k.Devices.Duplicates != DuplicatesReplaced {
		return nil
	}
	var replaced []Certificate
	for _, old := range earlier {
		if old.ID != c.ID && old.Device == c.Device && old.Issuer == c.Issuer && old.State == CertificateIssued && old.stands(now) {
			old.Revocation = Revocation{At: now, By: by, Code: Superseded5280, Reason: "replaced by certificate " + string(c.ID)}
			replaced = append(replaced, old)
		}
	}
	return replaced
}

// Superseded5280 is the reason code of a certificate that was replaced (RFC 5280 section 5.3.1).
const Superseded5280 RevocationCode = "superseded"

// MayRevokeDevices says whether the subject may revoke the device certificates of an operation, nil if it may.
func (o Operation) MayRevokeDevices(who SubjectID, f Facts) error {
	switch {
	case !f.Sees(who, o):
		return refuseUnseen()
	case !f.Holds(who, Administrator, ""):
		return refuse(Forbidden, "device certificates are revoked by an administrator")
	}
	return nil
}

// RevokeDevice revokes a device certificate, without a session: it is the safe direction. One that is still being issued
// is not issued any more. Revoking what is revoked changes nothing and is no error.
func (c Certificate) RevokeDevice(who SubjectID, code RevocationCode, reason string, o Operation, f Facts, now time.Time) (Certificate, error) {
	_, known := RevocationCodes()[code]
	switch {
	case !c.OfDevice() || !f.Sees(who, o):
		return c, refuse(NotFound, "there is no such device certificate")
	case !f.Holds(who, Administrator, ""):
		return c, refuse(Forbidden, "a device certificate is revoked by an administrator")
	case !c.Revocation.At.IsZero():
		return c, nil
	case c.State == CertificateWithheld:
		return c, refuse(WrongState, "the certificate was withheld; there is nothing to revoke")
	case !known:
		return c, refuse(Impossible, "reason code %q is unknown; use one of RFC 5280 section 5.3.1 that is final", code)
	case CheckText(reason, MaxReason) != nil:
		return c, refuse(Impossible, "reason: %v", CheckText(reason, MaxReason))
	}
	c.Revocation = Revocation{At: now, By: who, Code: code, Reason: reason}
	return c, nil
}

// MayReport refuses the report on the device certificates of an operation that has not ended: more could come.
func (o Operation) MayReport() error {
	if !o.Recorded.Final() {
		return refuse(WrongState, "the operation is %s; the report on its device certificates is signed when it has ended", o.Recorded)
	}
	return nil
}
