"""What is done to the running system, and no caller notices: processes replaced one by one, the issuer's keys rotated."""
import base64, json, subprocess, time, unittest, uuid

from world import ROOT, Gateway, World, until  # noqa: I001 (makes the contracts' modules)
from fleet import Fleet, Keys, Load, Service, sold_units
import grpc, jwt, yaml
from aopre.warranty.v1 import coverage_pb2, coverage_pb2_grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

world = None


def setUpModule():
    global world
    world = World()


def tearDownModule():
    world.stop()


class Case(unittest.TestCase):
    def nothing_failed(self, load):
        self.assertEqual(load.failures, {})
        # Nothing acknowledged is lost, nothing happened twice, and the watcher was told of each once.
        self.assertEqual(len(load.watched), len(set(load.watched)))
        self.assertEqual(sorted(load.watched), sorted(load.filed))


class RollingRestart(Case):
    def test_each_process_is_replaced_under_load_and_no_call_fails(self):
        tokens = {kind: world.token(kind) for kind in ["dealer", "depot", "registry"]}
        serials = sold_units(world, "RR", 12000)
        fleet = Fleet(world)
        self.addCleanup(fleet.stop)
        load = Load(fleet.gateway, tokens.get, serials)
        print()
        for process in fleet.processes:
            # Both take calls.
            taken = fleet.taken(process)
            until(lambda: fleet.taken(process) > taken + 20)
            calls, failed, reopened, began = load.calls(), load.failures.total(), load.reopened, time.monotonic()
            before = process.process.pid
            self.assertEqual(process.stop(), 0, process.log.read_text()[-2000:])
            self.assertEqual(fleet.healthy(process.service), 1)
            taken = fleet.taken(process)
            process.start()
            self.assertNotEqual(process.process.pid, before)
            until(lambda: fleet.healthy(process.service) == 2 and fleet.taken(process) > taken + 20)
            calls, failed = load.calls() - calls, load.failures.total() - failed
            took, reopened = time.monotonic() - began, load.reopened - reopened
            print(f"{process.name}: {took:.1f} s, {calls} calls, {failed} failed, {reopened} streams went on elsewhere")
            self.assertGreater(calls, 200)
        load.stop()
        print(sorted(load.ended.items()))
        # Each claim process held the stream at least once in so many restarts.
        self.assertGreaterEqual(load.reopened, 1)
        self.nothing_failed(load)


