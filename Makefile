# The steps themselves are in .ci/run, so that what passes here passes there.

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build every package of both modules
	go build ./...
	cd benchmarks && go build ./...

.PHONY: test
test: ## Run the tests
	.ci/run test

.PHONY: race
race: ## Run the tests under the race detector
	.ci/run race

.PHONY: vet
vet: ## Run go vet, here and for Windows and macOS
	.ci/run vet cross

.PHONY: lint
lint: ## Check format, package arrows and golangci-lint (built into .bin the first time)
	.ci/run fmt arrows lint

.PHONY: tidy
tidy: ## Tidy go.mod and go.sum of both modules
	go mod tidy
	cd benchmarks && go mod tidy

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZ_TIME (default 30s)
	FUZZ_TIME=$${FUZZ_TIME:-30s} .ci/run fuzz

.PHONY: bench
bench: ## Compare with the peers (see benchmarks/README.md; BENCH holds its flags)
	cd benchmarks && go run ./cmd/bench $(BENCH)

.PHONY: examples
examples: ## Run every example
	.ci/run examples

.PHONY: cover
cover: ## Write coverage.html
	go test -short -coverprofile=coverage.out ./...
	go tool cover -html=coverage.out -o coverage.html

.PHONY: ci
ci: ## Everything a change has to pass
	.ci/run

.PHONY: clean
clean: ## Remove built tools and what tests leave behind
	rm -rf .bin coverage.out coverage.html
