package main

import "slices"

// mutants lists the faults that are seeded.
func mutants() []mutant {
	return slices.Concat(uses(), approvals(), requirements(), endings(), judgedNow(), orders(), creation(), forms(), senses(), administration(),
		certificates(), devices(), statuses())
}

// uses: never more than were approved, and a use once taken is never given back (rules 10, 12, 13).
func uses() []mutant {
	return []mutant{
		{"no check of the use count", "order.go", "if taken >= grant.MaxUses {", "if taken < 0 {"},
		{"one use too many", "order.go", "if taken >= grant.MaxUses {", "if taken > grant.MaxUses {"},
		{"the use is checked but not counted", "order.go", "p.Operation = o.use(ask.Key, 1, 0)", "p.Operation = o.use(ask.Key, 0, 0)"},
		{"the use is given back after a failure", "order.go", "p.Order.State = OrderFailed",
			"p.Order.State = OrderFailed\n\tp.Operation = p.Operation.use(r.Key, -1, 0)"},
		{"a further attempt takes another use", "order.go", "	p.Order = prior\n	p.attempt(to.input, f, now)",
			"	p.Order = prior\n	p.Operation = o.use(ask.Key, 1, 0)\n	p.attempt(to.input, f, now)"},
		{"the use is counted when it is signed", "order.go", "p.Operation = p.Operation.use(r.Key, 0, 1)", "p.Operation = p.Operation.use(r.Key, 1, 1)"},
		{"uses are counted in place", "operation.go", "	usage := map[KeyID]Usage{}\n	maps.Copy(usage, o.Usage)\n", "	_ = maps.Clone(o.Usage)\n	usage := o.Usage\n"},
		{"exhausted before the signatures are there", "operation.go", "u.Taken < k.MaxUses || u.Signed < u.Taken", "u.Taken < k.MaxUses"},
		{"exhausted while uses are left", "operation.go", "u.Taken < k.MaxUses || u.Signed < u.Taken", "u.Taken == 0 || u.Signed < u.Taken"},
		{"never exhausted", "operation.go", "case o.spent():", "case o.spent() && false:"},
	}
}

