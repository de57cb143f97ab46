package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

// inSession are the flags of every single change.
type inSession struct{ session, reason string }

func (f *inSession) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.session, "session", "", "the active administration session `ID` to make the change in")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the audit log")
	_ = cmd.MarkFlagRequired("session") // fails for a flag that is not there
	_ = cmd.MarkFlagRequired("reason")
}

// change makes a change in a session, worked out from the configuration as it is.
func (p *program) change(ctx context.Context, in inSession, edit func(now law.Configuration) (law.Changes, error)) error {
	s, err := p.connect()
	if err != nil {
		return err
	}
	text, err := s.Policy(ctx)
	if err != nil {
		return err
	}
	now, err := policy.Parse(text)
	if err != nil {
		return fmt.Errorf("reading the configuration as it is: %w", err)
	}
	changes, err := edit(now)
	if err != nil {
		return err
	}
	made, err := s.Change(ctx, in.session, in.reason, string(policy.WriteFragment(changes)))
	if err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(made)
	}
	var items []api.DifferenceItem
	for _, i := range policy.Describe(changes, now) {
		items = append(items, api.DifferenceItem(i))
	}
	return p.print(differenceText(items, width(p.stdout)))
}

func (p *program) changeCommand() *cobra.Command {
	var in inSession
	var from policyFlag
	cmd := &cobra.Command{
		Use:   "change -f FILE --session ID --reason TEXT",
		Short: "Make the changes of a file in an administration session without a plan, all of them or none",
		Long: "The file has any of the sections of a policy, with the items that are new or change, whole; and under remove the\n" +
			"roles and issuers that go.",
		Args: cobra.NoArgs,
	}
	from.add(cmd, "a part of a policy")
	_ = cmd.MarkFlagRequired("file") // fails for a flag that is not there
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		text, err := from.read(p)
		if err != nil {
			return err
		}
		changes, err := policy.ParseFragment([]byte(text))
		if err != nil {
			return usage("", "%s: %v", from.file, err)
		}
		return p.change(ctx, in, func(law.Configuration) (law.Changes, error) { return changes, nil })
	})
}

func (p *program) roleCommand() *cobra.Command {
	return p.group("role", "See, create, change and remove roles", p.listRolesCommand(), p.createRoleCommand(), p.changeRoleCommand(), p.removeRoleCommand())
}

func (p *program) listRolesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List all roles", Args: cobra.NoArgs}
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		roles, err := s.Roles(ctx)
		if err != nil {
			return err
		}
		if p.global.json {
			return p.printJSON(api.Roles{Roles: roles})
		}
		var rows [][]string
		for _, r := range roles {
			rows = append(rows, []string{r.Role, r.Kind, strings.Join(r.Keys, ","), strings.Join(r.Members, ",")})
		}
		return p.print(table([]string{"ROLE", "KIND", "KEYS", "MEMBERS"}, rows, tableWidth(p.stdout)))
	})
}

func (p *program) createRoleCommand() *cobra.Command {
	var in inSession
	var kind string
	var keys, members []string
	cmd := &cobra.Command{
		Use:     "create ROLE --kind KIND [--key KEYID]... --member SUBJECT... --session ID --reason TEXT",
		Short:   "Create a role",
		Example: "  ks admin role create valve-approvers --kind approver --key fw-valve --member alice --member bob --session ... --reason ...",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&kind, "kind", "", "`KIND`: orderer, approver, administrator or auditor")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "a `KEYID` that it covers; orderers and approvers")
	cmd.Flags().StringArrayVar(&members, "member", nil, "a `SUBJECT` that is a member")
	_ = cmd.MarkFlagRequired("kind") // fails for a flag that is not there
	_ = cmd.MarkFlagRequired("member")
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, args []string) error {
		return p.change(ctx, in, func(now law.Configuration) (law.Changes, error) {
			id := law.RoleID(args[0])
			if slices.ContainsFunc(now.Roles, func(r law.Role) bool { return r.ID == id }) {
				return law.Changes{}, usage("`ks admin role change` changes it", "there is a role %s already", id)
			}
			r := law.Role{ID: id, Kind: law.RoleKind(kind), Keys: idsOf[law.KeyID](keys), Members: idsOf[law.SubjectID](members)}
			return law.Changes{Set: law.Configuration{Roles: []law.Role{r}}}, nil
		})
	})
}

func (p *program) changeRoleCommand() *cobra.Command {
	var in inSession
	var addKeys, removeKeys, addMembers, removeMembers []string
	cmd := &cobra.Command{
		Use:   "change ROLE [--add-member SUBJECT]... [--remove-member SUBJECT]... [--add-key KEYID]... [--remove-key KEYID]... --session ID --reason TEXT",
		Short: "Change the members or the keys of a role",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringArrayVar(&addMembers, "add-member", nil, "a `SUBJECT` that becomes a member")
	cmd.Flags().StringArrayVar(&removeMembers, "remove-member", nil, "a `SUBJECT` that is a member no more")
	cmd.Flags().StringArrayVar(&addKeys, "add-key", nil, "a `KEYID` that it covers from now on")
	cmd.Flags().StringArrayVar(&removeKeys, "remove-key", nil, "a `KEYID` that it covers no more")
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, args []string) error {
		return p.change(ctx, in, func(now law.Configuration) (law.Changes, error) {
			i := slices.IndexFunc(now.Roles, func(r law.Role) bool { return r.ID == law.RoleID(args[0]) })
			if i < 0 {
				return law.Changes{}, refused("`ks admin role list` lists them", "there is no role %s", visible(args[0]))
			}
			r := now.Roles[i]
			var err error
			if r.Keys, err = edited(r.Keys, idsOf[law.KeyID](addKeys), idsOf[law.KeyID](removeKeys)); err != nil {
				return law.Changes{}, err
			}
			r.Members, err = edited(r.Members, idsOf[law.SubjectID](addMembers), idsOf[law.SubjectID](removeMembers))
			return law.Changes{Set: law.Configuration{Roles: []law.Role{r}}}, err
		})
	})
}

func (p *program) removeRoleCommand() *cobra.Command {
	var in inSession
	cmd := &cobra.Command{Use: "remove ROLE --session ID --reason TEXT", Short: "Remove a role", Args: cobra.ExactArgs(1)}
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, args []string) error {
		return p.change(ctx, in, func(law.Configuration) (law.Changes, error) {
			return law.Changes{RemoveRoles: []law.RoleID{law.RoleID(args[0])}}, nil
		})
	})
}

// edited returns the list with some more and without some others.
func edited[T ~string](list, more, less []T) ([]T, error) {
	list = slices.Clone(list)
	for _, m := range more {
		if slices.Contains(list, m) {
			return nil, usage("", "%s is in it already", visible(string(m)))
		}
		list = append(list, m)
	}
	for _, l := range less {
		i := slices.Index(list, l)
		if i < 0 {
			return nil, usage("", "%s is not in it", visible(string(l)))
		}
		list = slices.Delete(list, i, i+1)
	}
	return list, nil
}

func idsOf[T ~string](words []string) []T {
	var ids []T
	for _, w := range words {
		ids = append(ids, T(w))
	}
	return ids
}
