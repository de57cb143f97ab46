package main

// statuses: a responder key signs the statuses of what its issuer has issued, and nothing else; never more than was said.
func statuses() []mutant {
	return []mutant{
		{"a responder key is ordered", "verbs.go", "case known && k.Responder():", "case known && k.Responder() && false:"},
		{"a responder key signs an input", "order.go", "	case k.Responder():\n		return toSign{}", "	case k.Responder() && false:\n		return toSign{}"},
		{"a key becomes a responder", "change.go", "case was.Responder() != k.Responder():", "case was.Responder() && !k.Responder():"},
		{"a responder becomes another key", "change.go", "case was.Responder() != k.Responder():", "case !was.Responder() && k.Responder():"},
		{"a responder by its name alone", "status.go", "oid.Equal(ExtendedKeyUsages()[\"OCSPSigning\"])", "oid != nil && usage == \"OCSPSigning\""},
		{"a CA key is a responder", "status.go", "return k.Type == Firmware && k.Profile", "return k.Profile"},
		{"a responder has other purposes", "profile.go", "(len(p.ExtendedKeyUsage) > 1 || len(p.KeyUsage) > 1)", "len(p.KeyUsage) > 1"},
		{"a responder has other usages", "profile.go", "(len(p.ExtendedKeyUsage) > 1 || len(p.KeyUsage) > 1)", "len(p.ExtendedKeyUsage) > 1"},
		{"a CA key vouches for itself", "profile.go", "case authority && slices.ContainsFunc(p.ExtendedKeyUsage, signsStatuses):", "case false:"},
		{"a responder for ever", "profile.go", "p.Validity > MaxResponderValidity", "p.Validity > MaxCertificateValidity"},
		{"more statuses than were said", "status.go", "s.Left < 1 ||", "s.Left < 0 ||"},
		{"statuses are not counted", "status.go", "	s.Left--\n", ""},
		{"statuses after the lease", "status.go", "!now.Before(s.Until) ||", "now.After(s.Until) ||"},
		{"a lease of a time that will be", "status.go", " || s.Until.After(now.Add(StatusLease+ClockSlack))", ""},
		{"a lease for another certificate", "status.go", " || s.Certificate != c.ID", ""},
		{"the status of what was not issued", "status.go", "case !d.Of.HasStatus() ||", "case"},
		{"the status of another issuer's", "status.go", "d.Of.Issuer != c.Issuer ||", "false ||"},
		{"the status of another key pair's", "status.go", " || d.Of.IssuerFingerprint != c.IssuerFingerprint", ""},
		{"a status of the future", "status.go", "case d.ThisUpdate.After(now) ||", "case"},
		{"a status that is over", "status.go", " || !now.Before(d.NextUpdate)", ""},
		{"a status for long", "status.go", " || d.NextUpdate.Sub(d.ThisUpdate) > StatusValidity", ""},
		{"statuses while the clock is held", "status.go", "	case f.ClockHeld:\n		return refuseClock()\n	case !known", "	case !known"},
		{"statuses by any FW key", "status.go", "case !known || !k.Responder():", "case !known:"},
		{"statuses by a disabled key", "status.go", "	case k.State != KeyActive:", "	case k.State == KeyRevoked:"},
		{"statuses by a revoked certificate", "status.go", "case !c.Valid() ||", "case"},
		{"statuses by an older key pair", "status.go", " || c.Fingerprint != k.Fingerprint:", ":"},
		{"statuses by a certificate from elsewhere", "status.go", "!c.HasStatus() ||", ""},
		{"statuses by an expired certificate", "status.go", "now.Before(c.NotBefore) || !now.Before(c.NotAfter)", "now.Before(c.NotBefore)"},
		{"statuses by a certificate before its time", "status.go", "now.Before(c.NotBefore) || !now.Before(c.NotAfter)", "!now.Before(c.NotAfter)"},
		{"the report on a lot while more can come", "device.go", "	if !o.Recorded.Final() {\n		return refuse(WrongState, \"the operation is %s; the report", "	if false {\n		return refuse(WrongState, \"the operation is %s; the report"},
	}
}