// approvals: by whom, for what, and how often (rules 2 to 6).
func approvals() []mutant {
	return []mutant{
		{"approvals are counted instead of people", "operation.go", " && !slices.Contains(people, a.By) {", " {"},
		{"one person approves twice", "verbs.go", "case o.standing(who) >= 0:", "case o.standing(who) >= 0 && false:"},
		{"one key's quorum is taken for all", "operation.go", "		if !p.Needed.MetBy(len(p.Counted)) {\n			return fmt",
			"		if p.Needed.MetBy(len(p.Counted)) {\n			return \"\"\n		}\n		if !p.Needed.MetBy(len(p.Counted)) {\n			return fmt"},
		{"an approval counts for every key", "operation.go", "slices.Contains(a.Covers, k) && o.eligible(a.By, k, f) && ", ""},
		{"what an approval covers is ignored", "operation.go", "a.Stands() && slices.Contains(a.Covers, k) && ", "a.Stands() && "},
		{"eligibility at creation is ignored", "operation.go", "return slices.Contains(o.Eligible[k], who) && f.Holds(who, Approver, k)", "return f.Holds(who, Approver, k)"},
		{"eligibility now is ignored", "operation.go", "return slices.Contains(o.Eligible[k], who) && f.Holds(who, Approver, k)", "return slices.Contains(o.Eligible[k], who)"},
		{"a withdrawn approval counts", "operation.go", "if a.Stands() && slices.Contains(a.Covers, k)", "if slices.Contains(a.Covers, k)"},
		{"the orderer counts as an approver", "verbs.go", "barred := m == o.Orderer.Subject || m == o.Behind", "barred := m == o.Behind"},
		{"the person behind the orderer counts", "verbs.go", "m == o.Orderer.Subject || m == o.Behind || ", "m == o.Orderer.Subject || "},
		{"a client counts as an approver", "verbs.go", " || slices.Contains(o.Clients, m)\n", "\n"},
		{"a machine may be an approver", "facts.go", "if s.Kind != User && (r.Kind == Approver || r.Kind == Administrator) {", "if s.Kind != User && r.Kind == Administrator {"},
		{"a machine may be an administrator", "facts.go", "if s.Kind != User && (r.Kind == Approver || r.Kind == Administrator) {", "if s.Kind != User && r.Kind == Approver {"},
		{"anybody who sees it approves", "verbs.go", "	case len(covers) == 0:", "	case len(covers) == 0 && false:"},
		{"the digest is not compared", "verbs.go", "case d != o.Digest():", "case d == \"\":"},
		{"an approved operation is approved once more", "verbs.go", "case o.Recorded != Pending:", "case o.Recorded != Pending && false:"},
		{"approved by a time-out", "operation.go", "case o.wants(f) == \"\":", "case o.wants(f) == \"\" || o.Expires.Sub(now) <= time.Minute:"},
		{"somebody else's approval is withdrawn", "verbs.go", "return a.By == who && a.Stands()", "return a.Stands()"},
		{"withdrawn after the first use", "verbs.go", "	case o.Used():\n		return out, refuse(WrongState, \"a sign order has been accepted under this operation; approvals",
			"	case o.Used() && false:\n		return out, refuse(WrongState, \"a sign order has been accepted under this operation; approvals"},
		{"the withdrawal window opens again after a failure", "operation.go", "if u.Taken > 0 {", "if u.Signed > 0 {"},
		{"withdrawn after the end", "verbs.go", "	case o.Recorded.Final():\n		return out, refuse(WrongState, \"the operation is %s; there is nothing",
			"	case false:\n		return out, refuse(WrongState, \"the operation is %s; there is nothing"},
		{"withdrawn in place", "verbs.go", "	o.Approvals = slices.Clone(o.Approvals)\n	o.Approvals[mine]", "	o.Approvals[mine]"},
		{"a withdrawal is not judged again", "verbs.go", "	out.add(Change{Kind: DidWithdraw, By: who})\n	return out.settle(f, now), nil", "	out.add(Change{Kind: DidWithdraw, By: who})\n	return out, nil"},
		{"rejected after the first use", "verbs.go", "	case o.Used():\n		return out, refuse(WrongState, \"a sign order has been accepted under this operation; it can",
			"	case o.Used() && false:\n		return out, refuse(WrongState, \"a sign order has been accepted under this operation; it can"},
		{"rejected by who is not eligible", "verbs.go", "	case len(o.EligibleFor(who, f)) == 0:\n		return out, o.refuseIneligible(who)\n	case o.Recorded", "	case o.Recorded"},
		{"only who has not approved may reject", "verbs.go", "	case len(o.EligibleFor(who, f)) == 0:\n		return out, o.refuseIneligible(who)\n	case o.Recorded",
			"	case len(o.EligibleFor(who, f)) == 0 || o.standing(who) >= 0:\n		return out, o.refuseIneligible(who)\n	case o.Recorded"},
		{"the queue forgets who has approved", "operation.go", "return o.State(f, now) == Pending &&", "return o.State(f, now) == Pending && o.standing(who) < 0 &&"},
		{"an automatic approval is claimed where somebody approved", "operation.go",
			"slices.ContainsFunc(o.Progress(f), func(p KeyProgress) bool { return !p.Needed.MetBy(0) })",
			"slices.ContainsFunc(o.Keys, func(k KeyGrant) bool { return !k.Requirement.MetBy(0) })"},
	}
}

// requirements: both then and now, and absent is never 0 (rules 2, 9).
func requirements() []mutant {
	return []mutant{
		{"only the requirement of now", "operation.go", "k.Requirement.stricter(f.keys[k.Key].Requirement)", "f.keys[k.Key].Requirement"},
		{"only the requirement at creation", "operation.go", "k.Requirement.stricter(f.keys[k.Key].Requirement)", "k.Requirement"},
		{"the laxer requirement of the two", "key.go", "max(r.plusOne, s.plusOne)", "min(r.plusOne, s.plusOne)"},
		{"the zero requirement is met", "key.go", "return r.plusOne > 0 && n >= r.plusOne-1", "return n >= r.plusOne-1"},
		{"an absent requirement gives way to the other", "key.go", "if !r.Set() || !s.Set() {", "if !r.Set() && !s.Set() {"},
		{"a key without a requirement is configured", "key.go", "case !k.Requirement.Set():", "case !k.Requirement.Set() && false:"},
		{"one person too few is enough", "key.go", "n >= r.plusOne-1 }", "n >= r.plusOne-2 }"},
		{"an operation without keys is approved", "operation.go", "	if len(o.Keys) == 0 {\n		return \"it names no key\"\n	}\n", ""},
	}
}

