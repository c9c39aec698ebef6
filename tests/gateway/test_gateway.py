"""The gateway's promises, each against the real Envoy: by grpcio (C core), by JSON, and by connect-web in Chromium."""
import collections, json, os, random, re, signal, socket, ssl, statistics, struct, subprocess, threading, time, unittest, uuid

from world import ROOT, Backend, World, away, http, until  # noqa: I001 (makes the contracts' modules)
from fleet import sold_units
import grpc, yaml
from aopre.warranty.v1 import claim_pb2, claim_pb2_grpc, coverage_pb2, coverage_pb2_grpc, logistics_pb2, registry_pb2, registry_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

world = None


def setUpModule():
    global world
    world = World()


def tearDownModule():
    world.stop()


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


def details(error):
    """What the status of a refused call holds, by type."""
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()} {error.details()} has no details"
    found = {}
    for any in status.details:
        message = getattr(error_details_pb2, any.TypeName().rsplit(".")[-1])()
        any.Unpack(message)
        found[type(message).__name__] = message
    return found


class Case(unittest.TestCase):
    def refused(self, code, reason, call, *arguments, **named):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **named)
        error = caught.exception
        self.assertEqual(error.code(), code, error.details())
        if reason:
            info = details(error)["ErrorInfo"]
            self.assertEqual((info.reason, info.domain), (reason, "warranty.aopre.com"))
        return error

    def check(self, gateway, token, metadata=(), **named):
        with gateway.channel() as channel:
            stub = coverage_pb2_grpc.CoverageServiceStub(channel)
            request = coverage_pb2.CheckCoverageRequest(serial=world.serial)
            return stub.CheckCoverage(request, metadata=bearer(token) + tuple(metadata), timeout=20, **named)


class Tokens(Case):
    def test_a_good_token_passes_and_the_service_answers(self):
        self.assertEqual(self.check(world.gateway, world.token()).serial, world.serial)

    def test_no_token_expired_unsigned_and_of_another_audience_are_refused(self):
        good = world.token()
        header, claims, signature = good.split(".")
        unsigned = "eyJhbGciOiJub25lIn0." + claims + "."
        bad = {
            "unsigned": unsigned,
            "expired": world.token(exp=int(time.time()) - 60),
            "audience": world.token(aud="another"),
            "issuer": world.token(iss="https://another"),
            "broken": ".".join([header, claims, signature[:-4] + "AAAA"]),
        }
        for name, token in bad.items():
            with self.subTest(name):
                self.refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REFUSED", self.check, world.gateway, token)
                status, _, body = world.gateway.json("GET", "/v1/claims", token=token)
                self.assertEqual((status, body["code"], body["details"][0]["reason"]), (401, 16, "TOKEN_REFUSED"))
        with world.gateway.channel() as channel:
            stub = coverage_pb2_grpc.CoverageServiceStub(channel)
            self.refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REFUSED", stub.CheckCoverage, coverage_pb2.CheckCoverageRequest(), timeout=20)

    def test_the_service_judges_again(self):
        # Scopes are none of the gateway's business.
        token = world.token(scope="claims.read")
        self.refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING", self.check, world.gateway, token)


