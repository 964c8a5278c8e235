# make alone lists what one can do. Longer recipes are scripts in .ci.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# In a source tarball there is no .git, and one further up is not ours.
VERSION ?= $(shell [ -e .git ] && git describe --tags --always --dirty 2>/dev/null || echo unknown)
LAB     ?= configs/topologies/two-hosts.yaml
BENCH   ?= all
FUZZTIME ?= 10s
TRACES  ?= 100000
STEPS   ?= 10000
SUITE   ?= bookworm
RUN     ?= all

STATICCHECK_VERSION := v0.7.0
STATICCHECK := bin/tools/staticcheck-$(STATICCHECK_VERSION)/staticcheck

export CGO_ENABLED := 0
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: $(STATICCHECK) ## install what is missing for the lab and the tests (Debian packages, staticcheck into bin)
	@.ci/deps lab test

.PHONY: vm-deps
vm-deps: ## install what virtual machines need (qemu), for the lab and its tests
	@.ci/deps vm

.PHONY: libvirt-deps
libvirt-deps: ## install what the tests of guests under libvirt need
	@.ci/deps libvirt

.PHONY: build
build: ## build bin/ofctl-lab
	go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/ofctl-lab ./cmd/ofctl-lab

.PHONY: lab
lab: build ## bring up the two-host lab and show it at work (LAB=FILE for another topology); needs root
	@.ci/deps lab
	bin/ofctl-lab lab up $(LAB)
	bin/ofctl-lab lab demo

.PHONY: lab-vm
lab-vm: build guest-image ## bring up two KVM hosts, each with a virtual machine and a namespace, and show all pings; needs root
	@.ci/deps lab vm
	bin/ofctl-lab lab up configs/topologies/two-kvm-hosts.yaml
	bin/ofctl-lab --lab two-kvm-hosts lab demo

.PHONY: lab-down
lab-down: build ## remove every trace of the lab of make lab
	bin/ofctl-lab lab down "$$(sed -n "s/^name: *//p" $(LAB))"

.PHONY: lab-vm-down
lab-vm-down: build ## remove every trace of the lab of make lab-vm
	bin/ofctl-lab lab down two-kvm-hosts

.PHONY: guest-image
guest-image: ## build the test guests' kernel and initramfs into bin/guest (from Debian packages, none is installed)
	@.ci/guest-image

# Who is not root cannot install anything: then the suites say what they lack.
.PHONY: test-deps
test-deps:
	@[ "$$(id -u)" != 0 ] || .ci/deps lab test

.PHONY: test
test: test-deps check unit packet bench-smoke kernel-smoke ## everything: check, unit, packet, bench-smoke, kernel-smoke (this is what CI runs)

.PHONY: check
check: $(STATICCHECK) generate-check ## gofmt, go vet, staticcheck, generated files, the peers' build
	@.ci/check $(STATICCHECK)

.PHONY: unit
unit: ## unit, golden, property and fuzz-seed tests, with the race detector where there is a C compiler
	@.ci/unit

.PHONY: packet
packet: ## packet-level tests on real Open vSwitch; needs root
	@.ci/packet

.PHONY: kernel-smoke
kernel-smoke: ## a few packet-level tests on the kernel's datapath, in a virtual machine; needs root and qemu
	@.ci/kernel smoke

.PHONY: test-kernel
test-kernel: ## packet-level tests on the kernel's datapath, in a machine of Debian's SUITE (bookworm; trixie), RUN=PACKAGE for one package; needs root and qemu
	@.ci/kernel -s $(SUITE) $(RUN)

.PHONY: test-reboot
test-reboot: ## cut the power of a hypervisor (a virtual machine of Debian's SUITE) and see that it comes back by itself; needs root and qemu
	@.ci/reboot $(SUITE)

.PHONY: kernel-image
kernel-image: ## build the machine of make test-kernel for SUITE into bin/kernel (from Debian packages, none is installed)
	@.ci/kernel-image $(SUITE)

.PHONY: datapaths
datapaths: ## try what the datapaths of this machine do, into docs/reference/datapaths.md; needs root
	.ci/isolated go test -count=1 -timeout 20m -run '^TestReportsHold$$' ./datapath/probe -update
	go generate ./docs/datapaths

.PHONY: fuzz
fuzz: ## fuzz every decoder and parser for FUZZTIME (10s) each
	@.ci/fuzz $(FUZZTIME)

.PHONY: differential
differential: ## compare the interpreter with Open vSwitch on TRACES (100000) random packets and a fifth as many real frames
	.ci/isolated go test -count=1 -v -timeout 60m -run OpenVSwitch ./flows/trace -seed 0 -traces $(TRACES) -frames $$(($(TRACES) / 5))

.PHONY: test-versions
test-versions: ## run the tests of real switches against Debian 13's Open vSwitch 3.5 in a root of its own (TESTS=PATTERN or smoke: some); needs root
	@.ci/versions "$(TESTS)"

.PHONY: churn
churn: ## change a lab with real switches at random in STEPS (10000) steps, while all ports send; needs root
	.ci/isolated go test -count=1 -v -timeout 120m -run '^TestChurn$$' ./cmd/ofctl-lab/e2e -churn.steps $(STEPS)

.PHONY: bench
bench: build bench-deps ## measure BENCH (all, or names) beside the peers into bench/results and docs/benchmarks.md; needs root
	@.ci/bench $(BENCH)

.PHONY: bench-deps
bench-deps: guest-image ## install the peers (Debian packages, and modules; no service is started or enabled) and qemu
	@.ci/deps lab vm bench
	@.ci/peer-modules

.PHONY: bench-docs
bench-docs: ## write docs/benchmarks.md and the plots again from bench/results
	go generate ./bench/results

.PHONY: bench-smoke
bench-smoke: build ## run every benchmark once at its smallest size; needs root
	@.ci/bench-smoke

.PHONY: generate
generate: ## write the generated files again
	go generate ./...

.PHONY: generate-check
generate-check: ## fail when a generated file is not what make generate writes
	@.ci/generate-check

.PHONY: fmt
fmt: ## format the Go code
	gofmt -w $$(.ci/go-files)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

$(STATICCHECK):
	GOBIN=$(abspath $(@D)) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