// endings: final, at the right instant, and by the right people (rules 6 to 8).
func endings() []mutant {
	return []mutant{
		{"final states are left", "operation.go", "case o.Recorded.Final() && o.Recorded != \"\":", "case o.Recorded.Final() && false:"},
		{"an expired operation revives when the clock goes back", "operation.go", "case o.Recorded.Final() && o.Recorded != \"\":", "case o.Recorded.Final() && o.Recorded != \"\" && o.Recorded != Expired:"},
		{"expiry is not looked at", "operation.go", "case !now.Before(o.Expires): // rule 8", "case false:"},
		{"expired one instant late", "operation.go", "case !now.Before(o.Expires): // rule 8", "case now.After(o.Expires):"},
		{"used operations do not expire", "operation.go", "case !now.Before(o.Expires): // rule 8", "case !now.Before(o.Expires) && !o.Used():"},
		{"an ending does not say when", "operation.go", "o.Ending = Ending{At: now, Reason: c.Reason}", "o.Ending = Ending{Reason: c.Reason}"},
		{"a refusal forgets the expiry that it met", "verbs.go", "return out, refuse(WrongState, \"the operation is %s and can no longer be approved\", o.Recorded)",
			"return Outcome{Operation: o}, refuse(WrongState, \"the operation is %s and can no longer be approved\", o.Recorded)"},
		{"an accepted clock leaves approved operations open", "operation.go", "	if o.Recorded.Final() {\n		return Outcome{Operation: o}\n	}\n	return o.end", "	if o.Recorded != Pending {\n		return Outcome{Operation: o}\n	}\n	return o.end"},
		{"the held clock does not keep from creating", "verbs.go", "	if f.ClockHeld {", "	if f.ClockHeld && false {"},
		{"the held clock does not keep from approving", "verbs.go", "	case f.ClockHeld:", "	case f.ClockHeld && false:"},
		{"the held clock does not keep from signing", "order.go", "	case f.ClockHeld:", "	case f.ClockHeld && false:"},
		{"rejected after the end", "verbs.go", "	case o.Recorded.Final():\n		return out, refuse(WrongState, \"the operation is %s and can no longer be rejected", "	case false:\n		return out, refuse(WrongState, \"the operation is %s and can no longer be rejected"},
		{"revoked after the end", "verbs.go", "	case o.Recorded.Final():\n		return out, refuse(WrongState, \"the operation is %s already", "	case false:\n		return out, refuse(WrongState, \"the operation is %s already"},
		{"revoking what is revoked does it again", "verbs.go", "	case o.Recorded == Revoked:\n		return out, nil\n	case o.Recorded.Final():", "	case o.Recorded.Final() && o.Recorded != Revoked:"},
		{"anybody who sees it revokes", "verbs.go", "	case !mine:", "	case !mine && false:"},
		{"an administrator cannot revoke", "verbs.go", " || f.Holds(who, Administrator, \"\") || len(o.EligibleFor", " || len(o.EligibleFor"},
		{"revoked only before the first use", "verbs.go", "	case !mine:", "	case !mine || o.Used():"},
		{"a revoked operation's signature is not withheld", "order.go", "if p.Operation.Withholds() {", "if p.Operation.Withholds() && false {"},
		{"a withheld order keeps its signature", "order.go", "	p.Order.Settled = now\n	if p.Operation", "	p.Order.Settled = now\n	p.Order.Signature = signature\n	if p.Operation"},
		{"an expiry withholds, too", "order.go", "if p.Operation.Withholds() {", "if p.Operation.Recorded.Final() {"},
		{"a lapse withholds, too", "order.go", "if p.Operation.Withholds() {", "if p.Operation.Withholds() || p.Operation.Recorded == Pending {"},
	}
}

