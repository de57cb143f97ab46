package law_test

import (
	"crypto"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// A requirement that is absent is an error, never 0 (docs/law.md, Keys).
func TestAKeyWithoutARequirementIsRefused(t *testing.T) {
	k := key("k", 0)
	k.Requirement = law.Requirement{}
	if err := k.Check(); err == nil || !strings.Contains(err.Error(), "no requirement") {
		t.Errorf("error %v", err)
	}
}

func TestAKeysConfigurationIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*law.Key)
		says   string
	}{
		"as it is":             {func(k *law.Key) {}, ""},
		"CA":                   {func(k *law.Key) { k.Type = law.CA }, ""},
		"ROOT, revoked":        {func(k *law.Key) { k.Type, k.State = law.Root, law.KeyRevoked }, ""},
		"longest validity":     {func(k *law.Key) { k.MaxValidity = law.MaxValidity }, ""},
		"largest count":        {func(k *law.Key) { k.MaxUses = law.MaxUses }, ""},
		"longest id":           {func(k *law.Key) { k.ID = law.KeyID(strings.Repeat("a", 63)) }, ""},
		"no id":                {func(k *law.Key) { k.ID = "" }, "an id is"},
		"id too long":          {func(k *law.Key) { k.ID = law.KeyID(strings.Repeat("a", 64)) }, "an id is"},
		"id in capitals":       {func(k *law.Key) { k.ID = "K" }, "an id is"},
		"id with a line feed":  {func(k *law.Key) { k.ID = "k\n" }, "an id is"},
		"id begins with a dot": {func(k *law.Key) { k.ID = ".k" }, "an id is"},
		"unknown type":         {func(k *law.Key) { k.Type = "fw" }, "type"},
		"unknown algorithm":    {func(k *law.Key) { k.Algorithm = "RSA-1024" }, "algorithm"},
		"unknown hash":         {func(k *law.Key) { k.Hash = "SHA-1" }, "hash"},
		"Ed25519 with SHA-256": {func(k *law.Key) { k.Algorithm, k.Schemes = law.Ed25519, []law.Scheme{law.EdDSA} }, "SHA-512"},
		"no scheme":            {func(k *law.Key) { k.Schemes = nil }, "scheme"},
		"scheme of another":    {func(k *law.Key) { k.Schemes = []law.Scheme{law.PSS} }, "does not fit"},
		"scheme twice":         {func(k *law.Key) { k.Schemes = []law.Scheme{law.ECDSA, law.ECDSA} }, "twice"},
		"no validity":          {func(k *law.Key) { k.MaxValidity = 0 }, "validity"},
		"validity too long":    {func(k *law.Key) { k.MaxValidity = law.MaxValidity + time.Millisecond }, "validity"},
		"half a millisecond":   {func(k *law.Key) { k.MaxValidity += time.Microsecond }, "validity"},
		"no uses":              {func(k *law.Key) { k.MaxUses = 0 }, "use count"},
		"too many uses":        {func(k *law.Key) { k.MaxUses = law.MaxUses + 1 }, "use count"},
		"signed approvals":     {func(k *law.Key) { k.Approvals = law.SignedApprovals }, "not yet available"},
		"no approvals":         {func(k *law.Key) { k.Approvals = "" }, "approvals"},
		"unknown state":        {func(k *law.Key) { k.State = "" }, "state"},
		"statuses":             {func(k *law.Key) { k.Profile = responder() }, ""},
		"statuses by RSA": {func(k *law.Key) {
			k.Algorithm, k.Schemes, k.Profile = law.RSA2048, []law.Scheme{law.PSS, law.PKCS1v15}, responder()
		}, ""},
		"statuses with PSS": {func(k *law.Key) {
			k.Algorithm, k.Schemes, k.Profile = law.RSA2048, []law.Scheme{law.PSS}, responder()
		}, "name one of these schemes"},
		"statuses by Ed25519": {func(k *law.Key) {
			k.Algorithm, k.Hash, k.Schemes, k.Profile = law.Ed25519, law.SHA512, []law.Scheme{law.EdDSA}, responder()
		}, "name one of these schemes"},
		"no keystore": {func(k *law.Key) { k.Keystore = "" }, "keystore"},
	} {
		t.Run(name, func(t *testing.T) { wantSaid(t, c.says, with(key("k", 1), c.change).Check()) })
	}
}

func TestASubjectsConfigurationIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*law.Subject)
		says   string
	}{
		"as it is":            {func(s *law.Subject) {}, ""},
		"nobody signs in":     {func(s *law.Subject) { s.Identities = nil }, ""},
		"an actor":            {func(s *law.Subject) { s.Actors = []law.ActorName{{Issuer: builds, Value: "z"}} }, ""},
		"bad id":              {func(s *law.Subject) { s.ID = "Zoë" }, "an id is"},
		"unknown kind":        {func(s *law.Subject) { s.Kind = "robot" }, "kind"},
		"no name":             {func(s *law.Subject) { s.Name = "" }, "name"},
		"unreadable name":     {func(s *law.Subject) { s.Name = "a\u200bb" }, "name"},
		"name too long":       {func(s *law.Subject) { s.Name = strings.Repeat("n", 201) }, "name"},
		"no issuer":           {func(s *law.Subject) { s.Identities[0].Issuer = "" }, "needs an issuer"},
		"no claim":            {func(s *law.Subject) { s.Identities[0].Claims = nil }, "at least one claim"},
		"claim without name":  {func(s *law.Subject) { s.Identities[0].Claims = map[string][]string{"": {"x"}} }, "at least one value"},
		"claim without value": {func(s *law.Subject) { s.Identities[0].Claims = map[string][]string{"sub": {}} }, "at least one value"},
		"empty value":         {func(s *law.Subject) { s.Identities[0].Claims = map[string][]string{"sub": {"x", ""}} }, "no empty one"},
		"e-mail":              {func(s *law.Subject) { s.Identities[0].Claims = map[string][]string{"email": {"z@x"}} }, "never an identity"},
		"preferred_username":  {func(s *law.Subject) { s.Identities[0].Claims = map[string][]string{"preferred_username": {"z"}} }, "never an identity"},
		"upn":                 {func(s *law.Subject) { s.Identities[0].Claims = map[string][]string{"upn": {"z"}} }, "never an identity"},
		"actor, no value":     {func(s *law.Subject) { s.Actors = []law.ActorName{{Issuer: builds}} }, "actor name needs"},
		"actor, no issuer":    {func(s *law.Subject) { s.Actors = []law.ActorName{{Value: "z"}} }, "actor name needs"},
		"a machine as actor": {func(s *law.Subject) {
			s.Kind, s.Actors = law.Client, []law.ActorName{{Issuer: builds, Value: "z"}}
		}, "only a person"},
	} {
		t.Run(name, func(t *testing.T) { wantSaid(t, c.says, with(person("zoe"), c.change).Check()) })
	}
}

func TestAnIssuersConfigurationIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*law.Issuer)
		says   string
	}{
		"as it is":                {func(i *law.Issuer) {}, ""},
		"actor optional":          {func(i *law.Issuer) { i.ActorClaim, i.ActorOptional = "actor", true }, ""},
		"no url":                  {func(i *law.Issuer) { i.URL = "" }, "no url"},
		"no audience":             {func(i *law.Issuer) { i.Audiences = nil }, "audience"},
		"empty audience":          {func(i *law.Issuer) { i.Audiences = []string{"a", ""} }, "audience"},
		"no algorithm":            {func(i *law.Issuer) { i.Algorithms = nil }, "no algorithm"},
		"symmetric algorithm":     {func(i *law.Issuer) { i.Algorithms = []string{"ES256", "HS256"} }, "HS256"},
		"no algorithm at all":     {func(i *law.Issuer) { i.Algorithms = []string{"none"} }, "none"},
		"no type":                 {func(i *law.Issuer) { i.Types = nil }, "type"},
		"optional, but no claim":  {func(i *law.Issuer) { i.ActorOptional = true }, "actor"},
		"a captured claim, empty": {func(i *law.Issuer) { i.Captured = []string{""} }, "captured"},
	} {
		t.Run(name, func(t *testing.T) { wantSaid(t, c.says, with(issuer(people), c.change).Check()) })
	}
}

