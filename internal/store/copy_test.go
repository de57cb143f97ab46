package store

import (
	"io/fs"
	"regexp"
	"slices"
	"testing"
)

// A table that was forgotten would be lost in a move.
func TestACopyHasAllTables(t *testing.T) {
	var copied []string
	for _, t := range tables {
		copied = append(copied, t.name)
	}
	slices.Sort(copied)
	for _, d := range []dialect{sqlite, postgres} {
		var made []string
		steps, err := fs.Glob(migrations, "migrations/"+d.name+"/*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			text, err := fs.ReadFile(migrations, step)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`CREATE TABLE (\w+)`).FindAllSubmatch(text, -1) {
				made = append(made, string(m[1]))
			}
		}
		slices.Sort(made)
		if len(made) < 8 || !slices.Equal(made, copied) {
			t.Errorf("%s has the tables %v, and %v are copied", d.name, made, copied)
		}
	}
}