// judgedNow: what administrators take away acts at once (rule 9).
func judgedNow() []mutant {
	return []mutant{
		{"the orderer's role is not judged again", "operation.go", "if !f.Holds(o.Orderer.Subject, Orderer, k.Key) {", "if !f.Holds(o.Orderer.Subject, Orderer, k.Key) && false {"},
		{"the disabled keep their roles", "facts.go", "return ok && f.subjects[who].Enabled", "return ok"},
		{"an inactive key is used", "operation.go", "if f.keys[k.Key].State != KeyActive {", "if f.keys[k.Key].State != KeyActive && false {"},
		{"a revoked key ends nothing", "operation.go", "case now.State == KeyRevoked:", "case now.State == KeyRevoked && false:"},
		{"a replaced key pair goes unnoticed", "operation.go", "case now.Fingerprint != k.Fingerprint:", "case false:"},
		{"a changed profile of device certificates goes unnoticed", "operation.go", "case f.devices[k.Key] != k.Devices:", "case false:"},
		{"a changed profile of an FW key goes unnoticed", "order.go", "if grant.Profiles != f.profiles[ask.Key] {", "if grant.Key == \"\" {"},
		{"the profile of device certificates is forgotten at creation", "verbs.go", "f.devices[k.ID], f.profiles[k.ID]}", "\"\", f.profiles[k.ID]}"},
		{"the profiles of FW keys are forgotten at creation", "verbs.go", "f.devices[k.ID], f.profiles[k.ID]}", "f.devices[k.ID], \"\"}"},
		{"the key pair of an FW key is not in what is certified", "profileform.go", "k.Fingerprint, k.ID, p.KeyUsage,", "\"\", k.ID, p.KeyUsage,"},
		{"the subject of an FW key is not in what is certified", "profileform.go", "n := p.Subject", "n := Name{}"},
		{"the CA key's own profile is not in what it certifies", "profileform.go", "slices.Insert(all, 0, by.canonicalProfile())", "all"},
		{"the validity of an FW key is not in what is certified", "profileform.go", "p.Validity.Milliseconds(),", "0,"},
		{"once approved, always approved", "operation.go", "case o.wants(f) == \"\":", "case o.wants(f) == \"\" || o.Recorded == Approved:"},
		{"once used, not judged again", "operation.go", "case o.wants(f) == \"\":", "case o.wants(f) == \"\" || o.Used():"},
		{"an order is judged by what was last written down", "order.go", "p := Placed{Outcome: o.Settle(f, now)}", "p := Placed{Outcome: Outcome{Operation: o}}"},
		{"a result is judged by what was last written down", "order.go", "func (o Operation) Complete(r Order, attempt int, signature []byte, f Facts, now time.Time) (Placed, error) {\n	p := Placed{Outcome: o.Settle(f, now), Order: r}",
			"func (o Operation) Complete(r Order, attempt int, signature []byte, f Facts, now time.Time) (Placed, error) {\n	p := Placed{Outcome: Outcome{Operation: o}, Order: r}"},
		{"everybody sees every operation", "facts.go", "	if !f.enabled(who) {\n		return false\n	}\n", "	if f.enabled(who) {\n		return true\n	}\n"},
		{"the disabled see operations", "facts.go", "	if !f.enabled(who) {\n		return false\n	}\n", ""},
	}
}

