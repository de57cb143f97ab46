package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Exit codes of ks and keyserver.
const (
	allWell  = 0
	refused  = 3
	tampered = 6
)

func (d *demo) introduce(context.Context) error {
	fmt.Fprintf(d.out, `A keyserver (%s) and a development identity provider (%s) run on this
machine. The server's state and log are in %s, its keys in %s.
Key fw-prod requires the approval of 2 people, fw-dev of nobody. Dana is a release engineer, alice and bob approve, carol and
adam administer, erin audits. Everything below is done with ks, the command line; openssl judges the signatures.
`, d.Server, d.Issuer, d.whereState(), d.whereKeys())
	return nil
}

func (d *demo) whereState() string {
	if d.Cluster != nil {
		return "PostgreSQL, on a cluster of its own"
	}
	return "a SQLite file"
}

func (d *demo) whereKeys() string {
	if d.Token != nil {
		return "a token of SoftHSM2, a PKCS#11 library that a worker of the server has loaded"
	}
	return "files encrypted by the server"
}

// custody shows where the private keys are, if they are in a token. The token is asked by a program that is not ours.
func (d *demo) custody(ctx context.Context) error {
	if d.Token == nil {
		return nil
	}
	d.step("The private keys were made in the HSM and cannot leave it")
	r, err := d.as(ctx, "dana", allWell, "keys", "fw-prod")
	if err != nil {
		return err
	}
	if !says(r, "private key", "made in the HSM, which it can never have left") {
		return fmt.Errorf("the key can be elsewhere")
	}
	args := []string{"--module", d.Token.Module, "--token-label", d.Token.Label, "--login", "--pin", d.Token.PIN, "--list-objects", "--type", "privkey"}
	objects, err := d.Token.Tool(ctx, "pkcs11-tool", args...)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "   $ pkcs11-tool --list-objects --type privkey\n      %s\n", strings.ReplaceAll(strings.TrimSpace(objects), "\n", "\n      "))
	if n := strings.Count(objects, "never extractable"); n != 3 || !strings.Contains(objects, "fw-prod.1") {
		return fmt.Errorf("%d private keys in the token can never have left it, not 3", n)
	}
	d.proof("the token itself says of all three keys: sensitive, never extractable, local")
	return nil
}

func (d *demo) path(name string) string { return filepath.Join(d.Dir, name) }

func (d *demo) buildImage(context.Context) error {
	d.step("A firmware image is built")
	data := image()
	if err := os.WriteFile(d.path("firmware.bin"), data, 0o600); err != nil {
		return err
	}
	d.imageSum = fmt.Sprintf("%x", sha256.Sum256(data))
	d.proof("firmware.bin: %d bytes, SHA-256 %s", len(data), d.imageSum)
	return nil
}

func (d *demo) signIn(ctx context.Context) error {
	d.step("Dana, alice, bob, carol, adam and erin sign in (device flow; this program plays their browsers)")
	for _, person := range []string{"dana", "alice", "bob", "carol", "adam", "erin"} {
		if err := d.login(ctx, person); err != nil {
			return err
		}
	}
	who, err := d.as(ctx, "dana", allWell, "whoami")
	if err != nil {
		return err
	}
	if !strings.Contains(who.stdout, "dana") {
		return fmt.Errorf("dana is not dana")
	}
	d.proof("the server knows dana as its subject dana")
	return nil
}

func (d *demo) order(ctx context.Context) error {
	d.step("Dana asks for an operation: one use of fw-prod and one of fw-dev, for this image only")
	r, err := d.as(ctx, "dana", allWell, "operation", "create", "--key", "fw-prod=1", "--key", "fw-dev=1", "--valid", "1h",
		"--artifact", "firmware.bin", "--description", "Release 4.2.0 of the demo board",
		"--context", "Built from tag v4.2.0, tests green, change log reviewed.")
	if err != nil {
		return err
	}
	line := approveLine.FindStringSubmatch(r.stderr)
	if line == nil || !strings.Contains(r.stdout, d.imageSum) || !says(r, "state", "pending") {
		return fmt.Errorf("the operation is not as it was asked for")
	}
	d.operation, d.digest = line[1], line[2]
	d.proof("the operation is pending and names the image's digest")
	return nil
}

