"""One dealer's flood: CheckCoverage from eight calls in flight until nobody writes to it.   flood.py PORT CA TOKEN SERIAL"""
import collections, json, os, pathlib, sys, threading, time

import grpc

os.nice(19)  # it stands for another machine
port, ca, token, serial = sys.argv[1:]
channel = grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes()))
call = channel.unary_unary("/aopre.warranty.v1.CoverageService/CheckCoverage")
request = b"\x0a" + bytes([len(serial)]) + serial.encode()  # the serial is field 1
counts = collections.Counter()
over = threading.Event()


def flood():
    while not over.is_set():
        try:
            call(request, metadata=[("authorization", f"Bearer {token}")], timeout=10)
            counts["OK"] += 1
        except grpc.RpcError as error:
            counts[error.code().name] += 1
            # Eight in flight, some five hundred a second: five times what is let through.
            time.sleep(0.01)


threads = [threading.Thread(target=flood) for _ in range(8)]
for thread in threads:
    thread.start()
print("flooding", flush=True)
sys.stdin.read()
over.set()
for thread in threads:
    thread.join()
print(json.dumps(counts))