// orders: who, which key, which input, which attempt (rules 10, 12).
func orders() []mutant {
	return []mutant{
		{"signed while pending", "order.go", "case o.Recorded != Approved:", "case o.Recorded != Approved && o.Recorded != Pending:"},
		{"anybody who sees it signs", "order.go", "	case !party:", "	case !party && false:"},
		{"clients cannot sign", "order.go", "party := ask.Who == o.Orderer.Subject || slices.Contains(o.Clients, ask.Who)", "party := ask.Who == o.Orderer.Subject"},
		{"the requester's role is not looked at", "order.go", "case !f.Holds(ask.Who, Orderer, ask.Key):", "case false:"},
		{"a key that is not in the operation", "order.go", "	case !named:", "	case !named && false:"},
		{"a CA key signs an input", "order.go", "	case k.Type != Firmware && !ask.forCertificate():", "	case k.Type == Root && !ask.forCertificate():"},
		{"a ROOT key's order is refused as not covered", "order.go", "	case k.Type == Root:", "	case false:"},
		{"artifacts are not looked at", "order.go", "return toSign{input: in}, o.checkArtifact(in, k)", "return toSign{input: in}, nil"},
		{"artifacts are compared by hash alone", "order.go", "a.Hash == in.Hash && a.Digest == digest && sized", "a.Hash == in.Hash && digest != \"\" && sized"},
		{"artifacts that the key needs now are not asked for", "order.go", "if len(o.Artifacts) == 0 && !k.ArtifactsNeeded {", "if len(o.Artifacts) == 0 {"},
		{"digests of any length", "order.go", "case ask.Data == nil && len(ask.Digest) != k.Hash.Size():", "case ask.Data == nil && len(ask.Digest) == 0:"},
		{"any scheme", "order.go", "case !slices.Contains(k.Schemes, in.Scheme):", "case in.Scheme == \"\":"},
		{"any hash", "order.go", "case in.Hash != k.Hash:", "case in.Hash.Size() == 0:"},
		{"Ed25519 signs a digest", "order.go", "case in.Scheme == EdDSA && ask.Data == nil:", "case false:"},
		{"the idempotency key is ignored", "order.go", "	if prior != nil {", "	if prior != nil && false {"},
		{"an idempotency key goes with another input", "order.go", "case err != nil || !in.same(prior.Input) || ask.certifies() != prior.Certifies || ", "case err != nil || "},
		{"inputs are the same whatever the digest", "order.go", " && bytes.Equal(in.Digest, other.Digest)", " && len(bytes.Clone(in.Digest)) == len(other.Digest)"},
		{"an idempotency key is everybody's", "order.go", "prior.Requester != ask.Who || ", ""},
		{"an idempotency key goes with every key", "order.go", "prior.Key != ask.Key || ", ""},
		{"a signed order is signed again", "order.go", "case prior.State == OrderSigned || prior.Running(now):", "case prior.Running(now):"},
		{"a further attempt while one runs", "order.go", "case prior.State == OrderSigned || prior.Running(now):", "case prior.State == OrderSigned:"},
		{"a lease never ends", "order.go", "return r.State == OrderRunning && now.Before(r.Lease)", "return r.State == OrderRunning"},
		{"a lease ends one instant late", "order.go", "return r.State == OrderRunning && now.Before(r.Lease)", "return r.State == OrderRunning && !now.After(r.Lease)"},
		{"a further attempt is not judged", "order.go", "	to, err := o.judge(ask, f, now)\n	switch {", "	to := toSign{input: in}\n	switch {"},
		{"a further attempt signs what the key says now", "order.go", "	ask.Hash, ask.Scheme = in.Hash, in.Scheme", "	_, _ = in.Hash, in.Scheme"},
		{"a further attempt has the number of the first", "order.go", "	p.Order.Attempt++", "	p.Order.Attempt = 1"},
		{"a result of any attempt is taken", "order.go", "if r.State != OrderRunning || r.Attempt != attempt {", "if r.State != OrderRunning {"},
		{"a result is taken twice", "order.go", "if r.State != OrderRunning || r.Attempt != attempt {", "if r.Attempt != attempt {"},
		{"a failure is not counted as a failure", "order.go", "p.Order.State = OrderFailed", "p.Order.State = OrderRunning"},
		{"the zero permit is granted", "permit.go", "return p.granted", "return p.granted || p.attempt == 0"},
	}
}