func TestAConfigurationThatMakesNoSenseIsRefused(t *testing.T) {
	orderers := func(w *world, change func(*law.Role)) { change(&w.cfg.Roles[0]) }
	for name, c := range map[string]struct {
		change func(*world)
		says   string
	}{
		"as it is":                 {func(w *world) {}, ""},
		"issuer wrong":             {func(w *world) { w.cfg.Issuers[0].Types = nil }, "type"},
		"issuer twice":             {func(w *world) { w.cfg.Issuers = append(w.cfg.Issuers, issuer(people)) }, "twice"},
		"key wrong":                {func(w *world) { w.cfg.Keys[0].Keystore = "" }, "keystore"},
		"key twice":                {func(w *world) { w.cfg.Keys = append(w.cfg.Keys, key("fw-dev", 0)) }, "twice"},
		"subject wrong":            {func(w *world) { w.cfg.Subjects[0].Name = "" }, "name"},
		"subject twice":            {func(w *world) { w.cfg.Subjects = append(w.cfg.Subjects, person("olga")) }, "twice"},
		"subject's issuer unknown": {func(w *world) { w.cfg.Issuers = w.cfg.Issuers[1:] }, "no issuer"},
		"actor's issuer unknown":   {func(w *world) { w.cfg.Issuers[1].ActorClaim = "" }, "actor claim"},
		"actor name of two":        {func(w *world) { w.cfg.Subjects[0].Actors = []law.ActorName{{Issuer: builds, Value: "carl-at-ci"}} }, "same actor name"},
		"actor name of one, twice": {func(w *world) {
			w.cfg.Subjects[3].Actors = append(w.cfg.Subjects[3].Actors, w.cfg.Subjects[3].Actors...)
		}, "same actor name"},
		"role's id":                 {func(w *world) { orderers(w, func(r *law.Role) { r.ID = "a b" }) }, "an id is"},
		"role twice":                {func(w *world) { w.addRole(w.cfg.Roles[0]) }, "twice"},
		"role's kind":               {func(w *world) { orderers(w, func(r *law.Role) { r.Kind = "owner" }) }, "kind"},
		"orderer without keys":      {func(w *world) { orderers(w, func(r *law.Role) { r.Keys = nil }) }, "must list the keys"},
		"administrator with keys":   {func(w *world) { w.cfg.Roles[4].Keys = []law.KeyID{"fw-dev"} }, "covers no keys"},
		"auditor with keys":         {func(w *world) { w.cfg.Roles[5].Keys = []law.KeyID{"fw-dev"} }, "covers no keys"},
		"nobody in it":              {func(w *world) { orderers(w, func(r *law.Role) { r.Members = nil }) }, "no members"},
		"key that is not there":     {func(w *world) { orderers(w, func(r *law.Role) { r.Keys = []law.KeyID{"none"} }) }, "no key"},
		"subject that is not there": {func(w *world) { orderers(w, func(r *law.Role) { r.Members = []law.SubjectID{"none"} }) }, "no subject"},
		"machine as approver":       {func(w *world) { w.join("approvers-prod", "ci") }, "machines are never approvers"},
		"machine as administrator":  {func(w *world) { w.join("administrators", "ci") }, "machines are never administrators"},
		"machine as auditor":        {func(w *world) { w.join("auditors", "ci") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			f, err := law.NewFacts(w.cfg)
			wantSaid(t, c.says, err)
			if err != nil && len(f.Keys())+len(f.Subjects()) > 0 {
				t.Error("refused, but the facts know something")
			}
		})
	}
}

func TestFactsListWhatIsConfigured(t *testing.T) {
	w := newWorld(t)
	f := w.facts()
	if got, ok := f.Key("fw-dev"); !ok || got.ID != "fw-dev" {
		t.Errorf("key %v", got)
	}
	if got, ok := f.Subject("anna"); !ok || got.ID != "anna" {
		t.Errorf("subject %v", got)
	}
	if got, ok := f.Issuer(builds); !ok || got.URL != builds {
		t.Errorf("issuer %v", got)
	}
	_, k := f.Key("none")
	_, s := f.Subject("none")
	_, i := f.Issuer("none")
	if k || s || i {
		t.Error("something that is not there is found")
	}
	var ids []string
	for _, x := range f.Keys() {
		ids = append(ids, string(x.ID))
	}
	for _, x := range f.Issuers() {
		ids = append(ids, x.URL)
	}
	for _, x := range f.Roles() {
		ids = append(ids, string(x.ID))
	}
	for _, x := range f.Subjects() {
		ids = append(ids, string(x.ID))
	}
	want := "ca ed fw-dev fw-prod fw-test root rsa https://ci.example https://id.example " +
		"administrators approvers-ca approvers-prod approvers-test auditors orderers ada anna bert carl ci dora line olga otto zoe"
	if strings.Join(ids, " ") != want {
		t.Errorf("listed %v", ids)
	}
}

func TestARoleIsHeldByItsEnabledMembersOnTheKeysItCovers(t *testing.T) {
	w := newWorld(t)
	f := w.facts()
	if !f.Holds("anna", law.Approver, "fw-prod") || !f.Holds("ada", law.Administrator, "") {
		t.Error("a member does not hold the role")
	}
	if f.Holds("anna", law.Approver, "fw-dev") || f.Holds("anna", law.Orderer, "fw-prod") || f.Holds("anna", law.Approver, "") || f.Holds("", law.Approver, "") {
		t.Error("a role is held that is not given")
	}
	w.enable("anna", false)
	w.enable("ada", false)
	if f := w.facts(); f.Holds("anna", law.Approver, "fw-prod") || f.Holds("ada", law.Administrator, "") {
		t.Error("a disabled member holds the role")
	}
}

