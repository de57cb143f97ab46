package stand

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	_ "embed"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
)

// worldBootstrap is the policy of a company with three products, to look at on the pages.
//
//go:embed world.yaml
var worldBootstrap string

// World is a little world to look at: operations of three products, some past and some that wait, and an
// administration session that waits for a second administrator. The stand was made with [Options].World.
func (s *Stand) World(ctx context.Context) error {
	w := world{Stand: s, ctx: ctx, as: map[string]*client.Client{}}
	for _, who := range []string{"dana", "alice", "bob", "carol", "ci-firmware"} {
		c, err := s.As(ctx, who)
		if err != nil {
			return err
		}
		w.as[who] = c
	}
	for _, tell := range []func() error{w.past, w.present, w.administration} {
		if err := tell(); err != nil {
			return fmt.Errorf("making a little world: %w", err)
		}
	}
	return nil
}

type world struct {
	*Stand
	ctx context.Context
	as  map[string]*client.Client
}

// wish is an operation to ask for.
type wish struct {
	orderer, key string
	uses         int
	files        []string // names of artifacts
	valid        time.Duration
	description  string
	context      string
	approvers    []string
}

func (w world) ask(i wish) (api.Operation, error) {
	in := api.NewOperation{
		KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: i.key, MaxUsageCount: i.uses}},
		Description:          i.description, Context: i.context, ValidMS: i.valid.Milliseconds(),
	}
	for n, name := range i.files {
		in.Artifacts = append(in.Artifacts, api.Artifact{Name: name, Size: int64(3_481_600 + 40_960*n), Hash: "SHA-256", Digest: digestOf(i, name)})
	}
	o, err := w.as[i.orderer].CreateOperation(w.ctx, rand.Text(), in)
	for _, who := range i.approvers {
		if err == nil {
			o, err = w.as[who].Approve(w.ctx, o.ID, o.Digest)
		}
	}
	return o, err
}

func digestOf(i wish, name string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(i.description+name)))
}

// sign takes as many uses as the wish names artifacts, or as many as are said.
func (w world) sign(o api.Operation, i wish, uses int) error {
	for n := range uses {
		digest := digestOf(i, fmt.Sprint("build ", n))
		if len(i.files) > 0 {
			digest = digestOf(i, i.files[n])
		}
		if _, err := w.as[i.orderer].PlaceSignOrder(w.ctx, o.ID, rand.Text(), api.NewSignOrder{KeyID: i.key, Hash: "SHA-256", Digest: digest}); err != nil {
			return err
		}
	}
	return nil
}

// past is what is over: signed, rejected, revoked and expired.
func (w world) past() error {
	for _, version := range []string{"4.0.0", "4.1.0", "4.1.6"} {
		i := wish{
			orderer: "ci-firmware", key: "gateway-prod", uses: 2, files: []string{"gateway-" + version + ".img", "gateway-" + version + "-recovery.img"}, valid: 24 * time.Hour,
			description: "Gateway firmware " + version, context: release("gateway", version), approvers: []string{"alice", "bob"},
		}
		o, err := w.ask(i)
		if err == nil {
			err = w.sign(o, i, 2)
		}
		if err != nil {
			return err
		}
	}
	nightly := wish{orderer: "ci-firmware", key: "gateway-dev", uses: 40, valid: 24 * time.Hour, description: "Nightly builds of the gateway", context: "One signature for each nightly build."}
	o, err := w.ask(nightly)
	if err == nil {
		err = w.sign(o, nightly, 23)
	}
	if err != nil {
		return err
	}
	pump := wish{
		orderer: "dana", key: "pump-prod", uses: 1, files: []string{"pump-2.3.0.bin"}, valid: 12 * time.Hour, description: "Pump controller 2.3.0",
		context: release("pump", "2.3.0"), approvers: []string{"carol"},
	}
	if o, err = w.ask(pump); err == nil {
		err = w.sign(o, pump, 1)
	}
	if err != nil {
		return err
	}
	branch, err := w.ask(wish{
		orderer: "dana", key: "pump-prod", uses: 1, files: []string{"pump-2.4.0-rc1.bin"}, valid: 12 * time.Hour, description: "Pump controller 2.4.0, release candidate",
		context: "Built from my branch; the review comes later.",
	})
	if err == nil {
		_, err = w.as["bob"].Reject(w.ctx, branch.ID, "Built from a branch that nobody has reviewed. Merge it first.")
	}
	if err != nil {
		return err
	}
	twice, err := w.ask(wish{
		orderer: "ci-firmware", key: "meter-prod", uses: 1, files: []string{"meter-7.0.2.hex"}, valid: 12 * time.Hour, description: "Meter firmware 7.0.2",
		context: release("meter", "7.0.2"), approvers: []string{"alice"},
	})
	if err == nil {
		_, err = w.as["ci-firmware"].Revoke(w.ctx, twice.ID, "The build was broken; 7.0.3 follows.")
	}
	return err
}

