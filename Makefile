# Everything here works on a machine that has Go, gcc, git, make and Debian's package manager.

export GOTOOLCHAIN := go1.27.4
export CGO_ENABLED := 0
TOOL := go tool -modfile=tools/go.mod
PROGRAMS := keyserver ks devidp

.PHONY: build test demo demo-up lint bench mutants fuzz generate clean

build:
	go build -trimpath -o bin/ $(PROGRAMS:%=./cmd/%)

test:
	./scripts/need openssl postgresql
	go test ./...
	KEYSERVER_TEST_DATABASE=postgres go test $(ON_BOTH)

# What is tested on whole servers is tested on both databases; the store's contract is by itself.
ON_BOTH := ./internal/keyserver ./internal/httpapi ./cmd/keyserver

# The main job, end to end, each step proven. demo-up leaves it running.
demo demo-up: build
	./scripts/need openssl
	go run ./e2e/demo $(if $(filter demo-up,$@),-up)

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt would change: $$unformatted"; exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...
	./scripts/vulncheck

bench: build
	go run ./e2e/bench

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