// creation: refused as a whole if anything cannot be (rule 1).
func creation() []mutant {
	return []mutant{
		{"created without an orderer role", "verbs.go", "case !f.Holds(who, Orderer, a.Key):", "case !known:"},
		{"created with a ROOT key", "verbs.go", "case known && k.Type == Root:", "case known && false:"},
		{"created with an inactive key", "verbs.go", "case k.State != KeyActive:", "case false:"},
		{"created beyond the use limit", "verbs.go", "case a.MaxUses < 1 || a.MaxUses > k.MaxUses:", "case a.MaxUses < 1:"},
		{"created with no uses", "verbs.go", "case a.MaxUses < 1 || a.MaxUses > k.MaxUses:", "case a.MaxUses > k.MaxUses:"},
		{"created beyond the longest validity", "verbs.go", "ask.Validity < time.Millisecond || ask.Validity > k.MaxValidity", "ask.Validity < time.Millisecond"},
		{"created with a requirement that cannot be met", "verbs.go", "if !k.Requirement.MetBy(len(o.Eligible[k.ID])) {", "if !k.Requirement.Set() {"},
		{"created with a key named twice", "verbs.go", "return a.Key == b.Key })", "return false })"},
		{"created without the artifacts that the key needs", "verbs.go", "case k.ArtifactsNeeded && len(ask.Artifacts) == 0:", "case false:"},
		{"created by a job that nobody known set off", "verbs.go", "if found && f.enabled(person) || issuer.ActorOptional {", "if found || !found {"},
		{"created by a job that somebody disabled set off", "verbs.go", "if found && f.enabled(person) || issuer.ActorOptional {", "if found || issuer.ActorOptional {"},
		{"the person behind is forgotten", "verbs.go", "Behind: behind,", "Behind: behind[:0],"},
		{"the requirement is forgotten at creation", "verbs.go", "KeyGrant{k.ID, k.Fingerprint, a.MaxUses, k.Requirement, ", "KeyGrant{k.ID, k.Fingerprint, a.MaxUses, Require(0), "},
		{"not approved at creation though nobody is needed", "verbs.go", "	return out.settle(f, now), nil\n}\n\n// CreateAgain", "	return out, nil\n}\n\n// CreateAgain"},
		{"created from what cannot be written down", "verbs.go", "if _, err := o.canonical(); err != nil {", "if _, err := o.canonical(); err != nil && false {"},
	}
}

// forms: the digest holds everything, and no text deceives (rule 4, docs/threats.md R16 and R17).
func forms() []mutant {
	return []mutant{
		{"the digest leaves out the clients", "digest.go", "s.Orderer.Subject}, Clients: s.Clients,", "s.Orderer.Subject},"},
		{"the digest leaves out the claims", "digest.go", "Expires: s.Expires.UnixMilli(), Claims: s.Claims,", "Expires: s.Expires.UnixMilli(),"},
		{"the digest leaves out the requirements", "digest.go", "k.MaxUses, k.Requirement.People()}", "k.MaxUses, 0}"},
		{"the digest leaves out the nonce", "digest.go", "Operation: s.ID, Nonce: s.Nonce,", "Operation: s.ID,"},
		{"members are not sorted", "digest.go", "Issuer  string    `json:\"issuer\"`\n\t\tSub     string    `json:\"sub\"`", "Sub     string    `json:\"sub\"`\n\t\tIssuer  string    `json:\"issuer\"`"},
		{"numbers are written that are not read back exactly", "digest.go", "n >= 1<<53 {", "n >= 1<<60 {"},
		{"other forms than the canonical are read", "digest.go", "if again, err := s.canonical(); err != nil || string(again) != string(canonical) {", "if false {"},
		{"invisible characters are let through", "text.go", " &&\n		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)", ""},
		{"format characters are let through", "text.go", "unicode.S, unicode.Zs)", "unicode.S, unicode.Zs, unicode.Cf)"},
		{"control characters are let through", "text.go", "unicode.S, unicode.Zs)", "unicode.S, unicode.Zs, unicode.Cc)"},
		{"e-mail is an identity", "facts.go", "claim == \"email\" || ", ""},
	}
}