class Reach(Case):
    def test_reflection_health_and_admin_have_no_route(self):
        token = bearer(world.token("support"))
        with world.gateway.channel() as channel:
            health = health_pb2_grpc.HealthStub(channel)
            self.refused(grpc.StatusCode.UNIMPLEMENTED, None, health.Check, health_pb2.HealthCheckRequest(), metadata=token, timeout=20)
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            self.refused(grpc.StatusCode.UNIMPLEMENTED, None, list, reflection.ServerReflectionInfo(asked, metadata=token, timeout=20))
        for path in ["/stats", "/readyz", "/livez", "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"]:
            self.assertEqual(world.gateway.json("GET", path, token=world.token())[0], 404)

    def test_healthz_needs_no_token(self):
        self.assertEqual(world.gateway.json("GET", "/healthz")[0], 200)


    def test_the_page_needs_no_token_and_nothing_beside_it_is_had(self):
        status, headers, body = world.gateway.json("GET", "/", headers={"accept-encoding": "gzip"})
        self.assertEqual((status, headers["content-type"], body[:15]), (200, "text/html; charset=utf-8", "<!doctype html>"))
        self.assertEqual((headers["content-encoding"], headers["cache-control"], headers["x-content-type-options"]), ("gzip", "no-cache", "nosniff"))
        self.assertEqual(headers["content-security-policy"], "frame-ancestors 'none'")
        status, headers, body = world.gateway.json("GET", "/main.js", headers={"accept-encoding": "gzip", "range": "bytes=0-1"})
        self.assertEqual((status, headers["content-type"], headers["content-encoding"], body[:7]), (200, "text/javascript", "gzip", "// page"))
        self.assertEqual(world.gateway.json("POST", "/main.js", {})[0], 405)
        self.assertEqual(world.gateway.json("GET", "/none.js")[0], 404)
        for path in ["/../beside.html", "/%2e%2e/beside.html", "/..%2fbeside.html", "//../beside.html", "/page/../../beside.html", "/.index.html"]:
            with self.subTest(path):
                self.assertIn(world.gateway.json("GET", path)[0], (400, 401, 404))


    def test_the_page_is_loaded_so_often_by_one_address(self):
        gateway = world.another()
        load = ["h2load", "-n", "400", "-c", "1", "-m", "20", "-H", "accept-encoding: gzip", gateway.url + "/main.js"]
        told = subprocess.run(load, check=True, capture_output=True, text=True).stdout
        served, refused = (int(re.search(rf"(\d+) {codes}", told)[1]) for codes in ("2xx", "4xx"))
        self.assertEqual((served + refused, served >= 200, refused > 0), (400, True, True), told)
        self.assertEqual(gateway.json("GET", "/healthz")[0], 200)


class Connections(Case):
    def test_whoever_connects_and_says_nothing_stops_no_probe_and_leaves(self):
        gateway = world.another(connections=20)
        silent = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(25)]
        for one in silent:
            self.addCleanup(one.close)
        until(lambda: gateway.stat("http.ingress.downstream_cx_active") >= 20 or gateway.stat("listener.127.0.0.1_%d.downstream_global_cx_overflow" % gateway.port))
        operations = f"http://127.0.0.1:{gateway.port + 2}/ready"
        self.assertEqual(http(operations)[0], 200)
        # They are closed, and whoever has something to say is heard.
        for one in silent:
            one.settimeout(15)
            self.assertEqual(one.recv(1), b"")
        self.assertEqual(gateway.json("GET", "/healthz")[0], 200)


class Headers(Case):
    def test_what_outsiders_say_of_themselves_does_not_reach_a_service(self):
        backend = Backend(lambda context: b"")
        gateway = world.another(coverage=[backend.port])
        callers = ["x-jwt-payload", "x-user", "x-dealer-id", "x-customer-id", "x-staff-id", "x-forwarded-client-cert"]
        envoys = ["retry-on", "retry-grpc-on", "max-retries", "upstream-rq-timeout-ms", "upstream-rq-per-try-timeout-ms", "hedge-on-per-try-timeout",
                  "original-path", "original-host", "internal", "external-address", "upstream-alt-stat-name", "decorator-operation", "force-trace"]
        dropped = [*callers, *(f"x-envoy-{name}" for name in envoys), "forwarded", "baggage", "x-forwarded-host", "x-client-trace-id"]
        forged = dict.fromkeys(dropped, "1") | {
            "x-forwarded-for": "10.0.0.1", "x-forwarded-proto": "gopher", "x-request-id": "mine",
            "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "tracestate": "v=1",
        }
        self.check(gateway, world.token(), forged.items())
        seen = backend.metadata[0]
        self.assertEqual([name for name in dropped if seen.get(name) == "1"], [])
        self.assertEqual(seen["x-forwarded-proto"], "https")
        # The address, the trace and the request's id are the gateway's.
        self.assertNotIn("10.0.0.1", seen["x-forwarded-for"])
        self.assertEqual(seen["tracestate"], "")
        self.assertNotEqual(seen["x-request-id"], "mine")
        self.assertNotIn("a" * 32, seen["traceparent"])
        self.assertEqual(seen["authorization"][:7], "Bearer ")


