package law_test

import "pgregory.net/rapid"

// below draws a number below n, all alike: rapid's own ranges prefer small numbers, which would starve the
// steps at the end of a list.
func (w *bigWorld) below(n int, what string) int { return uniform.Draw(w.t, what) * n >> uniformBits }

const uniformBits = 10

var uniform = rapid.Custom(func(t *rapid.T) int {
	n := 0
	for range uniformBits {
		n <<= 1
		if coin.Draw(t, "bit") {
			n |= 1
		}
	}
	return n
})

var coin = rapid.Bool()

func pick[T any](w *bigWorld, what string, from []T) T { return from[w.below(len(from), what)] }
