# The front door. `make demo` shows it, `make test` checks it; both install what is missing first.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fledermaus
IMAGE := $(CACHE)/image
PI3_IMAGE := $(CACHE)/image-pi3
NODE_TARGET := aarch64-unknown-linux-musl
NODE_PROGRAMS := target/$(NODE_TARGET)/node
FLEDERMAUS := target/release/fledermaus

.PHONY: demo test checks deps build image image-pi3 packages clean

demo: image
	$(FLEDERMAUS) lab demo --image "$(IMAGE)"

test: image image-pi3 checks
	scripts/fuzz 5
	FLEDERMAUS_IMAGE="$(IMAGE)" FLEDERMAUS_PI3_IMAGE="$(PI3_IMAGE)" scripts/run-tests

# What needs no emulator.
checks:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo xtask tidy

deps:
	scripts/install-deps

build: deps
	cargo build --profile node --target $(NODE_TARGET) -p init -p agent
	cargo build --release -p cli

# Composing again what is there already costs a second: the kitchen compares what went in.
image: build
	$(FLEDERMAUS) image build --recipe example/image.toml --programs "$(NODE_PROGRAMS)" --out "$(IMAGE)"

# The same with firmware, for the emulated Pi 3: its ROM has nothing else to start.
image-pi3: build
	$(FLEDERMAUS) image build --recipe crates/cli/tests/emulated/image.toml --programs "$(NODE_PROGRAMS)" --out "$(PI3_IMAGE)"

# What users install, in target/dist: static programs for x86-64 and arm64, and Debian packages of them.
packages:
	scripts/install-deps packages
	cargo build --release --target x86_64-unknown-linux-musl -p cli
	cargo build --release --target $(NODE_TARGET) -p cli
	cargo xtask dist

clean:
	cargo clean
	rm -rf "$(CACHE)"
