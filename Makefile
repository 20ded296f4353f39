# Flotilla. `make demo` runs the main job on this machine, `make test` everything that can be proved here.
# Both need Go and nothing else; what needs root on Linux is named as skipped without it.

SHELL := /bin/sh
TOOL := ./deploy/tools/tool.sh
TEST := $(TOOL) gotestsum --format pkgname --format-hide-empty-pkg
NODES ?= fake
export CGO_ENABLED := 0

.PHONY: help
help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo demo-down
demo: ## a hub and two members on this machine, and the main job on them (NODES=real for real containers, as root)
	@./test/fleet/demo.sh up $(NODES)
demo-down: ## stop the demo and leave nothing behind
	@./test/fleet/demo.sh down

.PHONY: build
build: ## the binaries, into dist/
	@mkdir -p dist
	go build -tags grpcnotrace -ldflags='-s -w' -o dist/ ./hub/cmd/... ./agent/cmd/... ./test/fleet/cmd/...

.PHONY: images
images: build ## OCI images of hub, agent and noded, into dist/
	go run ./deploy/images dist dev hub agent noded

.PHONY: generate fmt lint verify
generate: ## deepcopy functions and CRDs
	./deploy/generate.sh
fmt: ## format all Go code
	$(TOOL) golangci-lint fmt
lint: ## linters, import directions among them
	$(TOOL) golangci-lint run ./...
verify: generate fmt lint ## regenerate, tidy, format; fail if anything differs from what is committed
	go mod tidy
	git diff --exit-code
	@test -z "$$(git status --porcelain)" || { git status --short; echo "verify: files above are not committed"; exit 1; }

.PHONY: test unit clusters integration e2e bench
test: lint unit clusters ## everything that can be proved on this machine
unit: ## tables and simulations: no network, no cluster
	$(TEST) --hide-summary=skipped -- -p 2 ./...
clusters: ## integration and e2e; what cannot run here is named as skipped
	go run ./test/fleet/cmd/fleet build
	FLOTILLA_TEST_LEVEL=integration,e2e $(TEST) -- -p 1 -timeout 30m $$(./deploy/tools/tested.sh integration e2e)
integration: ## against real API servers
	FLOTILLA_TEST_LEVEL=integration $(TEST) -- -p 1 -timeout 20m $$(./deploy/tools/tested.sh integration)
e2e: ## user stories, on real kubelets and containerd (root on Linux)
	FLOTILLA_TEST_LEVEL=e2e $(TEST) -- -p 1 -timeout 30m $$(./deploy/tools/tested.sh e2e)
bench: ## figures, not tests: decisions, allocators, API writes per pod
	./test/fleet/bench.sh

.PHONY: clean
clean: ## remove what was built here
	rm -rf dist
