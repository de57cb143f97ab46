package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
)

func (p *program) notificationsCommand() *cobra.Command {
	return p.group("notifications", "See and choose what you are told by e-mail or webhook", p.showContactCommand(), p.setContactCommand())
}

func (p *program) showContactCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "Show what you are told, and by what", Args: cobra.NoArgs}
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		c, err := s.Contact(ctx)
		if err != nil {
			return err
		}
		return p.printContact(c)
	})
}

func (p *program) setContactCommand() *cobra.Command {
	var n api.NewContact
	var hook api.NewWebhook
	var none bool
	cmd := &cobra.Command{
		Use:   "set (--tell KIND... [--mail ADDRESS] [--webhook URL] | --nothing)",
		Short: "Choose what to be told, and by what, in place of all that you chose before",
		Long: "Choose what to be told, and by what, in place of all that you chose before. Where no message was sent before, a\n" +
			"test message is sent at once.\n\n" +
			"What you can be told: waiting (an operation waits for your approval), expiring (it still does, and ends soon),\n" +
			"change (something happened to an operation that you have ordered).\n\n" +
			"The secret of a webhook in the standard format is printed once: receivers check the signature of Standard\n" +
			"Webhooks with it.",
		Example: "  ks notifications set --tell waiting --tell expiring --mail alice@example.com\n" +
			"  ks notifications set --tell change --webhook https://ci.example.com/hooks/keyserver\n" +
			"  ks notifications set --nothing",
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringArrayVar(&n.Tells, "tell", nil, "be told of `KIND`: waiting, expiring or change; may be given several times")
	cmd.Flags().StringVar(&n.Mail, "mail", "", "by e-mail to `ADDRESS`")
	cmd.Flags().StringVar(&hook.URL, "webhook", "", "by posting to `URL`")
	cmd.Flags().StringVar(&hook.Format, "format", "standard", "of the webhook's messages: `standard`, which is signed, or chat")
	cmd.Flags().BoolVar(&n.NewSecret, "new-secret", false, "give the webhook another secret")
	cmd.Flags().BoolVar(&none, "nothing", false, "be told nothing")
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		switch {
		case none && (len(n.Tells) > 0 || n.Mail != "" || hook.URL != ""):
			return usage("", "--nothing goes with no other choice")
		case !none && (len(n.Tells) == 0 || n.Mail == "" && hook.URL == ""):
			return usage("", "say what to be told with --tell, and by what with --mail or --webhook; or --nothing")
		}
		if n.Tells == nil {
			n.Tells = []string{}
		}
		if hook.URL != "" {
			n.Webhook = &hook
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		c, err := s.SetContact(ctx, n)
		if err != nil {
			return err
		}
		return p.printContact(c)
	})
}

func (p *program) printContact(c api.Contact) error {
	if p.global.json {
		return p.printJSON(c)
	}
	if len(c.Tells) == 0 {
		p.notef("You are told nothing.")
	} else {
		var l lines
		l.field("told of", strings.Join(c.Tells, ", "))
		if c.Mail != "" {
			l.field("by e-mail to", c.Mail)
		}
		if w := c.Webhook; w != nil {
			l.field("by webhook at", w.URL)
			l.field("format", w.Format)
			if w.Secret != "" {
				l.field("secret", w.Secret)
				p.notef("The secret is not shown again.")
			}
		}
		if err := p.print(l.text(width(p.stdout))); err != nil {
			return err
		}
	}
	if c.Failure != "" {
		p.notef("The last message could not be sent: %s.", visible(c.Failure))
	}
	return nil
}