// docs/law.md, Audit: who sees an operation.
func TestWhoSeesWhat(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Clients = []law.SubjectID{"line"} }, "fw-prod", "fw-dev")
	everybody := []law.SubjectID{"olga", "anna", "bert", "carl", "dora", "ada", "otto", "zoe", "ci", "line", "nobody", ""}
	seen := func(what string, sees func(law.SubjectID) bool, want ...law.SubjectID) {
		t.Helper()
		for _, who := range everybody {
			if sees(who) != slices.Contains(want, who) {
				t.Errorf("%q sees %s: %v", who, what, sees(who))
			}
		}
	}
	f := w.facts()
	seen("the operation", func(s law.SubjectID) bool { return f.Sees(s, w.op) }, "olga", "line", "anna", "bert", "carl", "ada", "otto")
	seen("everything", f.SeesEverything, "ada", "otto")
	seen("the whole log", func(who law.SubjectID) bool { return f.ReadLog(who) == nil }, "ada", "otto")
	seen("fw-test", func(s law.SubjectID) bool { return f.SeesKey(s, "fw-test") }, "olga", "ci", "line", "anna", "dora", "ada", "otto")
	seen("all of fw-test", func(s law.SubjectID) bool { return f.SeesAllOf(s, "fw-test") }, "olga", "anna", "dora", "ada", "otto")
	seen("no key", func(s law.SubjectID) bool { return f.SeesKey(s, "none") })
	for i := range w.cfg.Subjects {
		w.cfg.Subjects[i].Enabled = false
	}
	f = w.facts()
	seen("the operation", func(s law.SubjectID) bool { return f.Sees(s, w.op) })
	seen("fw-test", func(s law.SubjectID) bool { return f.SeesKey(s, "fw-test") })
	seen("all of fw-test", func(s law.SubjectID) bool { return f.SeesAllOf(s, "fw-test") })
}

func TestAlgorithmsSchemesAndHashes(t *testing.T) {
	for _, a := range law.Algorithms() {
		if len(a.Schemes()) == 0 {
			t.Errorf("%s makes no signatures", a)
		}
	}
	if law.Algorithm("DSA").Schemes() != nil {
		t.Error("an unknown algorithm makes signatures")
	}
	sizes := map[law.Hash]int{law.SHA256: 32, law.SHA384: 48, law.SHA512: 64}
	kinds := map[law.Hash]crypto.Hash{law.SHA256: crypto.SHA256, law.SHA384: crypto.SHA384, law.SHA512: crypto.SHA512}
	for _, h := range law.Hashes() {
		if h.Size() != sizes[h] || len(h.Sum([]byte("x"))) != sizes[h] || h.Crypto() != kinds[h] {
			t.Errorf("%s is %d bytes long", h, h.Size())
		}
	}
	if h := law.Hash("MD5"); h.Size() != 0 || h.Crypto() != 0 {
		t.Error("an unknown hash has a size")
	}
}

func TestEveryStateButPendingAndApprovedIsFinal(t *testing.T) {
	for _, s := range append(law.States(), "", "something") {
		if open := s == law.Pending || s == law.Approved; s.Final() == open {
			t.Errorf("%q is final: %v", s, s.Final())
		}
	}
	if len(law.States()) != 6 {
		t.Errorf("states: %v", law.States())
	}
}

// wantSaid checks an error by a part of what it says; nothing is to be said where there is none.
func wantSaid(t *testing.T, part string, err error) {
	t.Helper()
	switch {
	case part == "" && err != nil:
		t.Errorf("refused: %v", err)
	case part != "" && err == nil:
		t.Errorf("not refused; want an error that says %q", part)
	case part != "" && !strings.Contains(err.Error(), part):
		t.Errorf("error %q; want one that says %q", err, part)
	}
}

func TestFactsOfEachMakingAreTheirOwn(t *testing.T) {
	one, err := law.NewFacts(law.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	same := one
	same.ClockHeld = true // not a matter of the configuration
	other, err := law.NewFacts(law.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	if one.Making() != same.Making() || one.Making() == other.Making() || one.Making() == (law.Facts{}).Making() {
		t.Error("a making is told apart wrongly")
	}
}
