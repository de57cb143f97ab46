package law_test

import (
	"testing"

	"example.org/keyserver/internal/law"
)

func TestAPrivateKeyThatDoesNotSayThatItCannotLeaveCan(t *testing.T) {
	for name, c := range map[string]struct {
		attributes *law.KeyAttributes
		can        bool
	}{
		"nothing said":              {nil, true},
		"nothing set":               {&law.KeyAttributes{}, true},
		"sensitive":                 {&law.KeyAttributes{Sensitive: true}, false},
		"extractable":               {&law.KeyAttributes{Extractable: true}, true},
		"sensitive and extractable": {&law.KeyAttributes{Sensitive: true, Extractable: true}, true},
		"never extractable":         {&law.KeyAttributes{NeverExtractable: true, AlwaysSensitive: true}, true},
	} {
		if got := c.attributes.CanLeave(); got != c.can {
			t.Errorf("%s: can leave is %v, want %v", name, got, c.can)
		}
	}
}
