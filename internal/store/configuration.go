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

// Configure stores configuration objects, each as its configuration-changed event says. The facts of the
// transaction are those of the new configuration from then on.
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
	for _, e := range events {
		c := e.Configuration
		if e.Type != audit.ConfigurationChanged || c == nil {
			return errors.New("storing configuration: the event does not say what was configured")
		}
		tx.batch.sent = true
		if err := q.exec(`INSERT INTO configuration (kind, id, body) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body`,
			string(c.Kind), c.ID, string(c.Value)); err != nil {
			return fmt.Errorf("storing %s %s: %w", c.Kind, c.ID, err)
		}
	}
	tx.batch.head.configuration++
	if err := tx.append(events...); err != nil {
		return err
	}
	facts, err := readFacts(q)
	facts.ClockHeld = tx.facts.ClockHeld
	tx.facts = facts
	return err
}
