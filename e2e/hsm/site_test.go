// Package hsm_test tries whole servers whose keys are in a real token: the server, its worker, the shim that
// counts and does harm, and SoftHSM2, on both databases. What the shim has counted is what each test believes
// when the question is how often the HSM was asked; see [site.balance] for what all of them end with.
package hsm_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"flag"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/e2e/pkcs11shim"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// TestMain lets more tests run at the same time than there are cores: most of them wait, for a lease, for a disk or for
// an HSM that hangs.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// site is a whole server with a keystore named hsm: a token of SoftHSM2, behind the shim.
type site struct {
	*testkit.Kit
	shim  *pkcs11shim.Shim
	token hsmtest.Token // with the shim before it
	hsm   *hsm.Keystore
	log   *lines

	commits commits
}

// setting is what a test changes. The zero value is the usual site: fw-dev, fw-one, fw-prod, ca-dev and root of
// [testkit.World] are in the token, fw-other and fw-ed in the software keystore beside it.
type setting struct {
	prepare func(testing.TB, hsmtest.Token) // before the server, with the token as it is without the shim
	world   func(*law.Configuration)        // changes the configuration further
	bound   time.Duration                   // of a signature; default 9 s
	limits  keystore.Limits                 // of the keystore; default as usual
	limit   keyserver.Limits                // of the server
}

// onBoth tries the same on SQLite and on PostgreSQL. Much of it is waiting, so it is done beside other tests.
func onBoth(t *testing.T, with setting, try func(*site)) {
	t.Helper()
	t.Parallel()
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			try(newSite(t, with, database == "PostgreSQL"))
		})
	}
}

func newSite(t testing.TB, with setting, shared bool) *site {
	t.Helper()
	token := hsmtest.NewSoftHSM(t)
	if with.prepare != nil {
		with.prepare(t, token)
	}
	s := &site{shim: pkcs11shim.New(t, token.Module), log: &lines{}}
	s.token = behind(s.shim, token)
	t.Cleanup(func() { quiet(t, s.log.String()) }) // once the keystore is closed
	o := s.token.Options(t, slog.New(slog.NewTextHandler(s.log, nil)))
	o.Timeout = with.bound
	s.hsm = hsmtest.Open(t, o)
	if with.limits == (keystore.Limits{}) {
		with.limits = keystore.DefaultLimits()
	}
	s.Kit = testkit.NewWith(t, testkit.Options{
		File: !shared, Shared: shared, Limits: with.limit, Asked: s.asked, Commit: s.commits.run,
		Keystores: []keystore.Member{{Name: "hsm", Keystore: s.hsm, Limits: with.limits}},
		World: func(c *law.Configuration) {
			for i := range c.Keys {
				if id := c.Keys[i].ID; id != "fw-other" && id != "fw-ed" {
					c.Keys[i].Keystore = "hsm"
				}
			}
			if with.world != nil {
				with.world(c)
			}
		},
	})
	t.Cleanup(func() {
		s.shim.Clear()
		s.balance()
	})
	return s
}

// noise is what programs and libraries say that crash.
var noise = regexp.MustCompile(`(?i)panic|fatal error|SIG(SEGV|ABRT|BUS)|segmentation|goroutine \d|core dumped|corrupt|assert`)

// quiet checks that nothing has crashed, by its log: the worker's library neither, while it was used nor when it ended.
func quiet(t testing.TB, log string) {
	t.Helper()
	if said := noise.FindString(log); said != "" {
		t.Errorf("something has crashed (%q):\n%s", said, log)
	}
}

// behind is the token with the shim before its library.
func behind(shim *pkcs11shim.Shim, token hsmtest.Token) hsmtest.Token {
	environment := maps.Clone(token.Environment)
	for _, variable := range shim.Env() {
		name, value, _ := strings.Cut(variable, "=")
		environment[name] = value
	}
	token.Module, token.Environment = shim.Path, environment
	return token
}

// asked says how often the HSM was asked to sign with each key, by the shim's account. A key is known by the
// CKA_ID of its handle, in every configuration there has been.
func (s *site) asked(k *testkit.Kit) map[law.KeyID]int {
	calls := s.shim.All() // first: a key is configured before it is used
	keys := map[string]law.KeyID{}
	for _, e := range k.EventsOf("", audit.ConfigurationChanged) {
		if e.Configuration.Kind != audit.ConfiguredKey {
			continue
		}
		var c law.Configuration
		if err := e.Configuration.AddTo(&c); err != nil {
			k.Fatal(err)
		}
		if _, id, is := hsm.ParseHandle(c.Keys[0].Handle); is {
			keys[string(id)] = c.Keys[0].ID
		}
	}
	n := map[law.KeyID]int{}
	for _, c := range calls {
		id, known := keys[string(c.ID)]
		if !known {
			k.Errorf("the HSM was asked to sign with %x (%s), which is no key of the server", c.ID, c.Label)
		}
		n[id]++
	}
	return n
}

// calls is how often the HSM was asked to sign with the key.
func (s *site) calls(key law.KeyID) int { return s.asked(s.Kit)[key] }

