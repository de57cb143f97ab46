package config

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Notifications says what messages the server sends, and by what.
type Notifications struct {
	// Mail is how e-mails are sent. The zero value means that none are.
	Mail *Mail `yaml:"mail,omitempty"`
	// PersonalWebhooks lets every subject have a webhook of its own. The zero value means that none has.
	PersonalWebhooks bool `yaml:"personal-webhooks,omitempty"`
	// Channels are webhooks that are told of all operations. The zero value means that there are none.
	Channels []Channel `yaml:"channels,omitempty"`
	// AllowNetworks are those with private addresses that webhooks may be in. The zero value means that all webhooks are on
	// the Internet.
	AllowNetworks []string `yaml:"allow-networks,omitempty"`
	// Reminder is how long before its end people are told again of an operation that waits for them. The zero value is
	// refused; Read fills in the default.
	Reminder Milliseconds `yaml:"reminderms,omitempty"`
	// Gather is the least time between two e-mails to one subject. The zero value is refused; Read fills in the default.
	Gather Milliseconds `yaml:"gatherms,omitempty"`
}

// Mail is the server that e-mails are given to.
type Mail struct {
	// Server is its name and port. The zero value is refused.
	Server string `yaml:"server"`
	// TLS is how the connection is protected. The zero value is refused.
	TLS string `yaml:"tls" oneof:"starttls,implicit,none"`
	// From is the address of the sender. The zero value is refused.
	From string `yaml:"from"`
	// Domains are those of the addresses that e-mails go to. The zero value is refused.
	Domains []string `yaml:"domains"`
	// Username is that of the server's account. The zero value means that it has none there.
	Username string `yaml:"username,omitempty"`
	// Password is that of the account. The zero value means that there is none, and is refused if Username is set.
	Password *Secret `yaml:"password,omitempty"`
}

// Channel is a webhook that is told of all operations.
type Channel struct {
	// Name is what it is called in the log. The zero value is refused.
	Name string `yaml:"name"`
	// URL is where its URL is, which may be all that keeps others from posting there. The zero value is refused.
	URL Secret `yaml:"url"`
	// Format is how it wants its messages. The zero value is refused.
	Format string `yaml:"format" oneof:"standard,chat"`
	// Secret signs messages in the standard format. The zero value means that there is none, and is refused there.
	Secret *Secret `yaml:"secret,omitempty"`
	// Tells is what it is told. The zero value is refused.
	Tells []string `yaml:"tells"`
}

const (
	defaultReminder = Milliseconds(time.Hour / time.Millisecond)
	defaultGather   = Milliseconds(5 * time.Minute / time.Millisecond)
	maxReminder     = 7 * 24 * defaultReminder
	leastGather     = Milliseconds(time.Minute / time.Millisecond)
	maxGather       = 24 * defaultReminder
)

func (n *Notifications) complete() {
	if n.Reminder == 0 {
		n.Reminder = defaultReminder
	}
	if n.Gather == 0 {
		n.Gather = defaultGather
	}
}

func (n *Notifications) secrets() []*Secret {
	if n == nil {
		return nil
	}
	var all []*Secret
	if n.Mail != nil && n.Mail.Password != nil {
		all = append(all, n.Mail.Password)
	}
	for i := range n.Channels {
		all = append(all, &n.Channels[i].URL)
		if n.Channels[i].Secret != nil {
			all = append(all, n.Channels[i].Secret)
		}
	}
	return all
}

var (
	channelName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	sender      = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,64}@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

