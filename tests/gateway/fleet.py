"""Two processes of each service, as the chart runs them, and clients that read, write and watch them through a gateway."""
import collections, http.server, itertools, os, pathlib, re, signal, socket, subprocess, threading, time, uuid

from world import ROOT, SERVICES, free_ports, http as get, until
import grpc
from aopre.warranty.v1 import claim_pb2, claim_pb2_grpc, coverage_pb2, coverage_pb2_grpc, logistics_pb2_grpc, registry_pb2, registry_pb2_grpc, stock_pb2, types_pb2


def chart(name):
    """A number of the chart's values."""
    return re.search(rf"^{name}: (\d+)$", (ROOT / "helm/values.yaml").read_text(), re.M)[1]


class Process:
    """One process of a service."""

    def __init__(self, world, service, number, port, jwks):
        self.service, self.port = service, port
        self.name = f"{service}-{number}"
        self.ready = f"http://127.0.0.1:{port + 1}/readyz"
        issuer = f"http://127.0.0.1:{world.port}"
        self.command = [world.binary, service, "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{port + 1}"]
        self.command += ["--issuer", issuer, "--jwks", f"{jwks}/{self.name}" if jwks else f"{issuer}/jwks.json"]
        self.environment = os.environ | {
            "DATABASE_URL": world.database,
            "WARRANTY_POOL_SIZE": "8",
            "WARRANTY_EVIDENCE": str(world.data / "evidence"),
            "WARRANTY_LAME_DUCK": chart("lameDuckSeconds") + "s",
            "WARRANTY_DRAIN": chart("drainSeconds") + "s",
        }
        self.log = world.data / f"{self.name}.log"
        self.start()

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment)
        until(lambda: get(self.ready)[0] == 200)

    def stop(self):
        """SIGTERM; the exit code once it has ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Fleet:
    """Two of each, behind a gateway of their own."""

    def __init__(self, world, jwks=None, **gateway):
        ports = iter(range(free_ports(12), 1 << 16, 2))
        keys = jwks and f"http://127.0.0.1:{jwks}"
        self.processes = [Process(world, service, number, next(ports), keys) for service in SERVICES for number in (1, 2)]
        self.backends = {service: [one.port for one in self.processes if one.service == service] for service in SERVICES}
        self.gateway = world.another(**self.backends, rate=100000, **({"jwks": jwks} if jwks else {}), **gateway)
        for service in SERVICES:
            until(lambda: self.healthy(service) == 2)

    def healthy(self, service):
        return self.gateway.stat(f"cluster.{service}.membership_healthy")

    def taken(self, process):
        """Calls that the gateway sent to a process."""
        text = get(f"{self.gateway.admin}/clusters")[2]
        return int(re.search(rf"^{process.service}::127\.0\.0\.1:{process.port}::rq_total::(\d+)$", text, re.M)[1])

    def stop(self):
        for process in self.processes:
            if process.process.poll() is None:
                process.process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.process.wait(60)


class Service:
    """In front of gateways what Kubernetes' Service is: each new connection goes to one that is listed, and stays there."""

    def __init__(self, *gateways):
        self.gateways, self.turn = list(gateways), itertools.count()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            client = listener.accept()[0]
            gateway = self.gateways[next(self.turn) % len(self.gateways)]
            server = socket.create_connection(("127.0.0.1", gateway.port))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # The other way has ended: so does this.
            source.close()
            sink.close()


class Keys(http.server.BaseHTTPRequestHandler):
    """An issuer's keys over HTTP; tells which path was asked since they last changed."""

    published, asked = b'{"keys": []}', set()

    def do_GET(self):
        body = Keys.published
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if body == Keys.published:
            Keys.asked.add(self.path)

    def log_message(self, *_):
        pass

    @classmethod
    def serve(cls):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), cls)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    @classmethod
    def publish(cls, body):
        cls.published, cls.asked = body, set()


def sold_units(world, prefix, count):
    """Registers units and D1001's sales of them; gives the serials."""
    serials = [f"{prefix}{number:06}" for number in range(count)]
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400 * 30))
    units, sales = world.data / f"{prefix}-units.csv", world.data / f"{prefix}-sales.csv"
    units.write_text("serial,model,manufactured_date,ex_factory_date,sold_by_maker\n" + "".join(f"{s},AOP-PS-0804,{today},{today},true\n" for s in serials))
    sales.write_text("serial,dealer_id,sold_date,invoice_number\n" + "".join(f"{s},D1001,{today},FP{s}\n" for s in serials))
    addresses = ["--as", "registry", "--coverage-address", f"http://127.0.0.1:{world.port + 1}", "--issuer-url", f"http://127.0.0.1:{world.port}"]
    for kind, path in ("units", units), ("sales", sales):
        subprocess.run([world.binary, "import", kind, str(path), *addresses], check=True, capture_output=True)
    return serials


