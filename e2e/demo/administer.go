package main

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// What the plan adds to the policy: a key, and roles that let people use it.
const (
	newRoles = `
  - {id: valve-engineers, kind: orderer, keys: [fw-valve], members: [dana]}
  - {id: valve-approvers, kind: approver, keys: [fw-valve], members: [alice, bob]}
`
	newKey = `
  - keyid: fw-valve
    type: FW
    algorithm: ECDSA-P256
    hash: SHA-256
    schemes: [ECDSA]
    requirement: 1
    max-validityms: 86400000
    max-usagecount: 10
    approvals: session
    artifacts: optional
    keystore: %s
`
)

func (d *demo) plan(ctx context.Context) error {
	d.step("Carol, an administrator, plans a key for a new product, and who may use it; alone she cannot apply it")
	if _, err := d.as(ctx, "carol", allWell, "admin", "export", "--output", "policy.yaml"); err != nil {
		return err
	}
	policy, err := os.ReadFile(d.path("policy.yaml"))
	if err != nil {
		return err
	}
	keystore := "software"
	if d.Token != nil {
		keystore = "hsm"
	}
	text := strings.Replace(string(policy), "\nroles:", "\nroles:"+strings.TrimRight(newRoles, "\n"), 1)
	text = strings.Replace(text, "\nkeys:", "\nkeys:"+strings.TrimRight(fmt.Sprintf(newKey, keystore), "\n"), 1)
	if err := os.WriteFile(d.path("policy.yaml"), []byte(text), 0o600); err != nil {
		return err
	}
	r, err := d.as(ctx, "carol", allWell, "admin", "plan", "-f", "policy.yaml", "--description", "A key for the valve")
	if err != nil {
		return err
	}
	session := field(r, "session")
	d.session, d.sessionDigest = session, field(r, "digest")
	if session == "" || !strings.Contains(r.stdout, "+ new key fw-valve") || !strings.Contains(r.stdout, "+ new role valve-approvers") || !says(r, "state", "inactive") {
		return fmt.Errorf("the session is not as it was planned")
	}
	r, err = d.as(ctx, "carol", refused, "admin", "apply", session)
	if err != nil {
		return err
	}
	if !strings.Contains(r.stderr, "1 of 2 administrators") {
		return fmt.Errorf("it was refused for another reason")
	}
	d.proof("the session waits: 1 of 2 administrators have authorised it, and nothing has changed")
	return nil
}

// field returns what ks shows of a field.
func field(r ran, name string) string {
	m := regexp.MustCompile(`(?m)^` + name + `: +(\S+)$`).FindStringSubmatch(r.stdout)
	if m == nil {
		return ""
	}
	return m[1]
}

func (d *demo) applyPlan(ctx context.Context) error {
	d.step("Adam, another administrator, sees the difference and authorises exactly that; carol applies it")
	r, err := d.as(ctx, "adam", allWell, "admin", "session", "show", d.session)
	if err != nil {
		return err
	}
	if field(r, "digest") != d.sessionDigest {
		return fmt.Errorf("adam sees another session than carol")
	}
	if _, err := d.as(ctx, "adam", allWell, "admin", "session", "authorise", d.session, "--digest", d.sessionDigest); err != nil {
		return err
	}
	if _, err := d.as(ctx, "carol", allWell, "admin", "apply", d.session); err != nil {
		return err
	}
	r, err = d.as(ctx, "carol", allWell, "admin", "diff", "-f", "policy.yaml")
	if err != nil {
		return err
	}
	if !strings.Contains(r.stdout, "Nothing would change.") {
		return fmt.Errorf("the configuration is not what the policy says")
	}
	if _, err := d.as(ctx, "carol", allWell, "admin", "who-can", "fw-valve"); err != nil {
		return err
	}
	d.proof("the configuration is what the policy says; nobody alone can obtain a signature with the new key")
	return nil
}

func (d *demo) useNewKey(ctx context.Context) error {
	d.step("Dana orders with the new key, alice approves, openssl verifies")
	r, err := d.as(ctx, "dana", allWell, "operation", "create", "--key", "fw-valve=1", "--valid", "1h",
		"--description", "First release of the valve", "--context", "Built from tag valve-v1.0.0.")
	if err != nil {
		return err
	}
	line := approveLine.FindStringSubmatch(r.stderr)
	if line == nil {
		return fmt.Errorf("ks does not say how to approve it")
	}
	if _, err := d.as(ctx, "alice", allWell, "operation", "approve", line[1], "--digest", line[2]); err != nil {
		return err
	}
	if _, err := d.as(ctx, "dana", allWell, "sign", "firmware.bin", "--operation", line[1], "--key", "fw-valve", "--output", "fw-valve.sig"); err != nil {
		return err
	}
	if err := d.opensslVerifies(ctx, "fw-valve"); err != nil {
		return err
	}
	d.proof("openssl says Verified OK")
	return nil
}

// opensslVerifies checks the signature KEY.sig of the image.
func (d *demo) opensslVerifies(ctx context.Context, key string) error {
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
	if err == nil && !strings.Contains(r.stdout, "Verified OK") {
		err = fmt.Errorf("openssl does not say Verified OK")
	}
	return err
}

func (d *demo) auditSession(ctx context.Context) error {
	d.step("Erin, an auditor, sees the session on every event of the change")
	out, err := d.ks(ctx, "erin", "audit", "list", "--all", "--json", "--type", "configuration-changed").Output()
	if err != nil {
		return err
	}
	var log struct {
		Events []struct {
			Session            string `json:"session"`
			SessionDescription string `json:"sessiondescription"`
			Configuration      struct {
				Kind string `json:"kind"`
				ID   string `json:"id"`
			} `json:"configuration"`
			Actor *struct {
				Subject string `json:"subject"`
			} `json:"actor"`
		} `json:"events"`
	}
	if err := json.Unmarshal(out, &log); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	changes := 0
	for _, e := range log.Events {
		if e.Actor == nil {
			continue // the first configuration
		}
		if e.Session != d.session || e.SessionDescription != "A key for the valve" {
			return fmt.Errorf("the change of %s %s does not tell its session", e.Configuration.Kind, e.Configuration.ID)
		}
		changes++
		fmt.Fprintf(d.out, "      %s %s: by %s in session %s (%s)\n", e.Configuration.Kind, e.Configuration.ID, e.Actor.Subject, e.Session, e.SessionDescription)
	}
	if changes != 3 {
		return fmt.Errorf("%d changes tell the session, not 3", changes)
	}
	d.proof("three changes, by carol, in the one session that adam authorised too")
	return nil
}