func (k *checker) notifications(c Config) {
	n := c.Notifications
	if n == nil {
		return
	}
	if c.Web == nil {
		k.refuse("notifications: messages lead to the pages, and there are none; configure `web`, or remove `notifications`")
	}
	if n.Mail == nil && !n.PersonalWebhooks && len(n.Channels) == 0 {
		k.refuse("notifications: there is nothing to send messages by; say `mail`, `personal-webhooks: true` or `channels`, or remove `notifications`")
	}
	for _, limit := range []struct {
		name              string
		value, least, max Milliseconds
	}{{"reminderms", n.Reminder, 1, maxReminder}, {"gatherms", n.Gather, leastGather, maxGather}} {
		if limit.value < limit.least || limit.value > limit.max {
			k.refuse("notifications: %s is %d; write a number from %d to %d, or remove it for the default", limit.name, limit.value, limit.least, limit.max)
		}
	}
	for _, network := range n.AllowNetworks {
		if p, err := netip.ParsePrefix(network); err != nil || p.Masked() != p || p.Bits() == 0 {
			k.refuse("notifications: allow-networks: %q is not a network; write its lowest address and the length of its prefix, such as 10.20.0.0/16", network)
		}
	}
	if n.Mail != nil {
		k.mail(*n.Mail)
	}
	for i, channel := range n.Channels {
		k.channel(channel, n.Channels[:i])
	}
}

func (k *checker) mail(m Mail) {
	host, port, err := net.SplitHostPort(m.Server)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	address, isAddress := netip.ParseAddr(host)
	if err != nil || notNumber != nil || number == 0 || isAddress != nil && !linkHost.MatchString(host) {
		k.refuse("notifications: mail: server %q is not the name of a host and its port; write it such as mail.example.com:587", m.Server)
	}
	switch onLoopback := host == "localhost" || isAddress == nil && address.IsLoopback(); {
	case !slices.Contains([]string{"starttls", "implicit", "none"}, m.TLS):
		k.refuse("notifications: mail: tls %q is unknown; say starttls, implicit or none", m.TLS)
	case m.TLS == "none" && !onLoopback:
		k.refuse("notifications: mail: e-mails and passwords would go to %s in clear; say starttls or implicit, none is for loopback only", m.Server)
	}
	if !sender.MatchString(m.From) {
		k.refuse("notifications: mail: from %q is not a plain address; write it such as keyserver@example.com", m.From)
	}
	if len(m.Domains) == 0 {
		k.refuse("notifications: mail: domains are empty; name the domains that your people have their addresses in")
	}
	for _, domain := range m.Domains {
		if len(domain) > maxHost || !linkHost.MatchString(domain) {
			k.refuse("notifications: mail: domains: %q is not the name of a domain; write it in small letters, such as example.com", domain)
		}
	}
	if (m.Username == "") != (m.Password == nil) {
		k.refuse("notifications: mail: say both `username` and `password`, or neither")
	}
	if m.Password != nil {
		if fault := m.Password.Fault(); fault != "" {
			k.refuse("notifications: mail: password: %s", fault)
		}
	}
}

func (k *checker) channel(c Channel, before []Channel) {
	if !channelName.MatchString(c.Name) || slices.ContainsFunc(before, func(o Channel) bool { return o.Name == c.Name }) {
		k.refuse("notifications: channels: name %q is not 1 to 63 small letters, digits and hyphens, or is there twice; give each a name of its own", c.Name)
	}
	if fault := c.URL.Fault(); fault != "" {
		k.refuse("notifications: channel %s: url: %s", c.Name, fault)
	}
	switch {
	case c.Format != "standard" && c.Format != "chat":
		k.refuse("notifications: channel %s: format %q is unknown; say standard or chat", c.Name, c.Format)
	case (c.Format == "standard") != (c.Secret != nil):
		k.refuse("notifications: channel %s: messages in the standard format, and no others, are signed with a secret; say where it is, or change the format", c.Name)
	case c.Secret != nil && c.Secret.Fault() != "":
		k.refuse("notifications: channel %s: secret: %s", c.Name, c.Secret.Fault())
	}
	if len(c.Tells) == 0 {
		k.refuse("notifications: channel %s: it is told nothing; name waiting, expiring or change", c.Name)
	}
	for i, tell := range c.Tells {
		if !slices.Contains([]string{"waiting", "expiring", "change"}, tell) || slices.Contains(c.Tells[:i], tell) {
			k.refuse("notifications: channel %s: tells: %q is unknown or there twice; say waiting, expiring or change", c.Name, strings.TrimSpace(tell))
		}
	}
}