class Load:
    """Clients of a gateway, each with a connection of its own, at work until `stop`. No call is tried again by them. `token(kind)` is
    asked before each call. `ended` counts how calls ended, by method and code; `failures` has what was not OK."""

    def __init__(self, gateway, token, serials):
        self.gateway, self.token = gateway, token
        self.unclaimed, self.serials = collections.deque(serials), serials
        self.ended, self.failures = collections.Counter(), collections.Counter()
        self.filed, self.watched, self.reopened = [], [], 0
        self.stopped = threading.Event()
        work = [self.check, self.check, self.file, self.file, self.get, self.product, self.location, self.locations]
        self.threads = [threading.Thread(target=self.loop, args=(one,), daemon=True) for one in work]
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watching = threading.Event()
        self.watcher.start()
        assert self.watching.wait(20), self.failures
        for thread in self.threads:
            thread.start()

    def calls(self):
        return self.ended.total()

    def call(self, method, request, kind):
        """The answer; None where it failed."""
        name = type(request).__name__.removesuffix("Request")
        try:
            answer = method(request, metadata=self.bearer(kind), timeout=20)
        except grpc.RpcError as error:
            self.failed(name, error)
            return None
        self.ended[name, "OK"] += 1
        return answer

    def failed(self, name, error):
        self.ended[name, error.code().name] += 1
        self.failures[name, error.code().name, error.details()] += 1

    def bearer(self, kind):
        return (("authorization", f"Bearer {self.token(kind)}"),)

    def loop(self, work):
        with self.gateway.channel() as channel:
            step = work(channel)
            while not self.stopped.is_set():
                step()
                # A client's own pace: the machine is shared with what is measured.
                self.stopped.wait(0.01)

    def check(self, channel):
        method = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage
        return lambda: self.call(method, coverage_pb2.CheckCoverageRequest(serial=self.serials[self.calls() % len(self.serials)]), "dealer")

    def file(self, channel):
        method = claim_pb2_grpc.ClaimServiceStub(channel).FileClaim

        def step():
            report = types_pb2.FaultReport(fault_code="NO_POWER")
            customer = types_pb2.Customer(customer_id="00000000-0000-4000-8000-000000000001")
            request = claim_pb2.FileClaimRequest(request_id=str(uuid.uuid4()), serial=self.unclaimed.popleft(), report=report, customer=customer)
            if answer := self.call(method, request, "dealer"):
                self.filed.append(answer.claim.claim_id)

        return step

    def get(self, channel):
        method = claim_pb2_grpc.ClaimServiceStub(channel).GetClaim
        return lambda: self.filed and self.call(method, claim_pb2.GetClaimRequest(claim_id=self.filed[-1]), "dealer")

    def product(self, channel):
        method = registry_pb2_grpc.RegistryServiceStub(channel).CreateProduct

        def step():
            id = uuid.uuid4()
            product = registry_pb2.Product(model=f"M-{id.hex[:12].upper()}", product_type=types_pb2.PRODUCT_TYPE_POE_SWITCH)
            self.call(method, registry_pb2.CreateProductRequest(request_id=str(id), product=product), "registry")

        return step

    def location(self, channel):
        method = logistics_pb2_grpc.LogisticsServiceStub(channel).PutStockLocation
        location = stock_pb2.StockLocation(location="SHELF-1", name="a shelf")
        return lambda: self.call(method, stock_pb2.PutStockLocationRequest(request_id=str(uuid.uuid4()), location=location), "depot")

    def locations(self, channel):
        method = logistics_pb2_grpc.LogisticsServiceStub(channel).ListStockLocations
        return lambda: self.call(method, stock_pb2.ListStockLocationsRequest(), "depot")

    def watch(self):
        """Goes on from the last cursor where a stream ends, as the contract says."""
        cursor = ""
        with self.gateway.channel() as channel:
            method = claim_pb2_grpc.ClaimServiceStub(channel).WatchClaims
            while not self.stopped.is_set():
                began = False
                stream = method(claim_pb2.WatchClaimsRequest(cursor=cursor), metadata=self.bearer("dealer"))
                self.stream = stream
                try:
                    for told in stream:
                        began, cursor = True, told.cursor
                        self.watching.set()
                        if told.event.type == claim_pb2.CLAIM_EVENT_TYPE_FILED:
                            self.watched.append(told.claim_id)
                except grpc.RpcError as error:
                    if self.stopped.is_set():
                        return
                    if not began or error.code() != grpc.StatusCode.UNAVAILABLE:
                        self.failed("WatchClaims", error)
                self.reopened += 1

    def stop(self):
        """Ends the clients; the watcher when it was told of all that was filed."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        try:
            until(lambda: len(self.watched) >= len(self.filed))
        finally:
            self.stream.cancel()
            self.watcher.join()
