# Everything here works on a machine that has Go, gcc, git, make and Debian's package manager.

export GOTOOLCHAIN := go1.27.4
export CGO_ENABLED := 0
TOOL := go tool -modfile=tools/go.mod
PROGRAMS := keyserver ks devidp
WORKER := ./cmd/keyserver-hsm
TEST_NEEDS := openssl gcc libc softhsm2-util libsofthsm2.so certutil libsoftokn3.so pkcs11-tool postgresql \
	chromium fonts-liberation npm certtool keytool
BENCH_NEEDS := softhsm2-util libsofthsm2.so postgresql

.PHONY: build test demo demo-up screenshots lint bench mutants fuzz generate clean

# The HSM worker loads a vendor's library, so it alone is built with cgo.
build:
	./scripts/need gcc libc
	go build -trimpath -o bin/ $(PROGRAMS:%=./cmd/%)
	CGO_ENABLED=1 go build -trimpath -o bin/ $(WORKER)

# Much of the time goes by waiting for disks, clusters and browsers: three packages at a time suit two cores.
test:
	./scripts/need $(TEST_NEEDS)
	go test -p 3 -timeout 30m ./...
	KEYSERVER_TEST_DATABASE=postgres go test -p 3 -timeout 30m $(ON_BOTH)
	CGO_ENABLED=1 go test $(WORKER)

# What is tested on whole servers is tested on both databases; the store's contract is by itself.
ON_BOTH := ./internal/keyserver ./internal/httpapi ./cmd/keyserver

# The main job, end to end, each step proven. demo-up leaves it running. On the real parts: DB=postgres HSM=softhsm,
# each or both.
demo demo-up: build
	./scripts/need openssl $(if $(filter postgres,$(DB)),postgresql) $(if $(filter softhsm,$(HSM)),softhsm2-util libsofthsm2.so pkcs11-tool)
	go run ./e2e/demo $(if $(DB),-db $(DB)) $(if $(HSM),-keystore $(HSM)) $(if $(filter demo-up,$@),-up)

# A picture of every page, at two widths and in both themes, in screenshots/; two of them are in the README.
screenshots:
	./scripts/need chromium fonts-liberation npm
	KEYSERVER_SCREENSHOTS=$(CURDIR)/screenshots go test -count=1 ./e2e/pages
	cp screenshots/approvals-laptop-light.png docs/images/approvals.png
	cp screenshots/operation-waiting-laptop-light.png docs/images/operation.png

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt would change: $$unformatted"; exit 1; }
	go vet ./...
	CGO_ENABLED=1 go vet $(WORKER)
	$(TOOL) staticcheck ./...
	CGO_ENABLED=1 $(TOOL) staticcheck $(WORKER)
	./scripts/vulncheck

# BENCH may say -history 1000000, -devices 1000000, or which servers alone: -db, -keystore, -servers.
bench: build
	./scripts/need $(BENCH_NEEDS)
	go run ./e2e/bench $(BENCH)
	go test -run '^$$' -bench DeviceCertificates -benchtime 2000x ./internal/httpapi
	go test -run '^$$' -bench CertificateStatuses -benchtime 900x ./internal/httpapi

# Seeds the well-known shortcuts into the law, one by one: its tests must catch each.
mutants:
	go run ./internal/law/mutants

# A short run of every fuzz target; TIME is for each.
TIME ?= 20s
fuzz:
	./scripts/fuzz $(TIME)

generate:
	go generate ./...

clean:
	rm -rf bin