class Sizes(Case):
    def test_too_large_a_request_is_refused(self):
        token = world.token("registry")
        with world.gateway.channel() as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            request = registry_pb2.PublishPolicyRequest(request_id=str(uuid.uuid4()), document="x" * (6 << 20))
            self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE", stub.PublishPolicy, request, metadata=bearer(token), timeout=20)
        status, _, body = world.gateway.json("POST", "/v1/policies", {"document": "x" * (6 << 20)}, token)
        self.assertEqual(status, 413, body)
        self.assertEqual(world.gateway.json("GET", "/v1/claims", token=token, headers={"x-long": "y" * 20_000})[0], 431)

    def test_slow_headers_and_slow_bodies_are_cut_off(self):
        def trickle(first, each):
            """Sends `first`, then a byte again and again; tells when the gateway answered, and what."""
            context = ssl.create_default_context(cafile=world.cafile)
            with socket.create_connection(("127.0.0.1", world.gateway.port)) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
                line.settimeout(0.5)
                began = time.monotonic()
                line.sendall(first)
                while time.monotonic() - began < 30:
                    try:
                        return time.monotonic() - began, line.recv(100).decode()
                    except TimeoutError:
                        line.sendall(each)
            return None

        took, answer = trickle(b"GET /v1/claims HTTP/1.1\r\nhost: gateway\r\n", b"x")
        self.assertTrue(4 < took < 8, took)
        self.assertIn("408", answer)
        head = f"POST /v1/coverage:check HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: 9000\r\nauthorization: Bearer {world.token()}\r\n\r\n"
        took, answer = trickle(head.encode() + b'{"serial":"', b"x")
        self.assertTrue(9 < took < 16, took)
        self.assertRegex(answer, "HTTP/1.1 (408|504)")


    def test_a_service_that_does_not_answer_is_given_up(self):
        over = threading.Event()
        self.addCleanup(over.set)
        backend = Backend(lambda context: over.wait(40) and b"")
        gateway = world.another(coverage=[backend.port])
        token = bearer(world.token())
        with gateway.channel() as channel:
            call = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage
            began = time.monotonic()
            # Without a deadline of the caller's: 12 seconds, and no second try after them.
            self.refused(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE", call, coverage_pb2.CheckCoverageRequest(), metadata=token)
            self.assertTrue(11 < time.monotonic() - began < 15)
        self.assertEqual(backend.calls["CheckCoverage"], 1)
        began = time.monotonic()
        status, _, body = gateway.json("POST", "/v1/coverage:check", {"serial": world.serial}, world.token(), {"grpc-timeout": "1S"})
        self.assertEqual((status, body["code"], body["details"][0]["reason"]), (504, 4, "DEADLINE"))
        self.assertTrue(0.9 < time.monotonic() - began < 4)


class Limits(Case):
    def faults(self, gateway, dealer):
        with gateway.channel() as channel:
            call = claim_pb2_grpc.ClaimServiceStub(channel).ListFaults
            return call.with_call(claim_pb2.ListFaultsRequest(), metadata=bearer(world.token(id=dealer)), timeout=20)

    def test_a_dealers_quota_of_a_method_is_told_and_kept_and_nobody_elses(self):
        told = []
        for left in [4, 3, 2, 1, 0]:
            _, call = self.faults(world.gateway, "D1003")
            headers = dict(call.initial_metadata())
            # Not told where counting took longer than the gateway waits.
            if "x-ratelimit-limit" in headers:
                told.append((left, headers))
        self.assertTrue(told)
        for left, headers in told:
            self.assertIn("5;w=3600", headers["x-ratelimit-limit"])
            self.assertEqual(headers["x-ratelimit-remaining"], str(left))
            self.assertLessEqual(int(headers["x-ratelimit-reset"]), 3600)

        def over():
            try:
                self.faults(world.gateway, "D1003")
            except grpc.RpcError as refused:
                return refused

        # A call passes where counting took longer than the gateway waits.
        error = until(over)
        self.assertEqual((error.code(), details(error)["ErrorInfo"].reason), (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"))
        told = details(error)
        self.assertTrue(0 < told["RetryInfo"].retry_delay.seconds <= 3600)
        self.assertEqual([violation.subject for violation in told["QuotaFailure"].violations], ["dealer/D1003"])
        self.assertEqual(told["ErrorInfo"].metadata["limit"], "5 calls of this hour")
        self.assertEqual(told["ErrorInfo"].metadata["caller"], "dealer/D1003")

        def over_by_json():
            answer = world.gateway.json("GET", "/v1/faults", token=world.token(id="D1003"))
            return answer[0] == 429 and answer

        status, headers, body = until(over_by_json)
        self.assertEqual((status, body["code"], body["details"][0]["reason"]), (429, 8, "RATE_LIMITED"))
        self.assertGreater(int(headers["retry-after"]), 0)
        self.assertEqual(body["details"][1]["retryDelay"], headers["retry-after"] + "s")
        self.faults(world.gateway, "D1004")
        # Another method of the same dealer is not touched.
        self.check(world.gateway, world.token(id="D1003"))

    def test_a_quota_that_is_used_up_refuses_at_any_speed_and_by_any_address_of_the_method(self):
        gateway = world.another(rate=100000)
        ends = collections.Counter()
        with gateway.channel() as channel:
            for path in ["ListFaults", "ListFaults?x", "ListFaults?/CheckCoverage"]:
                call = channel.unary_unary(f"/aopre.warranty.v1.ClaimService/{path}")
                for _ in range(100):
                    try:
                        call(b"", metadata=bearer(world.token(id="D1005")), timeout=20)
                        ends[path, "OK"] += 1
                    except grpc.RpcError as error:
                        ends[path, error.code().name] += 1
        passed = sum(count for (_, code), count in ends.items() if code != "RESOURCE_EXHAUSTED")
        # Five, and what the gateway's patience cost on a busy machine.
        self.assertLess(passed, 15, ends)

    def test_the_count_is_in_the_database(self):
        import psycopg

        self.faults(world.gateway, "D1002")

        def counted():
            with psycopg.connect(world.database) as connection:
                row = connection.execute("SELECT sum(calls) FROM rate_counters WHERE caller = 'dealer/D1002' AND method = 'ListFaults'").fetchone()
                return row[0]

        self.assertEqual(until(counted), 1)

    def test_a_burst_is_refused_at_once_and_another_dealers_is_not(self):
        gateway = world.another(rate=20)
        ends = []
        with gateway.channel() as channel:
            call = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage
            token = bearer(world.token())
            calls = [call.future(coverage_pb2.CheckCoverageRequest(serial=world.serial), metadata=token, timeout=20) for _ in range(60)]
            for one in calls:
                ends.append(one.code())
            refused = next(one for one in calls if one.code() != grpc.StatusCode.OK)
        self.assertGreaterEqual(ends.count(grpc.StatusCode.OK), 20)
        self.assertGreater(ends.count(grpc.StatusCode.RESOURCE_EXHAUSTED), 0)
        self.assertEqual(set(ends), {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED})
        told = details(refused)
        self.assertEqual((told["ErrorInfo"].reason, told["RetryInfo"].retry_delay.seconds), ("RATE_LIMITED", 1))
        self.check(gateway, world.token(id="D1002"))

    def test_calls_pass_where_nobody_counts_and_soon(self):
        silent = socket.create_server(("127.0.0.1", 0))  # takes connections and never answers
        self.addCleanup(silent.close)
        for port in [1, silent.getsockname()[1]]:
            gateway = world.another(ratelimit=port)
            token = world.token()
            with gateway.channel() as channel:
                call = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage
                times = []
                for _ in range(20):
                    began = time.monotonic()
                    call(coverage_pb2.CheckCoverageRequest(serial=world.serial), metadata=bearer(token), timeout=20)
                    times.append(time.monotonic() - began)
            # 20 ms of waiting at most, and the call itself.
            self.assertLess(statistics.median(times), 0.06)

    def test_one_dealers_flood_leaves_another_its_p99(self):
        gateway = world.another()

        def times(seconds):
            took = []
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.monotonic()
                call(coverage_pb2.CheckCoverageRequest(serial=world.serial), metadata=token, timeout=20)
                took.append((time.monotonic() - began) * 1000)
                # At any moment, or the two would go in step.
                time.sleep(random.expovariate(100))
            return took

        # By a client that needs little of the machine that it shares with what is measured: seven times what is let through.
        message = coverage_pb2.CheckCoverageRequest(serial=world.serial).SerializeToString()
        (world.data / "flood").write_bytes(struct.pack(">BI", 0, len(message)) + message)
        command = ["h2load", "-c", "1", "-m", "16", "-t", "1", "--rps", "700", "-D", "60", "-d", str(world.data / "flood")]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", f"authorization: Bearer {world.token()}"]
        taken = lambda: [gateway.stat(name) for name in ("cluster.coverage.upstream_rq_total", "burst.http_local_rate_limit.rate_limited")]  # noqa: E731
        with gateway.channel() as channel:
            call, token = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage, bearer(world.token(id="D1002"))
            before, quiet, flooded = taken(), [], []
            # By turns: what else this machine does meets both.
            for _ in range(6):
                times(0.3)
                quiet += times(2)
                flood = subprocess.Popen([*command, f"{gateway.url}/aopre.warranty.v1.CoverageService/CheckCoverage"], stdout=subprocess.DEVNULL)
                self.addCleanup(flood.kill)
                times(0.3)
                flooded += times(2)
                self.assertIsNone(flood.poll())
                flood.kill()
                flood.wait()
        passed, refused = (after - before for before, after in zip(before, taken()))
        p50, p99 = ([sorted(some)[int(len(some) * part)] for some in (quiet, flooded)] for part in (0.5, 0.99))
        print(f"\nflood in 12 s: {refused} refused, {passed} passed, the other's among them; another dealer, quiet of {len(quiet)}: p50 {p50[0]:.1f} ms, p99 {p99[0]:.1f} ms; flooded of {len(flooded)}: p50 {p50[1]:.1f} ms, p99 {p99[1]:.1f} ms")
        self.assertGreater(refused, 2 * passed)
        self.assertLess(p99[1], 2 * p99[0])


class Failures(Case):
    def test_reads_are_tried_again_and_writes_are_not(self):
        backend = Backend(away)
        gateway = world.another(coverage=[backend.port])
        self.refused(grpc.StatusCode.UNAVAILABLE, None, self.check, gateway, world.token())
        with gateway.channel() as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            request = registry_pb2.RegisterSaleRequest(serial=world.serial)
            self.refused(grpc.StatusCode.UNAVAILABLE, None, stub.RegisterSale, request, metadata=bearer(world.token()), timeout=20)
        self.assertEqual(backend.calls, {"CheckCoverage": 3, "RegisterSale": 1})

    def test_every_read_has_a_route_that_repeats_it_and_no_write_has(self):
        routes = yaml.safe_load((world.data / "gateway/envoy.yaml").read_text())
        manager = routes["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        routes = [route for route in manager["route_config"]["virtual_hosts"][0]["routes"] if "route" in route]
        seen = collections.Counter()
        for file in [claim_pb2, coverage_pb2, logistics_pb2, registry_pb2]:
            for service in file.DESCRIPTOR.services_by_name.values():
                for method in service.methods:
                    path = f"/{service.full_name}/{method.name}"
                    route = next(route for route in routes if re.fullmatch(route["match"]["safe_regex"]["regex"], path))
                    stream = method.client_streaming or method.server_streaming
                    kind = "stream" if stream else "read" if method.name.startswith(("Get", "List", "Check", "BatchCheck", "Preview", "Export")) else "write"
                    with self.subTest(path):
                        self.assertEqual("retry_policy" in route["route"], kind == "read")
                        self.assertEqual("typed_per_filter_config" in route, kind == "stream")
                        # A write that knows its second try has an id, but those whose second try says the same by itself.
                        self.assertFalse(kind == "read" and "request_id" in method.input_type.fields_by_name)
                    seen[kind] += 1
        print(f"\n{dict(seen)}")
        self.assertGreater(min(seen["read"], seen["write"], seen["stream"]), 3)

    def test_a_backend_that_fails_is_left_out_and_nobody_notices(self):
        backend = Backend(away)
        gateway = world.another(coverage=[backend.port, world.port + 1], rate=1000)
        token = world.token()
        until(lambda: self.check(gateway, token) and gateway.stat("cluster.coverage.outlier_detection.ejections_active") == 1)
        calls = backend.calls.total()
        for _ in range(20):
            self.check(gateway, token)
        self.assertEqual(backend.calls.total(), calls)

    def test_no_more_than_half_of_the_backends_are_left_out(self):
        gateway = world.another(coverage=[Backend(away).port, Backend(away).port], rate=1000)
        for _ in range(20):
            self.refused(grpc.StatusCode.UNAVAILABLE, None, self.check, gateway, world.token())
        self.assertEqual(gateway.stat("cluster.coverage.outlier_detection.ejections_active"), 1)

    def test_a_service_that_is_away_is_said_so(self):
        gateway = world.another(coverage=[1])
        error = self.refused(grpc.StatusCode.UNAVAILABLE, "SERVICE_AWAY", self.check, gateway, world.token())
        self.assertEqual(details(error)["RetryInfo"].retry_delay.nanos, 500_000_000)
        self.assertEqual(gateway.json("GET", f"/v1/units/{world.serial}", token=world.token())[0], 503)

    def test_a_drain_ends_what_is_in_flight_and_takes_nothing_new(self):
        arrived, go = threading.Event(), threading.Event()

        def slow(context):
            arrived.set()
            go.wait(20)
            return b""

        backend = Backend(slow)
        gateway = world.another(coverage=[backend.port])
        with gateway.channel() as channel:
            call = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage
            flight = call.future(coverage_pb2.CheckCoverageRequest(), metadata=bearer(world.token()), timeout=20)
            self.assertTrue(arrived.wait(10))
            gateway.post("/healthcheck/fail")
            self.assertEqual(gateway.json("GET", "/healthz")[0], 503)
            gateway.post("/drain_listeners?graceful")

            def closed():
                try:
                    socket.create_connection(("127.0.0.1", gateway.port), 1).close()
                except ConnectionRefusedError:
                    return True

            until(closed)
            go.set()
            self.assertIsNotNone(flight.result(timeout=20))


class Renewal(Case):
    def test_a_renewed_certificate_is_served_without_a_restart_or_a_failed_call(self):
        folder = world.data / "renewed"
        folder.mkdir()
        for name in ["tls.crt", "tls.key"]:
            (folder / name).symlink_to(f"..data/{name}")

        def make(name):
            made = folder / f"..{name}"
            made.mkdir()
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
            paths = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made / "tls.key"), "-out", str(made / "tls.crt")]
            subprocess.run(command + paths, check=True, capture_output=True)
            return (made / "tls.crt").read_text()

        def mount(name):
            """As the kubelet does it: one rename."""
            (folder / "..data_tmp").symlink_to(f"..{name}")
            os.rename(folder / "..data_tmp", folder / "..data")

        first, second = make("first"), make("second")
        make("broken")
        (folder / "..broken/tls.key").write_text((folder / "..first/tls.key").read_text())
        mount("first")
        gateway = world.another(tls=folder, rate=100000)
        (folder / "both.pem").write_text(first + second)
        gateway.cafile = str(folder / "both.pem")

        def served():
            return ssl.get_server_certificate(("127.0.0.1", gateway.port))

        self.assertEqual(served().strip(), first.strip())
        token, over, calls, failed = world.token(), threading.Event(), collections.Counter(), []

        def call(kind, check):
            while not over.is_set():
                try:
                    check()
                    calls[kind] += 1
                except grpc.RpcError as error:
                    failed.append(error)

        with gateway.channel() as channel:
            kept = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage
            request = coverage_pb2.CheckCoverageRequest(serial=world.serial)
            checks = {"kept": lambda: kept(request, metadata=bearer(token), timeout=20), "new": lambda: self.check(gateway, token)}
            threads = [threading.Thread(target=call, args=one) for one in checks.items()]
            for thread in threads:
                thread.start()
            until(lambda: min(calls["kept"], calls["new"]) > 5)
            mount("second")
            until(lambda: served().strip() == second.strip())
            before = calls.copy()
            until(lambda: min(calls["kept"] - before["kept"], calls["new"] - before["new"]) > 5)
            # A key that does not fit is not taken: the last that did is served on.
            rejected = gateway.stat("sds.gateway.key_rotation_failed")
            mount("broken")
            until(lambda: gateway.stat("sds.gateway.key_rotation_failed") > rejected)
            self.assertEqual(served().strip(), second.strip())
            over.set()
            for thread in threads:
                thread.join()
        print(f"\n{dict(calls)} calls, {len(failed)} failed")
        self.assertEqual(failed, [])


class Json(Case):
    def test_a_claim_by_json(self):
        token = world.token()
        status, _, answer = world.gateway.json("POST", "/v1/coverage:check", {"serial": world.serial}, token)
        self.assertEqual((status, answer["serial"]), (200, world.serial))
        status, _, refused = world.gateway.json("GET", "/v1/claims/00000000-0000-4000-8000-000000000000", token=token)
        self.assertEqual((status, refused["code"], refused["details"][0]["reason"]), (404, 5, "NOT_FOUND"))
        status, _, refused = world.gateway.json("POST", "/v1/claims", {"serial": world.serial}, token)
        self.assertEqual((status, refused["code"]), (400, 3))
        fields = [violation["field"] for detail in refused["details"] for violation in detail.get("fieldViolations", [])]
        self.assertIn("request_id", fields)
        self.assertEqual(world.gateway.json("GET", "/v1/claims?page_size=1&states=CLAIM_STATE_FILED", token=token)[0], 200)
        # What the gateway itself cannot read.
        for method, path, body, refusal in (
            ("GET", "/v1/claims?nonsense=1", None, (400, 3, "INVALID_FIELDS")),
            ("POST", "/v1/coverage:check", ["no message"], (400, 3, "INVALID_FIELDS")),
            ("DELETE", "/v1/claims", None, (404, 12, "UNKNOWN_METHOD")),
            ("GET", "/v1/nothing", None, (404, 12, "UNKNOWN_METHOD")),
        ):
            status, _, refused = world.gateway.json(method, path, body, token)
            self.assertEqual((status, refused["code"], refused["details"][0]["reason"]), refusal, path)
            self.assertTrue(refused["message"])

    def test_the_document_is_whole(self):
        from openapi_spec_validator import validate

        document = json.loads(subprocess.run([world.binary, "openapi"], capture_output=True, check=True, text=True).stdout)
        validate(document)


class Traces(Case):
    def test_one_trace_from_the_gateway_to_the_statement(self):
        gateway = world.another(traced=True)
        serial = sold_units(world, "TRACED", 1)[0]
        # Once before: policies and connections are read and made by the first.
        self.check(world.gateway, world.token())
        world.gateway.json("POST", "/v1/claims:preview", {"serial": world.serial}, world.token())
        forged = {"traceparent": "00-" + "c" * 32 + "-" + "d" * 16 + "-01"}
        body = {"request_id": str(uuid.uuid4()), "serial": serial, "report": {"fault_code": "NO_POWER"}, "customer": {"customer_id": "00000000-0000-4000-8000-000000000001"}}
        self.assertEqual(gateway.json("POST", "/v1/claims", body, world.token(), forged)[0], 200)
        self.check(gateway, world.token(), forged.items())
        question = coverage_pb2.StreamCoverageRequest(correlation_id="A", request=coverage_pb2.CheckCoverageRequest(serial=world.serial))
        with gateway.channel() as channel:
            stream = coverage_pb2_grpc.CoverageServiceStub(channel).StreamCoverage
            self.assertEqual(len(list(stream(iter([question] * 2), metadata=bearer(world.token()), timeout=20))), 2)
        begun = ["warranty-gateway ingress", "  warranty-gateway async envoy.service.ratelimit.v3.RateLimitService.ShouldRateLimit egress"]
        for call, parts in {
            "claim aopre.warranty.v1.ClaimService/FileClaim": [
                "    warranty-claim FileClaim",
                *("      warranty-claim " + one for one in ["SELECT", "SELECT units", "INSERT claim_decisions", "INSERT request_log", "COMMIT"]),
            ],
            "coverage aopre.warranty.v1.CoverageService/CheckCoverage": ["    warranty-coverage SELECT units"],
            "coverage aopre.warranty.v1.CoverageService/StreamCoverage": ["    warranty-coverage question", "      warranty-coverage SELECT units"] * 2,
        }.items():
            tree = until(lambda: world.collector.tree(call.split()[1]), 30)
            self.assertEqual(tree, [*begun, "  warranty-" + call, *parts])
        self.assertNotIn("c" * 32, {span.trace_id.hex() for _, span in world.collector.spans})


class Browser(Case):
    def test_connect_web_in_chromium(self):
        body = {"request_id": str(uuid.uuid4()), "serial": world.serial, "report": {"fault_code": "NO_POWER"}}
        world.gateway.json("POST", "/v1/claims", body, world.token())
        run = ["node", str(ROOT / "target/gateway/web/run.mjs"), world.gateway.url, world.token(), world.serial]
        ended = subprocess.run(run, capture_output=True, text=True, timeout=120)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        told = json.loads(ended.stdout)
        ours, foreign = told["ours"], told["foreign"]
        self.assertEqual(ours["unary"], world.serial)
        self.assertGreaterEqual(ours["streamed"], 1)
        self.assertEqual(ours["error"], {"code": 5, "reason": "NOT_FOUND"})
        self.assertEqual(ours["limited"]["reason"], "TOKEN_REFUSED")
        # The browser itself refuses, for the preflight gave no leave.
        self.assertIn("Failed to fetch", foreign["unary"])
        self.assertTrue(any("CORS" in line for line in told["console"]), told["console"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
