package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
)

func (p *program) subjectCommand() *cobra.Command {
	return p.group("subject", "See, create, change, disable and enable subjects",
		p.listSubjectsCommand(), p.createSubjectCommand(), p.changeSubjectCommand(), p.disableSubjectCommand(), p.enableSubjectCommand())
}

func (p *program) listSubjectsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List all subjects", Args: cobra.NoArgs}
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		subjects, err := s.Subjects(ctx)
		if err != nil {
			return err
		}
		if p.global.json {
			return p.printJSON(api.Subjects{Subjects: subjects})
		}
		var rows [][]string
		for _, each := range subjects {
			enabled := "enabled"
			if !each.Enabled {
				enabled = "disabled"
			}
			rows = append(rows, []string{each.Subject, each.Kind, enabled, each.Name})
		}
		return p.print(table([]string{"SUBJECT", "KIND", "STATE", "NAME"}, rows, tableWidth(p.stdout)))
	})
}

// subjectFlags say what a subject is like.
type subjectFlags struct {
	name       string
	identities []string
	actors     []string
}

func (f *subjectFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "name", "", "the `NAME` that people are shown")
	cmd.Flags().StringArrayVar(&f.identities, "identity", nil, "a way to sign in, `ISSUER CLAIM=VALUE [CLAIM=VALUE]...` in one argument; a claim that is named more than once may have any of the values. All ways are named anew")
	cmd.Flags().StringArrayVar(&f.actors, "actor", nil, "what the CI tokens of an issuer call the person, `ISSUER VALUE` in one argument. All are named anew")
}

// into changes what was said of the subject.
func (f subjectFlags) into(s *law.Subject, cmd *cobra.Command) error {
	if cmd.Flags().Changed("name") {
		s.Name = f.name
	}
	if cmd.Flags().Changed("identity") {
		s.Identities = nil
		for _, text := range f.identities {
			words := strings.Fields(text)
			if len(words) < 2 {
				return usage("", "--identity %q: write ISSUER CLAIM=VALUE", text)
			}
			i := law.Identity{Issuer: words[0], Claims: map[string][]string{}}
			for _, w := range words[1:] {
				claim, value, ok := strings.Cut(w, "=")
				if !ok {
					return usage("", "--identity %q: %q is not CLAIM=VALUE", text, w)
				}
				i.Claims[claim] = append(i.Claims[claim], value)
			}
			s.Identities = append(s.Identities, i)
		}
	}
	if cmd.Flags().Changed("actor") {
		s.Actors = nil
		for _, text := range f.actors {
			issuer, value, ok := strings.Cut(text, " ")
			if !ok {
				return usage("", "--actor %q: write ISSUER VALUE", text)
			}
			s.Actors = append(s.Actors, law.ActorName{Issuer: issuer, Value: value})
		}
	}
	return nil
}

func (p *program) createSubjectCommand() *cobra.Command {
	var in inSession
	var is subjectFlags
	var kind string
	cmd := &cobra.Command{
		Use:     "create SUBJECT --kind user|client --name NAME --identity 'ISSUER CLAIM=VALUE' --session ID --reason TEXT",
		Short:   "Enter a person or a machine",
		Example: "  ks admin subject create gina --kind user --name 'Gina Gray' --identity 'https://idp.example sub=7f3c' --session ... --reason ...",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&kind, "kind", "", "user, a person; or client, a machine")
	is.add(cmd)
	for _, name := range []string{"kind", "name", "identity"} {
		_ = cmd.MarkFlagRequired(name) // fails for a flag that is not there
	}
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, args []string) error {
		return p.change(ctx, in, func(now law.Configuration) (law.Changes, error) {
			s := law.Subject{ID: law.SubjectID(args[0]), Kind: law.SubjectKind(kind), Enabled: true}
			if slices.ContainsFunc(now.Subjects, func(n law.Subject) bool { return n.ID == s.ID }) {
				return law.Changes{}, usage("`ks admin subject change` changes it", "there is a subject %s already", s.ID)
			}
			err := is.into(&s, cmd)
			return law.Changes{Set: law.Configuration{Subjects: []law.Subject{s}}}, err
		})
	})
}

func (p *program) changeSubjectCommand() *cobra.Command {
	var is subjectFlags
	cmd := &cobra.Command{
		Use:   "change SUBJECT [--name NAME] [--identity 'ISSUER CLAIM=VALUE']... [--actor 'ISSUER VALUE']... --session ID --reason TEXT",
		Short: "Change the name of a subject, or how it signs in",
	}
	is.add(cmd)
	return p.editSubject(cmd, func(s *law.Subject) error { return is.into(s, cmd) })
}

func (p *program) enableSubjectCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "enable SUBJECT --session ID --reason TEXT", Short: "Enable a subject that was disabled"}
	return p.editSubject(cmd, func(s *law.Subject) error { s.Enabled = true; return nil })
}

// editSubject completes a command that changes one subject in a session.
func (p *program) editSubject(cmd *cobra.Command, edit func(*law.Subject) error) *cobra.Command {
	var in inSession
	cmd.Args = cobra.ExactArgs(1)
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, args []string) error {
		return p.change(ctx, in, func(now law.Configuration) (law.Changes, error) {
			i := slices.IndexFunc(now.Subjects, func(s law.Subject) bool { return s.ID == law.SubjectID(args[0]) })
			if i < 0 {
				return law.Changes{}, refused("`ks admin subject list` lists them", "there is no subject %s", visible(args[0]))
			}
			s := now.Subjects[i]
			err := edit(&s)
			return law.Changes{Set: law.Configuration{Subjects: []law.Subject{s}}}, err
		})
	})
}

func (p *program) disableSubjectCommand() *cobra.Command {
	return p.emergency(&cobra.Command{
		Use: "disable SUBJECT --reason TEXT", Short: "Disable a subject at once, without a session",
		Long: "Any administrator can do this alone; it acts at once, also on open operations. To enable it again takes a session.",
	}, func(ctx context.Context, s session, id, reason string) (any, error) {
		return s.DisableSubject(ctx, id, reason)
	})
}

func (p *program) disableKeyCommand() *cobra.Command {
	return p.emergency(&cobra.Command{
		Use: "disable KEYID --reason TEXT", Short: "Disable a key at once, without a session",
		Long: "Any administrator can do this alone; it acts at once, also on open operations. To enable it again takes a session.",
	}, func(ctx context.Context, s session, id, reason string) (any, error) {
		return s.DisableKey(ctx, id, reason)
	})
}

func (p *program) emergency(cmd *cobra.Command, disable func(context.Context, session, string, string) (any, error)) *cobra.Command {
	var reason string
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the others and the audit log")
	_ = cmd.MarkFlagRequired("reason") // fails for a flag that is not there
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		now, err := disable(ctx, s, args[0], reason)
		switch {
		case err != nil:
			return err
		case p.global.json:
			return p.printJSON(now)
		}
		return p.print(visible(args[0]) + " is disabled.\n")
	})
}
