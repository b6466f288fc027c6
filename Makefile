# The front door. `make demo` shows it, `make test` checks it; both install what is missing first.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fledermaus
IMAGE := $(CACHE)/image
PI3_IMAGE := $(CACHE)/image-pi3
NODE_TARGET := aarch64-unknown-linux-musl
NODE_PROGRAMS := target/$(NODE_TARGET)/node
FLEDERMAUS := target/release/fledermaus

# What the tests boot, composed by the program that they test: a release build of it would take minutes more.
TESTED := target/debug/fledermaus

# $(call compose,PROGRAM,RECIPE,DIRECTORY). Composing again what is there already costs a second: the kitchen compares what went in.
compose = $(1) image build --recipe $(2) --programs "$(NODE_PROGRAMS)" --out "$(3)"
RECIPE := example/image.toml
# With firmware, for the emulated Pi 3: its ROM has nothing else to start.
PI3_RECIPE := crates/cli/tests/emulated/image.toml

.PHONY: demo test checks deps test-deps build node-programs image image-pi3 packages clean

demo: image
	$(FLEDERMAUS) lab demo --image "$(IMAGE)"

test: test-deps node-programs checks
	scripts/fuzz 5
	cargo test --workspace --no-run
	$(call compose,$(TESTED),$(RECIPE),$(IMAGE))
	$(call compose,$(TESTED),$(PI3_RECIPE),$(PI3_IMAGE))
	FLEDERMAUS_IMAGE="$(IMAGE)" FLEDERMAUS_PI3_IMAGE="$(PI3_IMAGE)" scripts/run-tests

# What needs no emulator.
checks:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo xtask tidy

deps:
	scripts/install-deps build

# Browser, database, foreign servers and firmware.
test-deps:
	scripts/install-deps

node-programs: deps
	cargo build --profile node --target $(NODE_TARGET) -p init -p agent

build: node-programs
	cargo build --release -p cli

image: build
	$(call compose,$(FLEDERMAUS),$(RECIPE),$(IMAGE))

image-pi3: build
	$(call compose,$(FLEDERMAUS),$(PI3_RECIPE),$(PI3_IMAGE))

# What users install, in target/dist: static programs for x86-64 and arm64, and Debian packages of them.
packages:
	scripts/install-deps packages
	cargo build --profile node --target $(NODE_TARGET) -p init -p agent
	cargo build --release --target x86_64-unknown-linux-musl -p cli
	cargo build --release --target $(NODE_TARGET) -p cli
	cargo xtask dist

clean:
	cargo clean
	rm -rf "$(CACHE)"
