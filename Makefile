# Two commands: `make up` runs the whole system on this machine, `make test` checks everything.
# Rust is presumed; what else is missing is installed, as root or through sudo.

BUF_VERSION := 1.75.0
BUF := target/tools/bin/buf

.PHONY: up test test-web simulation lint deps
.DEFAULT_GOAL := up

up: deps
	cargo build --locked
	target/debug/warranty up

test: deps lint
	cargo test --locked

# Random lives of claims under failures, beside a model; `make test` runs a shorter one.
simulation: deps
	SIMULATION_ACTIONS=$${SIMULATION_ACTIONS:-10000} cargo test --locked --test it simulation:: -- --nocapture

# The customer's page in real Chromium against the services; its screenshots go to target/web.
test-web: deps
	@missing=''; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	fc-list :lang=zh 2>/dev/null | grep -q . || missing="$$missing fontconfig fonts-wqy-microhei"; \
	$(install)
	cargo build --locked
	cd web && npm ci --ignore-scripts --no-audit --no-fund && npm test

lint: $(BUF)
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	$(BUF) lint proto
	$(BUF) format --diff --exit-code proto

# PostgreSQL, and a C compiler for the cryptography.
deps:
	@missing=''; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$$missing postgresql"; \
	command -v cc >/dev/null || missing="$$missing build-essential"; \
	$(install)

# buf comes as a Python package; it lives in an environment of its own under target/.
$(BUF): Makefile
	@missing=''; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing=' python3-venv'; \
	$(install)
	python3 -m venv target/tools
	target/tools/bin/pip install --quiet --disable-pip-version-check buf-bin==$(BUF_VERSION)
	@touch $@

define install
[ -z "$$missing" ] && exit 0; \
if [ "$$(id -u)" = 0 ]; then sudo=''; \
elif sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then sudo='sudo'; \
else echo "Please install these Debian packages, then run make again:$$missing" >&2; exit 1; fi; \
command -v apt-get >/dev/null || { echo "Please install what these Debian packages hold, then run make again:$$missing" >&2; exit 1; }; \
echo "installing:$$missing"; \
$$sudo env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && apt-get install -qq -y --no-install-recommends $$missing" </dev/null
endef
