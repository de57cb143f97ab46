package database_test

import (
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/database"
	"example.org/keyserver/internal/verify/verifytest"
)

func TestADatabaseInWhichEverythingHappenedIsFoundInOrder(t *testing.T) {
	w := verifytest.New(t)
	w.Story()
	report, err := database.Verify(t.Context(), w.DB, w.Verifier, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range audit.Types() {
		if report.Counts[kind] == 0 && kind != audit.IntegrityViolation {
			t.Errorf("the story has no %s", kind)
		}
	}
	_ = law.Approved
	t.Logf("%+v", report)
}
