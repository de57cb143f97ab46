package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// stayUp says how to use what runs, and waits for Ctrl-C.
func (d *demo) stayUp(ctx context.Context) error {
	if err := d.World(ctx); err != nil {
		return err
	}
	fmt.Fprintf(d.out, `The keyserver and a development identity provider run until you press Ctrl-C. Then their files are removed.

  pages               %[1]s/
  API                 %[1]s/api    (specification: %[1]s/api/openapi.yaml)
  identity provider   %[2]s
  files               %[3]s

Open the pages and choose who you are; a second browser, or a private window, is a second person:

  alice    approves for all products; operations wait for her
  bob      approves as well: with alice he releases gateway-prod and meter-prod, which require 2 approvals
  dana     release engineer: asks for operations
  carol    approves for pump and meter, and administrates: a plan of hers waits for adam
  adam     administrates
  erin     audits

gateway-dev requires no approval, pump-prod one. The machine ci-firmware (secret: development-only) asks for operations too.
At a terminal:

  export PATH=%[4]s:$PATH KS_HOME=$(mktemp -d)
  ks login --profile dana --server %[1]s --issuer %[2]s
  ks login --profile alice --server %[1]s --issuer %[2]s
  ks login --profile bob --server %[1]s --issuer %[2]s
  ks --profile dana operation create --key gateway-dev=1 --valid 1h --description "My first" --context "Trying it out"
`, d.Server, d.Issuer, d.Dir, filepath.Clean(d.Bin))
	<-ctx.Done()
	fmt.Fprintln(d.out)
	return nil
}