// present is what waits, and what can be used.
func (w world) present() error {
	for _, i := range []wish{
		{
			orderer: "ci-firmware", key: "gateway-prod", uses: 3, valid: 24 * time.Hour,
			files:       []string{"gateway-4.2.0.img", "gateway-4.2.0-recovery.img", "gateway-4.2.0-debug.img"},
			description: "Gateway firmware 4.2.0", context: release("gateway", "4.2.0"), approvers: []string{"bob"},
		},
		{
			orderer: "dana", key: "pump-prod", uses: 1, files: []string{"pump-2.4.1.bin"}, valid: 50 * time.Minute, description: "Hot fix 2.4.1 of the pump controller",
			context: "## Why so short a time\n\nThe pumps in the north stop after the update to 2.4.0. The fix is one line, reviewed by Alice:\n\n```\n- if (level < MIN) stop();\n+ if (level < MIN && !filling) stop();\n```\n\nTested on the bench for 6 hours.",
		},
		{
			orderer: "ci-firmware", key: "meter-prod", uses: 3, files: []string{"meter-7.0.3.hex", "meter-7.0.3-eu.hex", "meter-7.0.3-us.hex"}, valid: 3 * time.Hour,
			description: "Meter firmware 7.0.3 for three regions", context: release("meter", "7.0.3"), approvers: []string{"alice"},
		},
		{orderer: "dana", key: "gateway-dev", uses: 5, valid: 8 * time.Hour, description: "Trying out the new boot loader", context: "On my desk only."},
	} {
		if _, err := w.ask(i); err != nil {
			return err
		}
	}
	usable := wish{
		orderer: "dana", key: "meter-prod", uses: 2, files: []string{"meter-6.9.9.hex", "meter-6.9.9-eu.hex"}, valid: 6 * time.Hour, description: "Meter firmware 6.9.9, long-term support",
		context: release("meter", "6.9.9"), approvers: []string{"alice", "carol"},
	}
	o, err := w.ask(usable)
	if err == nil {
		err = w.sign(o, usable, 1)
	}
	return err
}

// administration leaves a plan that waits for another administrator.
func (w world) administration() error {
	policy, err := w.as["carol"].Policy(w.ctx)
	if err != nil {
		return err
	}
	before := "keyid: pump-prod"
	at := strings.Index(string(policy), before)
	if at < 0 {
		return errors.New("the policy has no key pump-prod")
	}
	text := string(policy[:at]) + strings.Replace(string(policy[at:]), "requirement: 1", "requirement: 2", 1)
	_, err = w.as["carol"].OpenSession(w.ctx, api.NewSession{Description: "Two approvals for the pump controller, as decided on Monday", Policy: text})
	return err
}

func release(product, version string) string {
	return fmt.Sprintf(`## %[1]s %[2]s

- built from the tag **v%[2]s** by the release pipeline
- unit and system tests green, see https://ci.example.com/%[1]s/%[2]s
- change log reviewed, no open findings of severity high

> All images come from the same build. Compare their digests with the build's report.`, product, version)
}
