package store

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

func readConfiguration(q querier) (law.Configuration, error) {
	var all law.Configuration
	err := q.each(`SELECT kind, id, body FROM configuration ORDER BY kind, id`, nil, func(scan func(...any) error) error {
		var c audit.Configuration
		var body string
		if err := scan(&c.Kind, &c.ID, &body); err != nil {
			return err
		}
		c.Value = jsontext.Value(body)
		return c.AddTo(&all)
	})
	if err != nil {
		return law.Configuration{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return all, nil
}

func readFacts(q querier) (law.Facts, error) {
	c, err := readConfiguration(q)
	if err != nil {
		return law.Facts{}, err
	}
	facts, err := law.NewFacts(c)
	if err != nil {
		return law.Facts{}, fmt.Errorf("the configuration as stored: %w", err)
	}
	return facts, nil
}

// Changed counts the objects of the configuration that have been set or removed, ever: two states of the configuration
// have the same count only if they are the same one.
func (r *Reader) Changed() int64 { return r.head.configuration }

// Configure stores configuration objects, or removes them, each as its configuration-changed event says. The facts of
// the transaction are those of the new configuration from then on.
func (tx *Tx) Configure(events ...audit.Event) error {
	if len(events) == 0 {
		return nil
	}
	return tx.wrote(tx.configure(events))
}

func (tx *Tx) configure(events []audit.Event) error {
	q, err := tx.list()
	if err != nil {
		return err
	}
	statements, err := configuring(events)
	if err != nil {
		return err
	}
	tx.batch.sent = true
	if err := q.all(statements); err != nil {
		return fmt.Errorf("storing configuration: %w", err)
	}
	tx.batch.head.configuration += int64(len(events))
	if err := tx.append(events...); err != nil {
		return err
	}
	facts, err := readFacts(q)
	facts.ClockHeld = tx.facts.ClockHeld
	tx.facts = facts
	return err
}

var configurationInsertion = insertion{
	table: "configuration", columns: "kind, id, body", conflict: ` ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body`,
}

// configuring are the statements that store what the events say, or remove it.
func configuring(events []audit.Event) ([]statement, error) {
	var set [][]any
	var removals []statement
	type name struct {
		kind audit.ConfigurationKind
		id   string
	}
	named := map[name]bool{}
	for _, e := range events {
		c := e.Configuration
		switch {
		case e.Type != audit.ConfigurationChanged || c == nil:
			return nil, errors.New("storing configuration: the event does not say what was configured")
		case named[name{c.Kind, c.ID}]:
			return nil, fmt.Errorf("storing configuration: %s %s is named twice", c.Kind, c.ID)
		case c.Removes():
			removals = append(removals, statement{
				text: `DELETE FROM configuration WHERE kind = $1 AND id = $2`, args: []any{string(c.Kind), c.ID}, changes: true,
			})
		default:
			set = append(set, []any{string(c.Kind), c.ID, string(c.Value)})
		}
		named[name{c.Kind, c.ID}] = true
	}
	return append(configurationInsertion.of(set), removals...), nil
}
