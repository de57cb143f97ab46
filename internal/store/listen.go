package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/keyserver/internal/law"
)

const (
	channel = "keyserver"      // of NOTIFY; it is the database's own
	poll    = time.Second      // between two looks while the connection that listens is not to be had
	silence = 10 * time.Second // after which a connection that listens is asked whether it is still there
	// payload is how long a notification may be (NOTIFY in the PostgreSQL documentation). A longer one says
	// nothing, which means everything.
	payload = 7999
	// somethingElse is a notification of a change that is of no operation.
	somethingElse = "-"
)

// notify tells the other servers, with the commit, that it has changed something, and which operations.
func (b *batch) notify() []statement {
	if !b.db.Shared() || !b.changed() {
		return nil
	}
	saved := b.pending.saved()
	ids := make([]string, len(saved))
	for i, id := range saved {
		ids[i] = string(id)
	}
	if len(ids) == 0 {
		ids = []string{somethingElse}
	}
	text := strings.Join(ids, " ")
	if len(text) > payload {
		text = ""
	}
	return []statement{{text: `SELECT pg_notify($1, $2)`, args: []any{channel, text}}}
}

// listen tells watchers of what other servers have changed, until the database is closed. Whenever something
// may have been missed it tells all of them, who then look for themselves. The connection given may be nil.
func (db *DB) listen(c *pgx.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db.stopped.Go(func() { <-db.stop; cancel() })
	for {
		if c != nil {
			_ = db.hear(ctx, c) // why it ended is of no use: every other connection says it too
			_ = c.Close(context.Background())
		}
		db.watch.announceAll()
		select {
		case <-db.stop:
			return
		case <-time.After(poll):
		}
		if c, _ = db.listener(ctx); c != nil {
			db.watch.announceAll()
		}
	}
}

// listener makes a connection that listens.
func (db *DB) listener(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, db.connection)
	if err == nil {
		_, err = c.Exec(ctx, `LISTEN `+channel)
	}
	if err != nil && c != nil {
		_ = c.Close(context.Background())
		c = nil
	}
	return c, err
}

// hear passes on what one connection is told, for as long as that lives.
func (db *DB) hear(ctx context.Context, c *pgx.Conn) error {
	for {
		told, err := next(ctx, c)
		switch {
		case err != nil:
			return err
		case told == "":
			db.watch.announceAll()
		default:
			var ids []law.OperationID
			for _, id := range strings.Split(told, " ") {
				ids = append(ids, law.OperationID(id))
			}
			db.watch.announce(ids)
		}
	}
}

// next waits for a notification, and makes sure in between that the connection lives. It returns nothing when
// it has waited long enough that a look is due.
func next(ctx context.Context, c *pgx.Conn) (string, error) {
	waiting, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	n, err := c.WaitForNotification(waiting)
	if err == nil {
		return n.Payload, nil
	}
	if ctx.Err() != nil || waiting.Err() == nil {
		return "", err
	}
	asking, done := context.WithTimeout(ctx, silence)
	defer done()
	return "", c.Ping(asking)
}