// approveLine is what ks tells the orderer to send to the approvers.
var approveLine = regexp.MustCompile(`ks operation approve (\S+) --digest ([0-9a-f]{64})`)

// says reports whether ks shows that the field has the value.
func says(r ran, field, value string) bool {
	return regexp.MustCompile(`(?m)^` + field + `: +` + value + `$`).MatchString(r.stdout)
}

// bothRefused tries both keys, and wants both refused for the reason.
func (d *demo) bothRefused(ctx context.Context, reason string) error {
	for _, key := range []string{"fw-prod", "fw-dev"} {
		r, err := d.as(ctx, "dana", refused, "sign", "firmware.bin", "--operation", d.operation, "--key", key, "--output", key+".sig")
		if err != nil {
			return err
		}
		if !strings.Contains(r.stderr, reason) {
			return fmt.Errorf("it was refused for another reason")
		}
		if _, err := os.Stat(d.path(key + ".sig")); err == nil {
			return fmt.Errorf("there is a signature")
		}
	}
	return nil
}

func (d *demo) refuseUnapproved(ctx context.Context) error {
	d.step("Nobody has approved: nothing can be signed, not even with fw-dev, which needs nobody")
	if err := d.bothRefused(ctx, "not approved"); err != nil {
		return err
	}
	d.proof("both are refused (exit code %d), and no signature was written", refused)
	return nil
}

func (d *demo) refuseHalfApproved(ctx context.Context) error {
	d.step("Dana cannot approve her own operation; alice approves; one approval of two is not enough")
	if _, err := d.as(ctx, "dana", refused, "operation", "approve", d.operation, "--digest", d.digest); err != nil {
		return err
	}
	if _, err := d.as(ctx, "alice", allWell, "operation", "approve", d.operation, "--digest", d.digest); err != nil {
		return err
	}
	if err := d.bothRefused(ctx, "1 of 2"); err != nil {
		return err
	}
	if _, err := d.as(ctx, "alice", refused, "operation", "approve", d.operation, "--digest", d.digest); err != nil {
		return err
	}
	d.proof("both keys are still refused, and alice does not count twice")
	return nil
}

func (d *demo) approve(ctx context.Context) error {
	d.step("Bob looks at the operation and approves exactly what he saw: its digest")
	if _, err := d.as(ctx, "bob", allWell, "operation", "show", d.operation); err != nil {
		return err
	}
	r, err := d.as(ctx, "bob", allWell, "operation", "approve", d.operation, "--digest", d.digest)
	if err != nil {
		return err
	}
	if !says(r, "state", "approved") {
		return fmt.Errorf("the operation is not approved")
	}
	d.proof("the operation is approved, by two people of the two that fw-prod requires")
	return nil
}

func (d *demo) sign(ctx context.Context) error {
	d.step("Dana signs the image with both keys; openssl, which is not ours, verifies")
	for _, key := range []string{"fw-prod", "fw-dev"} {
		if _, err := d.as(ctx, "dana", allWell, "sign", "firmware.bin", "--operation", d.operation, "--key", key, "--output", key+".sig"); err != nil {
			return err
		}
		if err := d.opensslVerifies(ctx, key); err != nil {
			return err
		}
	}
	d.proof("openssl says Verified OK for both")
	return nil
}

func (d *demo) spend(ctx context.Context) error {
	d.step("The uses are spent: another sign order is refused")
	if _, err := d.as(ctx, "dana", refused, "sign", "firmware.bin", "--operation", d.operation, "--key", "fw-prod",
		"--idempotency-key", "once-more", "--output", "second.sig"); err != nil {
		return err
	}
	r, err := d.as(ctx, "dana", allWell, "operation", "show", d.operation)
	if err != nil {
		return err
	}
	if !says(r, "state", "exhausted") {
		return fmt.Errorf("the operation is not exhausted")
	}
	d.proof("it is refused, and the operation is exhausted for ever")
	return nil
}

