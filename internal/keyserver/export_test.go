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