// certificates: what keys sign besides sign orders (sections 3 and 5).
func certificates() []mutant {
	const file = "certificate.go"
	return []mutant{
		{"certificates are issued in any session", file, "	out, err := s.Act(who, f, now)\n	if err == nil && s.Plan", "	out, err := s.Settle(f, now), error(nil)\n	if err == nil && s.Plan"},
		{"certificates are issued in a session with a plan", file, "if err == nil && s.Plan != \"\" {", "if false {"},
		{"an FW key issues certificates", file, "	case k.Type != Root:\n", "	case false:\n"},
		{"a disabled key issues certificates", file, "	case k.State != KeyActive:\n		return refuse(Impossible, \"key %s is not active\", id)\n	}\n	return nil", "	}\n	return nil"},
		{"a revoked key gets certificates", file, "	case k.State == KeyRevoked:\n		return refuse(Impossible, \"key %s is revoked for ever; it gets no certificate\", k.ID)\n	case k.Profile", "	case k.Profile"},
		{"a certificate is signed whatever its digest", file, "case !bytes.Equal(in.Digest, k.Hash.Sum(d.TBS)):", "case bytes.Equal(in.Digest, nil):"},
		{"a certificate of an old key pair", file, "	case d.Fingerprint != k.Fingerprint:", "	case false:"},
		{"a certificate of a key that is gone is kept", file, "if by.State == KeyRevoked || k.State == KeyRevoked ||", "if k.State == KeyRevoked ||"},
		{"a given-up certificate is completed", file, "	if c.State != CertificateRunning {\n		return c, refuse(Superseded, \"the attempt at this certificate has been given up; ask for a new one\")\n	}\n	by, k", "	by, k"},
		{"anybody who sees the key revokes a certificate", file, "case !f.Holds(who, Administrator, \"\"):\n		return c, refuse(Forbidden, \"a certificate", "case false:\n		return c, refuse(Forbidden, \"a certificate"},
		{"a revoked certificate is valid", file, " && c.Revocation.At.IsZero()\n", "\n"},
		{"an FW key issues a certificate under an operation", "order.go", "	case k.Type != CA && ask.forCertificate():", "	case false:"},
		{"a certificate of a CA key under an operation", "order.go", "	case k.Type != Firmware:\n", "	case false:\n"},
		{"a certificate where artifacts are named", "order.go", "	case len(o.Artifacts) > 0 || f.keys[ask.Key].ArtifactsNeeded:", "	case false:"},
		{"a further attempt at another certificate", "order.go", "	case to.same != nil || !to.input.same(prior.Input):", "	case false:"},
		{"who sees a key sees all operations with it", "facts.go", "return f.SeesEverything(who) || f.Holds(who, Approver, key)", "return f.SeesKey(who, key)"},
		{"a certificate of a key that the requester does not see", "order.go", "	case !f.SeesKey(ask.Who, ask.Certificate.Key):", "	case false:"},
		{"the server makes the revocation list of a ROOT key", "revocation.go", "k.Type != CA {", "k.Type != CA && k.Type != Root {"},
		{"two revocation lists at the same time", "revocation.go", "	case l.Running(now):", "	case false:"},
		{"an older attempt at a revocation list is heard", "revocation.go", "if now.Number != a.List.Number || now.Lease.IsZero() {", "if now.Lease.IsZero() {"},
	}
}