func (d *demo) retry(ctx context.Context) error {
	d.step("The build machine lost the signature: the same order again gives the same bytes, and takes no use")
	first, err := os.ReadFile(d.path("fw-prod.sig"))
	if err != nil {
		return err
	}
	if _, err := d.as(ctx, "dana", allWell, "sign", "firmware.bin", "--operation", d.operation, "--key", "fw-prod", "--output", "again.sig"); err != nil {
		return err
	}
	again, err := os.ReadFile(d.path("again.sig"))
	if err != nil {
		return err
	}
	if !bytes.Equal(first, again) {
		return fmt.Errorf("the signatures differ")
	}
	d.proof("again.sig and fw-prod.sig are the same %d bytes; ECDSA would have made others", len(again))
	return nil
}

func (d *demo) verifyLog(ctx context.Context) error {
	d.step("Erin exports the audit log and verifies it offline; the operator verifies log and state")
	if _, err := d.as(ctx, "erin", allWell, "audit", "export", "--output", "audit.log"); err != nil {
		return err
	}
	if _, err := d.as(ctx, "dana", allWell, "audit", "verify", "audit.log"); err != nil {
		return err
	}
	if err := d.StopServer(); err != nil {
		return err
	}
	if _, err := d.show("operator$ keyserver", allWell, d.Command(ctx, "keyserver", "verify", "--config", d.Config())); err != nil {
		return err
	}
	d.proof("the log is whole, begins with every checkpoint that dana's ks has seen, and gives the state that the tables hold")
	return nil
}

func (d *demo) tamper(ctx context.Context) error {
	d.step("Somebody with access to the database turns bob's approval into amy's, in a copy")
	folder := d.path("copy")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"keyserver.yaml", "log.key"} {
		if err := d.copyTo(folder, name); err != nil {
			return err
		}
	}
	forge := d.forgeFile
	if d.Cluster != nil {
		forge = d.forgePostgres
	}
	if err := forge(ctx, folder); err != nil {
		return err
	}
	r, err := d.show("operator$ keyserver", tampered, d.Command(ctx, "keyserver", "verify", "--config", filepath.Join(folder, "keyserver.yaml")))
	if err != nil {
		return err
	}
	d.proof("it is caught, and the first bad entry is named: %s", strings.TrimSpace(r.stderr))
	return nil
}

func (d *demo) copyTo(folder, name string) error {
	data, err := os.ReadFile(d.path(name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name), data, 0o600)
}

// What stands in the event of bob's approval, and what is to.
const (
	was    = `"sub":"bob","subject":"bob"},"batch"`
	became = `"sub":"amy","subject":"amy"},"batch"`
)

// forgeFile makes a copy of the SQLite file in which amy has approved.
func (d *demo) forgeFile(_ context.Context, folder string) error {
	database, err := os.ReadFile(d.path("keyserver.db"))
	if err != nil {
		return err
	}
	if !bytes.Contains(database, []byte(was)) {
		return fmt.Errorf("bob's approval is not in the database")
	}
	return os.WriteFile(filepath.Join(folder, "keyserver.db"), bytes.ReplaceAll(database, []byte(was), []byte(became)), 0o600)
}

// forgePostgres makes a copy of the database in which amy has approved, as a superuser can: the role of the server
// may not change what is in the log.
func (d *demo) forgePostgres(ctx context.Context, folder string) error {
	change := fmt.Sprintf("UPDATE audit_events SET leaf = replace(leaf, '%[1]s', '%[2]s') WHERE leaf LIKE '%%%[1]s%%'", was, became)
	name, err := d.Copy(ctx, change)
	if err != nil {
		return err
	}
	config := filepath.Join(folder, "keyserver.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("name: "+d.Database()+","), []byte("name: "+name+","), 1)
	return os.WriteFile(config, text, 0o600)
}
