package store_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
)

// asking is something that is read of certificates, and the index that each query of it is to look in.
type asking struct {
	read    func(*store.Tx) error
	indexes []string
}

func listing(q store.DeviceQuery) func(*store.Tx) error {
	q.Limit = 10
	return func(tx *store.Tx) error { _, err := tx.DeviceCertificates(q); return err }
}

func like(devices, keys []string) func(*store.Tx) error {
	return func(tx *store.Tx) error { _, err := tx.DevicesLike("ca", "f", devices, keys); return err }
}

// However many devices there are, what is asked of their certificates is found without reading or sorting all of them.
func TestCertificatesAreLookedForInAnIndex(t *testing.T) {
	db, at := newFile(t).create(t, store.Options{}), postgrestest.New(t)
	createShared(t, at)
	for name, asked := range map[string]asking{
		"of devices":         {like([]string{"d"}, nil), []string{"certificates_device"}},
		"of device keys":     {like(nil, []string{"k"}), []string{"certificates_fingerprint"}},
		"of an operation":    {listing(store.DeviceQuery{Operation: "o"}), []string{"certificates_operation"}},
		"of a device":        {listing(store.DeviceQuery{Issuer: "ca", Device: "d"}), []string{"certificates_device"}},
		"of a serial number": {listing(store.DeviceQuery{Issuer: "ca", Serial: "1"}), []string{"certificates_serial"}},
		"of ids":             {func(tx *store.Tx) error { _, err := tx.CertificatesByID([]string{"1"}); return err }, []string{"certificates_pkey"}},
		"of a lot": {
			func(tx *store.Tx) error { _, err := tx.Lot("o", "ca"); return err },
			[]string{"audit_events_refused", "certificates_lot", "certificates_lot", "certificates_lot"},
		},
		"revoked": {func(tx *store.Tx) error {
			_, err := tx.RevokedSince("ca", "f", nil)
			_, err2 := tx.CountRevokedBy("ca", "f")
			return errors.Join(err, err2)
		}, []string{"certificates_revoked", "certificates_revoked"}},
		"of all keys":        {func(tx *store.Tx) error { _, err := tx.Certificates("", "", 10); return err }, []string{"certificates_keys"}},
		"of a serial":        {func(tx *store.Tx) error { _, _, err := tx.CertificateBySerial("ca", "1"); return err }, []string{"certificates_serial"}},
		"of a key":           {func(tx *store.Tx) error { _, err := tx.CertificatesOf("fw"); return err }, []string{"certificates_keyid"}},
		"signed in sessions": {func(tx *store.Tx) error { _, err := tx.RunningCertificates(time.UnixMilli(1), 10); return err }, []string{"certificates_running"}},
	} {
		t.Run(name+" on SQLite", func(t *testing.T) {
			asked.expect(t, db, func(text string) string {
				return db.Plan(t, text, slices.Repeat([]any{"1"}, len(placeholder().FindAllString(text, -1)))...)
			}, "TEMP B-TREE")
		})
		t.Run(name+" on PostgreSQL", func(t *testing.T) { // a plan is made while a table is new, and kept
			asked.expect(t, db, func(text string) string {
				return postgrestest.Query(t, at, `EXPLAIN `+placeholder().ReplaceAllString(text, `'1'`))
			}, "Sort")
		})
	}
}

func placeholder() *regexp.Regexp { return regexp.MustCompile(`\$[0-9]+`) }

// expect checks the plan of each query. sorts is what a plan says that sorts.
func (a asking) expect(t *testing.T, db *store.DB, plan func(text string) string, sorts string) {
	t.Helper()
	var found, plans []string
	for _, text := range db.Asked(t, a.read) {
		said := plan(text)
		index := regexp.MustCompile(`\b(certificates|audit_events|sqlite_autoindex_certificates)_\w+`).FindString(said)
		found, plans = append(found, strings.Replace(index, "sqlite_autoindex_certificates_1", "certificates_pkey", 1)), append(plans, said)
		if strings.Contains(said, sorts) && index != "certificates_serial" { // of which there is one
			t.Errorf("it is sorted: %s", said)
		}
	}
	if slices.Sort(found); !slices.Equal(found, a.indexes) {
		t.Errorf("it is looked for in %q, want %q: the plans are\n%s", found, a.indexes, strings.Join(plans, "\n"))
	}
}
