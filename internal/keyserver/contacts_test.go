package keyserver_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func TestTheSecretOfAWebhookIsShownOnceAndMadeAnewForAnotherURL(t *testing.T) {
	k := newTelling(t)
	set := func(c keyserver.Contact, renew bool) keyserver.Contact {
		t.Helper()
		told, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), c, renew)
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	c := hook(keyserver.KindWaiting)
	first := set(c, false).Webhook.Secret
	if !strings.HasPrefix(first, "whsec_") || len(first) != len("whsec_")+44 {
		t.Fatalf("secret %q", first)
	}
	seen, err := k.Keyserver.Contact(k.Context(), k.Caller("alice"))
	if err != nil || !reflect.DeepEqual(seen, c) {
		t.Errorf("chosen is %+v, %v", seen, err)
	}
	if again := set(c, false).Webhook.Secret; again != "" {
		t.Errorf("the secret is shown again: %q", again)
	}
	if all := take(k); len(all) != 1 || all[0].Webhook.Secret != first {
		t.Errorf("messages are %+v", all)
	}
	renewed := set(c, true).Webhook.Secret
	c.Webhook.URL += "y"
	other := set(c, false).Webhook.Secret
	if renewed == "" || renewed == first || other == "" || other == renewed {
		t.Errorf("secrets %q, %q, %q", first, renewed, other)
	}
	c.Webhook.Format = keyserver.FormatChat
	if s := set(c, false).Webhook.Secret; s != "" {
		t.Errorf("a chat tool has a secret: %q", s)
	}
	set(keyserver.Contact{}, false)
	if seen, err := k.Keyserver.Contact(k.Context(), k.Caller("alice")); err != nil || !reflect.DeepEqual(seen, keyserver.Contact{}) {
		t.Errorf("chosen is %+v, %v", seen, err)
	}
}

func TestWhoChoosesIsSentATestMessageWhereNoneWasSentBefore(t *testing.T) {
	k := newTelling(t)
	c := mailTo("alice", keyserver.KindWaiting)
	if _, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), c, false); err != nil {
		t.Fatal(err)
	}
	wantSaid(k, "The alice mail test ")
	if _, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), c, false); err != nil {
		t.Fatal(err)
	}
	k.Create(testkit.Ask("fw-one"))
	wantSaid(k, "The alice mail waiting operation-created") // what matters is not held up by a test
	// Nobody is sent many by somebody who chooses over and over.
	k.Clock.Step(gather)
	for _, name := range []string{"a", "b", "c"} {
		c.Mail = name + "@example.com"
		if _, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), c, false); err != nil {
			t.Fatal(err)
		}
		if all := take(k); len(all) != 0 && name != "a" {
			t.Errorf("messages are %+v", all)
		}
	}
}

func TestWhatCannotBeChosenIsRefused(t *testing.T) {
	k := newTelling(t)
	waiting := []keyserver.Kind{keyserver.KindWaiting}
	url := func(u string) keyserver.Contact {
		return keyserver.Contact{Tells: waiting, Webhook: keyserver.Webhook{URL: u, Format: keyserver.FormatStandard}}
	}
	for name, c := range map[string]keyserver.Contact{
		"an unknown kind":             {Tells: []keyserver.Kind{"all"}, Mail: "a@example.com"},
		"a kind twice":                {Tells: []keyserver.Kind{"waiting", "waiting"}, Mail: "a@example.com"},
		"a test":                      {Tells: []keyserver.Kind{keyserver.KindTest}, Mail: "a@example.com"},
		"nothing by something":        {Mail: "a@example.com"},
		"something by nothing":        {Tells: waiting},
		"a name with an address":      {Tells: waiting, Mail: "Alice <a@example.com>"},
		"two addresses":               {Tells: waiting, Mail: "a@example.com,b@example.com"},
		"a header":                    {Tells: waiting, Mail: "a@example.com\r\nBcc: b@example.com"},
		"a quoted name":               {Tells: waiting, Mail: `"a b"@example.com`},
		"no domain":                   {Tells: waiting, Mail: "alice"},
		"a domain in capitals":        {Tells: waiting, Mail: "a@EXAMPLE.com"},
		"a long address":              {Tells: waiting, Mail: strings.Repeat("a", 250) + "@example.com"},
		"a webhook without a format":  {Tells: waiting, Webhook: keyserver.Webhook{URL: "https://hooks.example.com"}},
		"an unknown format":           {Tells: waiting, Webhook: keyserver.Webhook{URL: "https://hooks.example.com", Format: "xml"}},
		"a format without a webhook":  {Tells: waiting, Mail: "a@example.com", Webhook: keyserver.Webhook{Format: "chat"}},
		"a URL with a password":       url("https://a:b@hooks.example.com/"),
		"a URL with a fragment":       url("https://hooks.example.com/#x"),
		"a URL without a host":        url("https:///x"),
		"a URL with a line break":     url("https://hooks.example.com/\nx"),
		"a URL that is not ASCII":     url("https://hooks.example.com/ä"),
		"a URL that is too long":      url("https://hooks.example.com/" + strings.Repeat("x", 2000)),
		"something that is no URL":    url("hooks.example.com"),
		"a mail address for a webook": url("mailto:a@example.com"),
	} {
		_, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), c, false)
		if _, is := errors.AsType[*keyserver.Malformed](err); !is {
			t.Errorf("%s: error %v", name, err)
		}
	}
	refused := 0
	for name, c := range map[string]keyserver.Contact{
		"an address elsewhere":       {Tells: waiting, Mail: "a@evil.example"},
		"a domain below":             {Tells: waiting, Mail: "a@x.example.com"},
		"a URL in clear":             url("http://hooks.example.com/"),
		"a URL of another kind":      url("file://hooks.example.com/etc/passwd"),
		"an address as host":         url("https://127.0.0.1/"),
		"an IPv6 address as host":    url("https://[::1]/"),
		"an old spelling of a host":  url("gopher://hooks.example.com/"),
		"an address with its domain": {Tells: waiting, Mail: "a@example.com.evil.example"},
	} {
		_, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), c, false)
		testkit.Refused(t, name, err, law.Impossible)
		refused++
	}
	if n := k.Count("", audit.RequestRefused); n != refused {
		t.Errorf("%d refusals are audited, not %d", n, refused)
	}
	if n := k.Count("", audit.ContactChanged); n != 0 {
		t.Errorf("%d changes are audited", n)
	}
}

func TestAServerThatSendsNoMessagesSaysSo(t *testing.T) {
	k := testkit.New(t)
	_, err := k.Keyserver.SetContact(k.Context(), k.Caller("alice"), mailTo("alice", keyserver.KindWaiting), false)
	testkit.Refused(t, "a contact", err, law.Impossible)
	n := notifying()
	n.Webhooks, n.MailDomains = false, nil
	k = testkit.NewWith(t, testkit.Options{Notifications: n})
	_, err = k.Keyserver.SetContact(k.Context(), k.Caller("alice"), mailTo("alice", keyserver.KindWaiting), false)
	testkit.Refused(t, "mail", err, law.Impossible)
	_, err = k.Keyserver.SetContact(k.Context(), k.Caller("alice"), hook(keyserver.KindWaiting), false)
	testkit.Refused(t, "a webhook", err, law.Impossible)
}

func TestWhoIsDisabledChoosesNothing(t *testing.T) {
	k := newTelling(t)
	c := k.Caller("alice")
	k.Enable("alice", false)
	if _, err := k.Keyserver.SetContact(k.Context(), c, hook(keyserver.KindWaiting), false); !errors.Is(err, keyserver.ErrStale) {
		t.Errorf("error %v", err)
	}
}
