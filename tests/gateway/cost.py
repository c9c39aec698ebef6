"""What the gateway costs: CheckCoverage asked directly, and through Envoy with TLS, token and limits, by turns in the same minute.
By h2load, one call at a time and sixteen at once. WARRANTY names the binary: a release build, or it is not worth reading."""
import pathlib, re, statistics, struct, subprocess, tempfile

from world import World

import grpc
from aopre.warranty.v1 import coverage_pb2, coverage_pb2_grpc

ROUNDS, SECONDS = 4, 3
LOADS = {"one at a time": (1, 1), "sixteen at once": (4, 4)}
METHOD = "/aopre.warranty.v1.CoverageService/CheckCoverage"


def load(url, token, body, connections, streams):
    """Calls a second, and how long each took (ms)."""
    with tempfile.NamedTemporaryFile() as log:
        headers = ["content-type: application/grpc", "te: trailers", f"authorization: Bearer {token}"]
        command = ["h2load", "-D", str(SECONDS), "--warm-up-time", "1", "-c", str(connections), "-m", str(streams), "-t", "1", "-d", body]
        command += [part for header in headers for part in ("-H", header)] + ["--log-file", log.name, url + METHOD]
        subprocess.run(command, check=True, capture_output=True)
        took = [line.split() for line in pathlib.Path(log.name).read_text().splitlines()]
    whole = [int(micros) / 1000 for _, status, micros in took if status == "200"]
    # At the end it leaves what is in flight.
    assert len(took) - len(whole) <= connections * streams, took[-1]
    return len(whole) / SECONDS, whole


def failed(world, gateway):
    """Calls that gRPC calls failed, which h2load does not see: as Envoy and the service counted them, but those that h2load left."""
    lines = [line.split() for line in world.metrics("coverage").splitlines() if "_count{" in line and '"CheckCoverage"' in line]
    ours = sum(float(count) for line, count in lines if not re.search(r'status_code="[01]"', line))
    return gateway.stat("cluster.coverage.grpc.aopre.warranty.v1.CoverageService.CheckCoverage.failure") + ours


def main():
    world = World()
    try:
        gateway = world.another(rate=100_000)
        token = world.token()
        message = coverage_pb2.CheckCoverageRequest(serial=world.serial).SerializeToString()
        body = world.data / "body"
        body.write_bytes(struct.pack(">BI", 0, len(message)) + message)
        with gateway.channel() as channel:
            call = coverage_pb2_grpc.CoverageServiceStub(channel).CheckCoverage
            call(coverage_pb2.CheckCoverageRequest(serial=world.serial), metadata=[("authorization", f"Bearer {token}")])
        targets = {"direct": f"http://127.0.0.1:{world.port + 1}", "gateway": gateway.url}
        told = {(name, to): ([], []) for name in LOADS for to in targets}
        for _ in range(ROUNDS):
            for name, (connections, streams) in LOADS.items():
                for to, url in targets.items():
                    rate, took = load(url, token, str(body), connections, streams)
                    told[name, to][0].append(rate)
                    told[name, to][1].extend(took)
        for (name, to), (rates, took) in told.items():
            took.sort()
            p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
            print(f"{name:16} {to:8} {statistics.mean(rates):7.0f} a second, p50 {p50:6.2f} ms, p99 {p99:6.2f} ms, of {len(took)}")
        print(f"failed: {failed(world, gateway):.0f}")
    finally:
        world.stop()


main()
