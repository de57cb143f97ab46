package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestMessagesAreSentOnlyIfTheyAreConfigured(t *testing.T) {
	if c := read(t, example(t, "web.yaml")); c.Notifications != nil {
		t.Errorf("messages are sent: %+v", c.Notifications)
	}
	c := read(t, example(t, "web.yaml")+"notifications: {personal-webhooks: true}\n")
	if want := (Notifications{PersonalWebhooks: true, Reminder: 3_600_000, Gather: 300_000}); !reflect.DeepEqual(*c.Notifications, want) || len(c.Check()) != 0 {
		t.Errorf("defaults are %+v, want %+v; %v", *c.Notifications, want, c.Check())
	}
}

func TestSecretsOfMessagesAreFoundWhereTheFileIs(t *testing.T) {
	path := write(t, strings.ReplaceAll(example(t, "notifications.yaml"), "/etc/keyserver/", ""))
	c, err := Read(path, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSuffix(path, "/file.yaml")
	n := c.Notifications
	for _, got := range []string{n.Mail.Password.File, n.Channels[0].URL.File, n.Channels[1].Secret.File} {
		if !strings.HasPrefix(got, dir+"/") {
			t.Errorf("a secret is in %s, not in %s", got, dir)
		}
	}
}

func TestCheckSaysWhatIsWrongWithMessages(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Notifications)
		want   string
	}{
		{"a mail server on this machine", func(n *Notifications) { n.Mail.Server, n.Mail.TLS = "127.0.0.1:25", "none" }, ""},
		{"a mail server without an account", func(n *Notifications) { n.Mail.Username, n.Mail.Password = "", nil }, ""},
		{"no mail", func(n *Notifications) { n.Mail = nil }, ""},
		{"a mail server elsewhere in clear", func(n *Notifications) { n.Mail.TLS = "none" },
			"notifications: mail: e-mails and passwords would go to mail.example.com:587 in clear; say starttls or implicit, none is for loopback only"},
		{"an unknown protection", func(n *Notifications) { n.Mail.TLS = "ssl" }, `notifications: mail: tls "ssl" is unknown; say starttls, implicit or none`},
		{"a server without a port", func(n *Notifications) { n.Mail.Server = "mail.example.com" },
			`notifications: mail: server "mail.example.com" is not the name of a host and its port; write it such as mail.example.com:587`},
		{"a sender with a name", func(n *Notifications) { n.Mail.From = "Keys <k@example.com>" },
			`notifications: mail: from "Keys <k@example.com>" is not a plain address; write it such as keyserver@example.com`},
		{"no domain", func(n *Notifications) { n.Mail.Domains = nil },
			"notifications: mail: domains are empty; name the domains that your people have their addresses in"},
		{"all domains", func(n *Notifications) { n.Mail.Domains = []string{"*"} },
			`notifications: mail: domains: "*" is not the name of a domain; write it in small letters, such as example.com`},
		{"an account without a password", func(n *Notifications) { n.Mail.Password = nil }, "notifications: mail: say both `username` and `password`, or neither"},
		{"a password that is nowhere", func(n *Notifications) { n.Mail.Password = &Secret{} }, "notifications: mail: password: say exactly one of `file` and `env`"},
		{"a channel twice", func(n *Notifications) { n.Channels[1].Name = "releases" },
			`notifications: channels: name "releases" is not 1 to 63 small letters, digits and hyphens, or is there twice; give each a name of its own`},
		{"a channel that is nowhere", func(n *Notifications) { n.Channels[0].URL = Secret{} }, "notifications: channel releases: url: say exactly one of `file` and `env`"},
		{"a channel of an unknown format", func(n *Notifications) { n.Channels[0].Format = "xml" },
			`notifications: channel releases: format "xml" is unknown; say standard or chat`},
		{"a channel without a secret", func(n *Notifications) { n.Channels[1].Secret = nil },
			"notifications: channel ticket-system: messages in the standard format, and no others, are signed with a secret; say where it is, or change the format"},
		{"a chat tool with a secret", func(n *Notifications) { n.Channels[0].Secret = n.Channels[1].Secret },
			"notifications: channel releases: messages in the standard format, and no others, are signed with a secret; say where it is, or change the format"},
		{"a channel that is told nothing", func(n *Notifications) { n.Channels[0].Tells = nil },
			"notifications: channel releases: it is told nothing; name waiting, expiring or change"},
		{"a channel that is told anything", func(n *Notifications) { n.Channels[0].Tells = []string{"all"} },
			`notifications: channel releases: tells: "all" is unknown or there twice; say waiting, expiring or change`},
		{"all networks", func(n *Notifications) { n.AllowNetworks = []string{"0.0.0.0/0"} },
			`notifications: allow-networks: "0.0.0.0/0" is not a network; write its lowest address and the length of its prefix, such as 10.20.0.0/16`},
		{"an address for a network", func(n *Notifications) { n.AllowNetworks = []string{"10.20.1.1/16"} },
			`notifications: allow-networks: "10.20.1.1/16" is not a network; write its lowest address and the length of its prefix, such as 10.20.0.0/16`},
		{"times that are none", func(n *Notifications) { n.Reminder, n.Gather = 604_800_001, 59_999 },
			"notifications: reminderms is 604800001; write a number from 1 to 604800000, or remove it for the default\n" +
				"notifications: gatherms is 59999; write a number from 60000 to 86400000, or remove it for the default"},
		{"nothing to send by", func(n *Notifications) { n.Mail, n.Channels, n.PersonalWebhooks = nil, nil, false },
			"notifications: there is nothing to send messages by; say `mail`, `personal-webhooks: true` or `channels`, or remove `notifications`"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said []string
			for _, err := range changed(t, "notifications.yaml", func(all *Config) { c.change(all.Notifications) }).Check() {
				said = append(said, err.Error())
			}
			if got := strings.Join(said, "\n"); got != c.want {
				t.Errorf("said:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
	without := changed(t, "notifications.yaml", func(c *Config) { c.Web = nil }).Check()
	if len(without) != 1 || !strings.Contains(without[0].Error(), "configure `web`") {
		t.Errorf("without pages: %v", without)
	}
}
