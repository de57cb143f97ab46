package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
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
machine. Key fw-prod requires the approval of 2 people, fw-dev of nobody. Dana is a release engineer, alice and
bob approve, erin audits. Everything below is done with ks, the command line; openssl judges the signatures.
`, d.Server, d.Issuer)
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
	d.step("Dana, alice, bob and erin sign in (device flow; this program plays their browsers)")
	for _, person := range []string{"dana", "alice", "bob", "erin"} {
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
		pem, err := d.ks(ctx, "dana", "keys", key, "--pem").Output()
		if err != nil {
			return err
		}
		if err := os.WriteFile(d.path(key+".pem"), pem, 0o600); err != nil {
			return err
		}
		c := exec.CommandContext(ctx, "openssl", "dgst", "-sha256", "-verify", key+".pem", "-signature", key+".sig", "firmware.bin")
		c.Dir = d.Dir
		r, err := d.show("$ openssl", allWell, c)
		if err != nil {
			return err
		}
		if !strings.Contains(r.stdout, "Verified OK") {
			return fmt.Errorf("openssl does not say Verified OK")
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
	if err := d.Stop(); err != nil {
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
	for _, name := range []string{"keyserver.yaml", "log.key", "keyserver.db"} {
		data, err := os.ReadFile(d.path(name))
		if err != nil {
			return err
		}
		if name == "keyserver.db" {
			if data, err = forged(data); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			return err
		}
	}
	r, err := d.show("operator$ keyserver", tampered, d.Command(ctx, "keyserver", "verify", "--config", filepath.Join(folder, "keyserver.yaml")))
	if err != nil {
		return err
	}
	d.proof("it is caught, and the first bad entry is named: %s", strings.TrimSpace(r.stderr))
	return nil
}

// forged replaces bob in the event of his approval.
func forged(database []byte) ([]byte, error) {
	was := []byte(`"sub":"bob","subject":"bob"},"batch"`)
	became := []byte(`"sub":"amy","subject":"amy"},"batch"`)
	if !bytes.Contains(database, was) {
		return nil, fmt.Errorf("bob's approval is not in the database")
	}
	return bytes.ReplaceAll(database, was, became), nil
}
