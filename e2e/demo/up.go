package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// stayUp says how to use what runs, and waits for Ctrl-C.
func (d *demo) stayUp(ctx context.Context) error {
	fmt.Fprintf(d.out, `The keyserver and a development identity provider run until you press Ctrl-C. Then their files are removed.

  API                 %[1]s/api    (specification: %[1]s/api/openapi.yaml)
  identity provider   %[2]s
  files               %[3]s

Sign in as one of these, at the page that ks login names:

  dana     release engineer: orders fw-dev, fw-prod and fw-rsa
  alice    approves all three; so do bob and carol
  carol    administrates, and so does adam
  erin     audits

fw-prod requires 2 approvals, fw-dev and fw-rsa none. The machine ci-firmware (secret: development-only) orders too.

  export PATH=%[4]s:$PATH KS_HOME=$(mktemp -d)
  ks login --profile dana --server %[1]s --issuer %[2]s
  ks login --profile alice --server %[1]s --issuer %[2]s
  ks login --profile bob --server %[1]s --issuer %[2]s
  ks --profile dana operation create --key fw-dev=1 --valid 1h --description "My first" --context "Trying it out"
`, d.Server, d.Issuer, d.Dir, filepath.Clean(d.Bin))
	<-ctx.Done()
	fmt.Fprintln(d.out)
	return nil
}
