# Every target needs Go only, unless said otherwise.
GO ?= go
BIN = bin/nave
FUZZTIME ?= 10s

.PHONY: run build test race golden fuzz lint bench torture conformance release clean

run: build ## build and start a hub with its data in nave-data
	./$(BIN) serve

build: ## the binary, without cgo
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./cmd/nave

test: ## everything that must pass: vet, tests, SDK drivers, conformance (installs npm and PyPI packages into test/sdk)
	$(GO) run ./test/all

race: ## the tests under the race detector (needs a C compiler)
	$(GO) test -race ./...

golden: ## rewrite generated documents and golden files
	$(GO) test ./internal/fault -run TestRaised -update
	$(GO) test ./internal/fault ./cmd/nave -run 'TestPage|TestDocs' -update

fuzz: ## FUZZTIME of every fuzz target
	$(GO) run ./test/fuzz -time $(FUZZTIME)

lint: ## format, vet, staticcheck, module file
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

bench: build ## figures, beside mosquitto where it is installed (apt-get install mosquitto)
	./$(BIN) bench compare

torture: build ## kill -9 under load, full disks; takes minutes
	$(GO) run ./test/torture
	$(GO) test -count=10 -run TestKill ./internal/control

conformance: ## which rows of the specifications are proven (installs npm and PyPI packages into test/sdk)
	$(GO) run ./test/conformance

release: ## static binaries for every platform in dist/
	$(GO) run ./test/release

clean:
	rm -rf bin dist