// devices: what a device certificate can say (section 3).
func devices() []mutant {
	const file, form = "deviceprofile.go", "deviceform.go"
	return []mutant{
		{"an FW key issues device certificates", "key.go", "	case k.Devices != nil && k.Type != CA:", "	case k.Devices != nil && k.Type == Root:"},
		{"any device profile is taken", "key.go", "	case k.Devices != nil && k.Devices.Check() != nil:", "	case false:"},
		{"a device is a CA", file, "u == KeyCertSign || u == CRLSign", "u == CRLSign"},
		{"a device answers for the revocation of others", file, ", \"1.3.6.1.5.5.7.3.9\"}", "}"},
		{"a device profile makes basic constraints", file, "strings.HasPrefix(e.ID, \"2.5.29.\") || ", ""},
		{"a pattern of a device is searched for", file, "`)\\z`", "`)`"},
		{"a pattern of a device leaves its anchors", file, "	if _, err := regexp.Compile(d.Pattern); err != nil {", "	if _, err := regexp.Compile(d.Pattern); err != nil && false {"},
		{"a value of a device has any length", file, "case utf8.RuneCountInString(value) > d.MaxLength:", "case false:"},
		{"a fixed value of a device comes from the request", file, "case d.Fixed != \"\" || d.Pattern == \"\":", "case false:"},
		{"devices are named by what all have", file, "found || d.Fixed == \"\" && !d.Optional && once", "found || !d.Optional && once"},
		{"devices are named by what some have", file, "found || d.Fixed == \"\" && !d.Optional && once", "found || d.Fixed == \"\" && once"},
		{"device certificates without a word on expiry", file, "case !p.NoExpiry && (p.Validity < time.Second ||", "case !p.NoExpiry && (p.Validity < 0 ||"},
		{"no rule of duplicates is one", file, "[]DuplicateRule{DuplicatesRefused,", "[]DuplicateRule{\"\", DuplicatesRefused,"},
		{"another form of a device profile is read", form, "if again, err := p.Canonical(); err != nil || !bytes.Equal(again, canonical) {", "if false {"},
		{"a CA key without a profile issues device certificates", "device.go", "case k.Devices == nil:", "case k.Devices == nil && false:"},
		{"a certificate of a device where artifacts are named", "device.go", "case len(o.Artifacts) > 0 || k.ArtifactsNeeded:", "case false:"},
		{"a device certificate by an old profile", "device.go", "d.Profile != f.devices[k.ID] || ", ""},
		{"a device certificate under an old certificate", "device.go", " || d.Authority != ask.Device.Authority", ""},
		{"a device has a key of this server", "device.go", "case f.hasKeyPair(d.Fingerprint):", "case false:"},
		{"a second certificate for a device", "device.go", "sameDevice, sameKey := c.Device == d.Device, c.Fingerprint == d.Fingerprint", "sameDevice, sameKey := false, c.Fingerprint == d.Fingerprint"},
		{"a second certificate for a device key", "device.go", "sameDevice, sameKey := c.Device == d.Device, c.Fingerprint == d.Fingerprint", "sameDevice, sameKey := c.Device == d.Device, false"},
		{"a second certificate while the first is signed", "device.go", "case c.State != CertificateIssued:\n\t\t\treturn nil, refuse(WrongState, \"a certificate of the same", "case false:\n\t\t\treturn nil, refuse(WrongState, \"a certificate of the same"},
		{"a device key goes from one device to another", "device.go", "case !sameDevice:", "case !sameDevice && p.Duplicates != DuplicatesReplaced:"},
		{"another device key gets the same certificate", "device.go", "case p.Duplicates == DuplicatesSame && sameKey:", "case p.Duplicates == DuplicatesSame:"},
		{"a second certificate whatever the profile says", "device.go", "case p.Duplicates != DuplicatesReplaced:", "case false:"},
		{"a certificate that was revoked is issued", "device.go", "case c.ID == ask.prior && unwanted != nil:", "case false:"},
		{"what a device had is not revoked", "device.go", "replaced = append(replaced, old)", "_ = old"},
		{"what another device had is revoked", "device.go", "old.Device == c.Device && old.Issuer == c.Issuer", "old.Issuer == c.Issuer"},
		{"what a revoked certificate replaces is revoked", "device.go", " || !c.Revocation.At.IsZero() || k.Devices == nil", " || k.Devices == nil"},
		{"what a device had is revoked whatever the profile says", "device.go", " || k.Devices.Duplicates != DuplicatesReplaced {", " {"},
		{"what another CA key issued is revoked", "device.go", " && old.Issuer == c.Issuer", ""},
		{"a withheld certificate stands in the way", "device.go", "c.State != CertificateWithheld && c.Revocation", "c.Revocation"},
		{"a revoked certificate stands in the way", "device.go", "c.State != CertificateWithheld && c.Revocation.At.IsZero()", "c.State != CertificateWithheld"},
		{"an expired certificate stands in the way", "device.go", " && now.Before(c.NotAfter)\n}", "\n}"},
		{"the attempt before stands in the way", "device.go", "case c.ID == ask.prior || !c.stands(now):", "case !c.stands(now):"},
		{"the same certificate takes a use", "order.go", "	if to.same != nil {\n		p.Same = to.same\n", "	if to.same != nil {\n		p.Same, p.Operation = to.same, o.use(ask.Key, 1, 0)\n"},
		{"revoking a device certificate again says so anew", "device.go", "	case !c.Revocation.At.IsZero():\n		return c, nil\n", ""},
		{"what was withheld from a device is revoked", "device.go", "	case c.State == CertificateWithheld:\n", "	case false:\n"},
		{"anybody revokes device certificates", "device.go", "case !f.Holds(who, Administrator, \"\"):\n\t\treturn c, refuse(Forbidden, \"a device", "case false:\n\t\treturn c, refuse(Forbidden, \"a device"},
		{"another request of a device under the same idempotency key", "order.go", "case ask.Device != nil && ask.Device.Request != ask.Device.Draft.Request:", "case false:"},
		{"a device order is one of a key", "order.go", " || (ask.Device != nil) != (prior.Device != \"\")", ""},
		{"a device profile changes without a difference", "change.go", " && k.Devices.same(o.Devices)", ""},
	}
}