// balance checks what every test ends with: signatures ≤ calls of the shim per key ≤ audited attempts; the uses
// taken of each key in each operation are the sign orders accepted, and the uses signed those signed. That log
// and state verify is checked by the kit.
func (s *site) balance() {
	s.Helper()
	type place struct {
		operation law.OperationID
		key       law.KeyID
	}
	attempts, signed := map[law.KeyID]int{}, map[law.KeyID]int{}
	log := map[place]law.Usage{}
	for _, e := range s.Events("") {
		at := place{e.Operation, e.Key}
		usage := log[at]
		switch e.Type {
		case audit.OrderAccepted:
			usage.Taken++
			attempts[e.Key]++
		case audit.OrderAttempted:
			attempts[e.Key]++
		case audit.OrderSigned:
			usage.Signed++
			signed[e.Key]++
		}
		log[at] = usage
	}
	for key, calls := range s.asked(s.Kit) {
		if calls < signed[key] || calls > attempts[key] {
			s.Errorf("key %s: %d signatures are stored, the HSM was asked %d times, and %d attempts are audited", key, signed[key], calls, attempts[key])
		}
	}
	for page := (keyserver.Page{Limit: keyserver.MaxPage}); ; {
		out, err := s.Keyserver.Operations(context.Background(), s.Caller("audrey"), keyserver.OperationFilter{Page: page})
		if err != nil {
			s.Fatal(err)
		}
		for _, o := range out.Operations {
			for key, usage := range o.Usage {
				if in := log[place{o.ID, key}]; usage != in {
					s.Errorf("operation %s, key %s: the usage is %+v, and in the log %+v", o.ID, key, usage, in)
				}
			}
		}
		if page.Cursor = out.Next; page.Cursor == "" {
			return
		}
	}
}

// as is a client of the API that makes each request once.
func (s *site) as(who law.SubjectID) *client.Client {
	s.Helper()
	c, err := client.New(s.URL, client.TokenFunc(func(context.Context) (string, error) { return s.Token(who), nil }), client.Options{Tries: 1})
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// order places a sign order of olga's through the API, over the text, with the key's only hash and scheme.
func (s *site) order(o keyserver.Operation, key law.KeyID, idempotencyKey, text string) (api.SignOrder, error) {
	return s.as("olga").PlaceSignOrder(context.Background(), string(o.ID), idempotencyKey, newOrder(key, text))
}

func newOrder(key law.KeyID, text string) api.NewSignOrder {
	return api.NewSignOrder{KeyID: string(key), Data: []byte(text)}
}

// mustOrder is order that is to succeed.
func (s *site) mustOrder(o keyserver.Operation, key law.KeyID, idempotencyKey, text string) api.SignOrder {
	s.Helper()
	order, err := s.order(o, key, idempotencyKey, text)
	if err != nil {
		s.Fatal(err)
	}
	return order
}

// approved is a new operation of so many uses of the key, approved by as many people as it needs.
func (s *site) approved(key law.KeyID, uses int) keyserver.Operation {
	s.Helper()
	ask := testkit.Ask(key)
	ask.Keys[0].MaxUses = uses
	people := map[law.KeyID][]law.SubjectID{"fw-one": {"alice"}, "fw-prod": {"alice", "bob"}}
	return s.Approve(s.Create(ask), people[key]...)
}

// key is a key as it is configured now.
func (s *site) key(id law.KeyID) law.Key {
	s.Helper()
	key, err := s.Keyserver.Key(context.Background(), s.Caller("audrey"), id)
	if err != nil {
		s.Fatal(err)
	}
	return key
}

// verifies says whether the standard library takes the signature over the text for one of this P-256 key pair.
func verifies(t testing.TB, key law.Key, text string, signature []byte) bool {
	t.Helper()
	public, err := x509.ParsePKIXPublicKey(key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), law.SHA256.Sum([]byte(text)), signature)
}

// counts checks how many events of each type an operation has.
func (s *site) counts(o keyserver.Operation, want map[audit.Type]int) {
	s.Helper()
	for of, n := range want {
		if got := s.Count(o.ID, of); got != n {
			s.Errorf("there are %d events %s, not %d", got, of, n)
		}
	}
}

// refused checks that an error is the API's problem of this kind, with its status.
func refused(t testing.TB, what string, err error, want api.Kind) *api.Problem {
	t.Helper()
	p, is := errors.AsType[*api.Problem](err)
	if !is || p.Kind() != want || p.Status != want.Status() {
		t.Errorf("%s: got %v (%+v), not %s", what, err, p, want)
		return &api.Problem{}
	}
	return p
}

// unavailable checks that an error is a 503 that says when to come back, and for which sign order.
func unavailable(t testing.TB, what string, err error) *api.Problem {
	t.Helper()
	p := refused(t, what, err, api.Unavailable)
	if p.Status != http.StatusServiceUnavailable || p.RetryAfter <= 0 || p.Order == "" {
		t.Errorf("%s: the answer is %+v; it is to name its sign order and a time", what, p)
	}
	return p
}

// until asks again and again until it is so, and fails when that takes longer than the bound.
func until(t testing.TB, bound time.Duration, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("after %v it is not so: %s", bound, what)
		case <-tick.C:
		}
	}
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String is the log so far.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
