# For users:       make build, make demo
# For developers:  make check (what CI runs), make test, make fuzz, make bench, make chaos, make soak
#
# Tests, demo, bench, chaos and soak run real Redis processes on loopback; make deps
# installs what is missing (Debian, Ubuntu).

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# The race detector needs a C compiler.
RACE        ?= $(if $(shell command -v gcc),-race)
FUZZTIME    ?= 30s
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# For a user who is not root Debian leaves out these two, where haproxy and ip are.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: build test check format vet cross staticcheck deps demo bench chaos soak fuzz image clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o bin/holdfast ./cmd/holdfast

# CI=true makes a test fail that would else be skipped for want of a program.
# One package at a time: tests that wait for a real failover want the machine.
test: deps
	CI=true go test $(RACE) -p 1 -timeout 20m ./...
	CI=true HOLDFAST_TEST_MODE=dedicated go test $(RACE) -count=1 -timeout 20m ./proxy
	CI=true HOLDFAST_TEST_TLS=1 go test -count=1 -timeout 20m ./proxy

check: format vet cross staticcheck build test

format:
	@unformatted=$$(gofmt -l .)
	[ -z "$$unformatted" ] || { echo "not formatted (gofmt -w):"; echo "$$unformatted"; exit 1; }

vet:
	go vet ./...

# The data path needs Linux; everything else is to build where people develop.
cross:
	GOARCH=arm64 go build ./...
	GOOS=darwin GOARCH=arm64 go vet ./...

staticcheck:
	go run $(STATICCHECK) ./...

# Debian starts a service when it installs one, and its Redis would take port
# 6379. While a policy-rc.d says no, nothing is started.
deps:
	@missing=
	for need in redis-server:redis-server redis-sentinel:redis-sentinel redis-cli:redis-tools \
		haproxy:haproxy nutcracker:nutcracker keepalived:keepalived ip:iproute2 tcpdump:tcpdump; do
		command -v $${need%:*} >/dev/null || missing+=" $${need#*:}"
	done
	[ -n "$$missing" ] || exit 0
	echo "installing$$missing"
	root=; [ "$$(id -u)" = 0 ] || root=sudo
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $$policy ]; then
		trap "$$root rm -f $$policy" EXIT
		printf '#!/bin/sh\nexit 101\n' | $$root tee $$policy >/dev/null
		$$root chmod 755 $$policy
	fi
	$$root apt-get update -q
	$$root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing

# Under a minute: a failover from both sides, with figures.
demo: deps build
	go run ./internal/demo $(ARGS)

# About 13 minutes; ARGS="-classes c50,c500 -rounds 3" for less. See docs/performance.md.
bench: deps build
	go run ./internal/bench -holdfast bin/holdfast -json bin/bench.json $(ARGS)

# 11 minutes; all of it, ARGS="-runs 10 -release confirmed,promoted", takes 70. See docs/failover.md.
chaos: deps build
	go run ./internal/chaos/cmd -holdfast bin/holdfast -results bin/chaos.jsonl $(ARGS)

# 10 minutes; ARGS="-duration 1h -clients 200". Every client checks every reply
# against what it alone can expect, while the master changes.
soak: deps
	go run ./internal/soak/cmd $(ARGS)

fuzz:
	@grep -rlE '^func Fuzz' --include=*_test.go . | xargs -n1 dirname | sort -u | while read -r dir; do
		for target in $$(grep -hoE '^func Fuzz\w+' $$dir/*_test.go | cut -c6-); do
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir
		done
	done

image:
	docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t holdfast:$(VERSION) -t holdfast:latest .

clean:
	rm -rf bin