class GatewayRestart(Case):
    def test_the_gateway_is_replaced_under_load_as_the_chart_does_it_and_no_call_fails(self):
        objects = yaml.safe_load_all((ROOT / "tests/golden/chart/ha.yaml").read_text())
        pod = next(one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment" and "gateway" in one["metadata"]["name"])
        container = pod["containers"][0]
        arguments = container["args"][2:]
        fleet = Fleet(world, arguments=arguments)
        self.addCleanup(fleet.stop)
        tokens = {kind: world.token(kind) for kind in ["dealer", "depot", "registry"]}
        service = Service(fleet.gateway)
        load = Load(Gateway(service.port, None, world.cafile), tokens.get, sold_units(world, "GR", 30000))
        print()
        for number in (1, 2):
            old = service.gateways[0]
            calls = lambda gateway: gateway.stat("http.ingress.downstream_rq_completed")  # noqa: E731
            taken = calls(old)
            until(lambda: calls(old) > taken + 200)
            # The new one is ready; the old one is not listed any more and told to end.
            new = world.another(**fleet.backends, rate=100000, arguments=arguments)
            began, before, reopened = time.monotonic(), load.calls(), load.reopened
            service.gateways = [new]
            hook = [part.replace("/9901", "/" + old.admin.rsplit(":")[-1]) for part in container["lifecycle"]["preStop"]["exec"]["command"]]
            subprocess.run(hook, check=True)
            left = old.stat("http.ingress.downstream_cx_active")
            old.stop()
            took, taken = time.monotonic() - began, calls(new)
            self.assertLess(took, pod["terminationGracePeriodSeconds"])
            until(lambda: calls(new) > taken + 200)
            reopened = load.reopened - reopened
            print(f"gateway {number}: {took:.1f} s, {load.calls() - before} calls, {load.failures.total()} failed, {left} connections left, {reopened} streams went on elsewhere")
            self.assertGreater(load.calls() - before, 200)
        load.stop()
        print(sorted(load.ended.items()))
        self.nothing_failed(load)


class Key:
    """An issuer's key."""

    def __init__(self, kid):
        self.kid, self.private = kid, Ed25519PrivateKey.generate()
        public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"}

    def token(self, kind):
        """The development issuer's claims, signed by this key."""
        claims = jwt.decode(world.token(kind), options={"verify_signature": False})
        return jwt.encode(claims, self.private, "EdDSA", headers={"kid": self.kid, "typ": "at+jwt"})


class KeyRotation(Case):
    def publish(self, *keys):
        Keys.publish(json.dumps({"keys": [key.jwk for key in keys]}).encode())

    def everybody_asked(self, fleet):
        """Each process and the gateway read the keys, which they do once a minute."""
        wanted = {"/gateway"} | {f"/{process.name}" for process in fleet.processes}
        until(lambda: Keys.asked >= wanted, 90)

    def code(self, channel, token):
        call = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage
        try:
            call(coverage_pb2.CheckCoverageRequest(serial=world.serial), metadata=[("authorization", f"Bearer {token}")], timeout=20)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

    def codes(self, fleet, token):
        """What the gateway, on connections of their own, and both processes say of a token."""
        said = []
        for _ in range(4):
            with fleet.gateway.channel() as channel:
                said.append(self.code(channel, token))
        for process in fleet.processes[:2]:
            with grpc.insecure_channel(f"127.0.0.1:{process.port}") as channel:
                said.append(self.code(channel, token))
        return set(said)

    def test_the_issuers_keys_are_rotated_under_load_and_no_call_fails(self):
        old, new = Key("old"), Key("new")
        self.publish(old)
        fleet = Fleet(world, Keys.serve())
        self.addCleanup(fleet.stop)
        tokens = {(key, kind): key.token(kind) for key in (old, new) for kind in ["dealer", "depot", "registry"]}
        used, turn = [old], iter(range(1 << 62))
        signed = lambda kind: tokens[used[next(turn) % len(used)], kind]  # noqa: E731
        load = Load(fleet.gateway, signed, sold_units(world, "KR", 30000))

        def some(count=500):
            done = load.calls()
            until(lambda: load.calls() > done + count, 60)

        some()
        # The key is new to all of them: what follows is not passed by what they knew before.
        self.assertEqual(self.codes(fleet, new.token("dealer")), {"UNAUTHENTICATED"})
        self.publish(old, new)
        self.everybody_asked(fleet)
        until(lambda: self.codes(fleet, new.token("dealer")) == {"OK"})
        used[:] = [old, new]
        some()
        used[:] = [new]
        some()
        self.publish(new)
        self.everybody_asked(fleet)
        # Taken back for good, though its tokens have hours to live and were verified before.
        until(lambda: self.codes(fleet, tokens[old, "dealer"]) == {"UNAUTHENTICATED"})
        some()
        load.stop()
        print(f"\n{load.calls()} calls under both keys, {load.failures.total()} failed")
        self.nothing_failed(load)


class OldClient(Case):
    def test_a_client_of_the_released_contracts_calls_the_new_processes(self):
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString((ROOT / "proto/released.binpb").read_bytes()).file:
            pool.Add(file)

        def call(method, kind, more=b"", **fields):
            """As a client that was generated from the released contracts; `more` are fields that only a later one has."""
            found = pool.FindMethodByName(f"aopre.warranty.v1.{method.replace('/', '.')}")
            asked, told = (message_factory.GetMessageClass(message) for message in (found.input_type, found.output_type))
            with world.gateway.channel() as channel:
                one = channel.unary_unary(f"/aopre.warranty.v1.{method}", response_deserializer=told.FromString)
                return one(asked(**fields).SerializeToString() + more, metadata=[("authorization", f"Bearer {world.token(kind)}")], timeout=20)

        serial = sold_units(world, "OC", 1)[0]
        answer = call("CoverageService/CheckCoverage", "dealer", serial=serial)
        self.assertEqual(answer.serial, serial)
        # Field 5000, a text: neither side knows it, and it changes nothing.
        later = bytes([0xC2, 0xB8, 0x02, 4]) + b"more"
        fields = dict(request_id=str(uuid.uuid4()), serial=serial, report={"fault_code": "NO_POWER"})
        fields["customer"] = {"customer_id": "00000000-0000-4000-8000-000000000001"}
        filed = call("ClaimService/FileClaim", "dealer", later, **fields).claim
        self.assertEqual(call("ClaimService/FileClaim", "dealer", later, **fields).claim.claim_id, filed.claim_id)
        listed = call("ClaimService/ListClaims", "dealer", page_size=1).claims
        self.assertEqual([claim.claim_id for claim in listed], [filed.claim_id])
        self.assertEqual(call("RegistryService/GetUnit", "dealer", serial=serial).unit.serial, serial)
        self.assertIsNotNone(call("LogisticsService/ListShipments", "dealer"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
