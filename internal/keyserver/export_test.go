package keyserver

import (
	"context"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// SigningAtOnce is how many signatures of device certificates a server asks for at the same time.
const SigningAtOnce = signingAtOnce

// SeenUses counts the uses of a key from a time on, as it is done for a subject that does not see all of them, among so
// many.
func (k *Keyserver) SeenUses(ctx context.Context, who law.SubjectID, key law.KeyID, from time.Time, limit int) (n int, since time.Time, err error) {
	n, err = look(ctx, k, func(r *store.Reader) (int, error) {
		var uses []store.Use
		uses, since, err = seenUses{who, map[law.OperationID]store.Operation{}}.of(r, key, from, r.Now().Add(time.Millisecond), limit)
		return len(uses), err
	})
	return n, since, err
}

// StatusesLeft is how many certificate statuses the server has still leave to sign with a key.
func (k *Keyserver) StatusesLeft(key law.KeyID) int { return k.statuses.leave(key).Left }

// TakeLeave takes the leave to sign statuses with a key, unless there is some.
func (k *Keyserver) TakeLeave(ctx context.Context, key law.KeyID) error {
	by, err := look(ctx, k, func(r *store.Reader) (law.Certificate, error) {
		of, _ := r.Facts().Key(key)
		by, _, err := currentOf(r, of)
		return by, err
	})
	if err != nil {
		return err
	}
	return k.takeLeave(ctx, Caller{}, by)
}
