"""A backup restored to a moment before a disaster, as helm/RUNBOOK.md says, with PostgreSQL's own programs."""
import glob, os, pathlib, re, shutil, signal, subprocess, tempfile, time, unittest, uuid

from world import ROOT, free_ports, http, until  # noqa: I001 (makes the contracts' modules)
from fleet import sold_units
import grpc, psycopg
from aopre.warranty.v1 import claim_pb2, claim_pb2_grpc, types_pb2

BINARIES = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
# PostgreSQL refuses root.
ACCOUNT = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
SETTINGS = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n"


def after_restoring():
    """The statement of the runbook."""
    return re.search(r"```sql\n(.*?)```", (ROOT / "helm/RUNBOOK.md").read_text(), re.S)[1]


class Server:
    """A PostgreSQL in a folder."""

    def __init__(self, folder, port, settings):
        with open(folder / "postgresql.conf", "a") as file:
            file.write(SETTINGS + f"port = {port}\n" + settings)
        self.folder, self.url = folder, f"postgres://postgres@127.0.0.1:{port}/"
        self.log = open(f"{folder}.log", "a")
        self.process = subprocess.Popen([BINARIES / "postgres", "-D", folder], stdout=self.log, stderr=self.log, cwd="/", **ACCOUNT)
        until(lambda: self.ask("SELECT pg_is_in_recovery()") == (False,), 60)

    def ask(self, sql, database="postgres"):
        try:
            with psycopg.connect(self.url + database, autocommit=True) as connection:
                answer = connection.execute(sql)
                return answer.fetchone() if answer.description else None
        except psycopg.OperationalError as error:
            raise OSError from error

    def lose(self):
        """The machine is gone, and its disk."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.folder)


class System:
    """The services on a database, for as long as a `with` lasts."""

    def __init__(self, data, url):
        self.data, self.database = data, url
        self.port, self.binary = free_ports(8), os.environ.get("WARRANTY", str(ROOT / "target/debug/warranty"))

    def __enter__(self):
        command = [self.binary, "up", "--port", str(self.port), "--data", str(self.data / "up")]
        with open(self.data / "up.log", "a") as log:
            self.up = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"DATABASE_URL": self.database})
        until(lambda: all(http(f"http://127.0.0.1:{self.port + probe}/readyz")[0] == 200 for probe in (4, 5, 6)), 60)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port + 2}")
        self.claims = claim_pb2_grpc.ClaimServiceStub(self.channel)
        self.tokens = {kind: http(f"http://127.0.0.1:{self.port}/token?as={kind}")[2]["access_token"] for kind in ["dealer", "support", "billing"]}
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.up.send_signal(signal.SIGTERM)
        self.up.wait(60)

    def call(self, method, request, kind="dealer"):
        return getattr(self.claims, method)(request, metadata=[("authorization", f"Bearer {self.tokens[kind]}")], timeout=20)

    def file(self, request):
        return self.call("FileClaim", request).claim.claim_id

    def authorize(self, claim):
        request = claim_pb2.RecordGuidanceRequest(request_id=str(uuid.uuid4()), claim_id=claim, outcome=claim_pb2.GUIDANCE_OUTCOME_CONFIRMED)
        return self.call("RecordGuidance", request, "support").claim.return_number

    def watched(self, cursor, count):
        """So many events after a cursor: the claims, and the last cursor."""
        stream, claims = self.call("WatchClaims", claim_pb2.WatchClaimsRequest(cursor=cursor)), []
        for told in stream:
            cursor = told.cursor
            claims += [told.claim_id] if told.claim_id else []
            if len(claims) == count:
                stream.cancel()
                return claims, cursor


def filings(serials):
    customer = types_pb2.Customer(customer_id="00000000-0000-4000-8000-000000000001")
    report = types_pb2.FaultReport(fault_code="NO_POWER")
    return [claim_pb2.FileClaimRequest(request_id=str(uuid.uuid4()), serial=serial, report=report, customer=customer) for serial in serials]


class Restore(unittest.TestCase):
    def run_as_server(self, program, *arguments):
        subprocess.run([BINARIES / program, *arguments], check=True, capture_output=True, cwd="/", **ACCOUNT)

    def folder(self, name):
        folder = self.data / name
        folder.mkdir(mode=0o700)
        if ACCOUNT:
            shutil.chown(folder, "postgres", "postgres")
        return folder

    def test_what_was_acknowledged_before_the_moment_is_there_and_nothing_after_it(self):
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="warranty-restore-"))
        self.data.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.data, ignore_errors=True)
        port = free_ports(2)
        archive, first = self.folder("archive"), self.folder("first")
        self.run_as_server("initdb", "--username", "postgres", "--encoding", "UTF8", "--locale", "C", "--auth", "trust", "--no-sync", "-D", first)
        server = Server(first, port, f"archive_mode = on\narchive_command = 'cp %p {archive}/%f'\n")
        server.ask("CREATE DATABASE warranty")
        with System(self.data, server.url + "warranty") as system:
            serials = sold_units(system, "PITR", 100)
            kept = [system.file(request) for request in filings(serials[:20])]
            self.run_as_server("pg_basebackup", "-d", server.url + "postgres", "-D", self.folder("second"), "--checkpoint", "fast")
            kept += [system.file(request) for request in filings(serials[20:40])]
            moment = server.ask("SELECT clock_timestamp()::text")[0]
            again = filings(serials[40:])
            lost = [system.file(request) for request in again]
            returns = {system.authorize(claim) for claim in lost[:10]}
            _, cursor = system.watched("0", 100 + 10)
            segment = server.ask("SELECT pg_walfile_name(pg_switch_wal())")[0]
            until(lambda: (archive / segment).exists(), 60)
        server.lose()

        (self.data / "second/recovery.signal").touch()
        settings = f"archive_mode = off\nrestore_command = 'cp {archive}/%f %p'\nrecovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n"
        server = Server(self.data / "second", port + 1, settings)
        self.addCleanup(server.lose)
        found = server.ask("SELECT array_agg(claim_id::text) FROM claims", "warranty")[0]
        self.assertEqual(sorted(found), sorted(kept))
        audit = subprocess.run([System(self.data, "").binary, "audit", "verify", "--database-url", server.url + "warranty"], capture_output=True, text=True)
        self.assertEqual(audit.returncode, 0, audit.stdout + audit.stderr)

        with System(self.data, server.url + "warranty") as system:
            # Before the numbers are moved on, a reader that is ahead is told so.
            with self.assertRaises(grpc.RpcError) as refused:
                list(system.call("WatchClaims", claim_pb2.WatchClaimsRequest(cursor=cursor)))
            self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            billed = claim_pb2.ListBillableRepairsRequest(after_sequence=1)
            with self.assertRaises(grpc.RpcError) as refused:
                system.call("ListBillableRepairs", billed, "billing")
            self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        server.ask(after_restoring(), "warranty")
        with System(self.data, server.url + "warranty") as system:
            for claim in kept:
                self.assertEqual(system.call("GetClaim", claim_pb2.GetClaimRequest(claim_id=claim)).claim.claim_id, claim)
            with self.assertRaises(grpc.RpcError) as gone:
                system.call("GetClaim", claim_pb2.GetClaimRequest(claim_id=lost[0]))
            self.assertEqual(gone.exception.code(), grpc.StatusCode.NOT_FOUND)
            # The callers send again what they sent after the moment, and who watched goes on from the cursor he had.
            filed = [system.file(request) for request in again]
            self.assertEqual(set(filed) & set(lost), set())
            self.assertEqual(system.watched(cursor, len(filed))[0], filed)
            self.assertEqual(returns & {system.authorize(claim) for claim in filed[:10]}, set())
            self.assertEqual(len(system.call("ListBillableRepairs", billed, "billing").entries), 0)
        print(f"\nrestored to {moment}: {len(kept)} claims kept, {len(lost)} after it gone and filed again")




if __name__ == "__main__":
    unittest.main(verbosity=2)
