"""What overload leaves: FileClaim at its peak, then asked for three times as much, while its health is asked ten times a second.
Of the peak at least 80 % goes on, the rest is refused in under 50 ms, and health answers. WARRANTY names a release build."""
import json, re, subprocess, sys, threading, time

from world import World

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

CALLERS, TIMES, SECONDS = 128, 3, 6


def run(world, *arguments):
    """A phase of the load generator, direct: the gateway's limits would come first."""
    path = world.data / "run.json"
    at = [f"--{name}=http://127.0.0.1:{world.port + number}" for number, name in enumerate(["issuer-url", "coverage-address", "claim-address"])]
    command = [world.binary, "bench", "run", *at, "--database-url", world.database, "--mix", "file", "--connections", "16"]
    subprocess.run([*command, "--seconds", str(SECONDS), "--warm-up", "1", "--json", str(path), *arguments], check=True, capture_output=True)
    phase = json.loads(path.read_text())["phases"][0]
    filed = phase["kinds"][0]
    return filed["codes"].get("OK", 0) / phase["seconds"], filed


class Health(threading.Thread):
    """Asks the claim process for its health until `over`."""

    def __init__(self, port):
        super().__init__()
        self.channel, self.over, self.took, self.failed = grpc.insecure_channel(f"127.0.0.1:{port}"), threading.Event(), [], 0

    def run(self):
        check = health_pb2_grpc.HealthStub(self.channel).Check
        while not self.over.wait(0.1):
            began = time.monotonic()
            try:
                self.failed += check(health_pb2.HealthCheckRequest(), timeout=2).status != health_pb2.HealthCheckResponse.SERVING
            except grpc.RpcError:
                self.failed += 1
            self.took.append((time.monotonic() - began) * 1000)


def main():
    world = World()
    try:
        subprocess.run([world.binary, "bench", "seed", "--units", "2000", "--database-url", world.database], check=True, capture_output=True)
        # The first run finds caches and plans cold.
        peak = max(run(world, "--in-flight", str(CALLERS))[0] for _ in range(2))
        health = Health(world.port + 2)
        health.start()
        goodput, filed = run(world, "--rate", str(TIMES * peak))
        health.over.set()
        health.join()
        shed = int(re.search(r"^warranty_calls_shed_total (\d+)$", world.metrics("claim"), re.M)[1])
    finally:
        world.stop()
    refused = filed["refused_ms"]
    print(f"peak {peak:.0f} a second by {CALLERS} callers; asked for {TIMES * peak:.0f}: {goodput:.0f} = {goodput / peak:.2f} of it, {filed['codes']}")
    print(f"refused in p50 {refused['p50']:.1f}, p99 {refused['p99']:.1f} ms; health {len(health.took)} answers, {health.failed} failed, slowest {max(health.took):.0f} ms")
    wrong = [
        told
        for told, is_so in {
            "nothing was refused: that was no overload": "UNAVAILABLE" not in filed["codes"],
            "something failed that was not refused": not set(filed["codes"]) <= {"OK", "UNAVAILABLE"} or shed < filed["codes"].get("UNAVAILABLE", 0),
            "less than 80 % of the peak went on": goodput < 0.8 * peak,
            "refusals took longer than 50 ms": refused["p99"] > 50,
            "health did not answer": health.failed > 0,
        }.items()
        if is_so
    ]
    sys.exit("\n".join(wrong) or 0)


main()
