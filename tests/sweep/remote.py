"""Kill -9 at commits on an object store: ``python -m tests.sweep.remote [--kills N]``.

An ingest is killed before or after one of the requests of its commit, at points spread
evenly, or at a random moment. After each, a reader independent of Palimpsest takes the newest
manifest: every file that it names must exist, with the rows that it lists, all of them either
as before or as after. The same ingest, on the same machine or on another, must then complete it,
and cleaning must leave nothing that no version names.
"""

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import palimpsest.store.remote
from palimpsest.records.schemas import TABLES
from palimpsest.store.address import open_archive
from palimpsest.store.digest import digest_archive
from palimpsest.store.remote import RemoteArchive
from palimpsest.store.versions import clean
from tests.pipeline.corpora import ingest, reuse_articles, write_articles
from tests.store.s3 import client, environment, keys, on_another_machine
from tests.sweep.attempts import TornError, forked

BUCKET = "shelves"
_KINDS = ("before", "after")


def watch_requests(fatal: int, kind: str, counts_file: Path | None = None) -> None:
    """Count the requests of commits, and end this process at one of them.

    Args:
        fatal: at which; -1 for none.
        kind: before it is sent, or after it was answered.
        counts_file: file that gets the number of requests once the commit is done, and its seconds.
    """
    import threading

    from botocore.httpsession import URLLib3Session

    send, publish = URLLib3Session.send, RemoteArchive.publish
    lock, count, is_on = threading.Lock(), [0], [False]

    def counted(session: Any, request: Any) -> Any:
        if not is_on[0]:
            return send(session, request)
        with lock:
            number, count[0] = count[0], count[0] + 1
        if number == fatal and kind == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = send(session, request)
        if number == fatal and kind == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    def watched(*arguments: Any) -> Any:
        is_on[0], started = True, time.monotonic()
        if fatal < 0 and kind == "moment":  # within the commit, wherever it is by then
            threading.Timer(float(os.environ["KILL_AFTER"]), os.kill, (os.getpid(), 9)).start()
        done = publish(*arguments)
        if counts_file:
            counts_file.write_text(json.dumps([count[0], time.monotonic() - started]))
        return done

    URLLib3Session.send = counted
    RemoteArchive.publish = watched


def read_plainly(address: str) -> tuple[int, dict[str, int]]:
    """Return the newest version and the rows of its tables, using only S3 and Parquet.

    Raises:
        TornError: a file that its manifest names is missing, or different.
    """
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    there = keys(address)
    manifests = [key for key, size in there.items() if key.startswith("versions/") and size]
    plain = client()

    def content(key: str) -> bytes:
        return bytes(plain.get_object(Bucket=bucket, Key=f"{prefix}/{key}")["Body"].read())

    manifest = json.loads(content(max(manifests)))
    rows: dict[str, int] = {}
    for name, files in manifest["files"].items():
        for file in files:
            key = f"tables/{name}/{file['name']}"
            if there.get(key) != file["bytes"]:
                raise TornError(f"{key}: {there.get(key)} bytes; expected {file['bytes']}")
            found = pq.read_metadata(io.BytesIO(content(key))).num_rows
            if found != file["rows"]:
                raise TornError(f"{key}: {found} rows; expected {file['rows']}")
            rows[name] = rows.get(name, 0) + found
    for segment in manifest["segments"]:
        if not any(key.startswith(f"index/{segment}/") for key in there):
            raise TornError(f"segment {segment} is missing")
    return manifest["version"], rows


class Campaign:
    """An archive on a server of its own, and its expected state after an ingest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = write_articles(folder / "corpus", reuse_articles())
        self.first = [self.corpus / name for name in ("a.txt", "d.txt", "e.txt")]
        for sources in (self.first, self.corpus):  # so that no process loads kernels by itself
            ingest(sources, folder / "warm")
        digest_archive(open_archive(folder / "warm").snapshot())
        with on_another_machine(folder / "made"):
            self._forked(lambda: ingest(self.first, self._address("base")))
            self.before = self._seen("base")
            self._copy("base", "whole")
            counts_file = folder / "counts.json"

            def undisturbed() -> None:
                watch_requests(-1, "none", counts_file)
                ingest(self.corpus, self._address("whole"))

            self._forked(undisturbed)
            self.after = self._seen("whole")
        self.requests, self.seconds = json.loads(counts_file.read_text())

    def attempt(self, number: int, point: int, kind: str) -> str:
        """Kill an ingest, check, and repeat it; return what readers saw meanwhile: before or after.

        Raises:
            TornError: something is not as it should be.
        """
        name = f"at-{number}"
        address = self._address(name)
        self._copy("base", name)
        with on_another_machine(self.folder / name):
            os.environ["KILL_AFTER"] = str(self.seconds * random.Random(number).random())

            def killed() -> None:
                watch_requests(point, kind)
                ingest(self.corpus, address)

            code = forked(killed)
            if code not in {-signal.SIGKILL} | ({0} if kind == "moment" else set()):
                raise TornError(f"ended with {code}")
        seen = self._seen(name)
        if seen not in (self.before, self.after):
            raise TornError("neither as before nor as after")
        machine = self.folder / (name if number % 2 else f"{name}-elsewhere")
        with on_another_machine(machine):
            self._forked(lambda: ingest(self.corpus, address))
            if self._seen(name) != self.after:
                raise TornError("run again, it is not as after")
            self._forked(lambda: self._clean(address))
        return "before" if seen == self.before else "after"

    def _clean(self, address: str) -> None:
        palimpsest.store.remote.GRACE_SECONDS = 0.0
        archive = open_archive(address)
        clean(archive)
        manifest = archive.manifest()
        files = (f"tables/{name}/{f['name']}" for name in TABLES for f in manifest.files[name])
        needed = {"archive.json", *files, f"versions/{manifest.version:08d}/manifest.json"}
        folders = tuple(f"index/{one}/" for one in manifest.segments)
        there = keys(address).items()
        left = [k for k, size in there if k not in needed and not k.startswith(folders) and size]
        if left:
            raise TornError(f"left behind: {left}")

    def _address(self, name: str) -> Any:
        return f"s3://{BUCKET}/{name}/press"

    def _seen(self, name: str) -> tuple[Any, ...]:
        """Return the digest and the counts of rows that readers see, and the version."""
        seen_file = self.folder / "seen.txt"
        address = self._address(name)
        with on_another_machine(Path(tempfile.mkdtemp(dir=self.folder))):
            self._forked(
                lambda: seen_file.write_text(digest_archive(open_archive(address).snapshot()))
            )
        return seen_file.read_text(), *read_plainly(address)

    def _forked(self, work: Any) -> None:
        code = forked(work)
        if code:
            raise TornError(f"ended with {code}")

    def _copy(self, source: str, target: str) -> None:
        plain = client()
        for key in keys(self._address(source)):
            plain.copy_object(
                Bucket=BUCKET,
                Key=f"{target}/press/{key}",
                CopySource=f"{BUCKET}/{source}/press/{key}",
            )


def main() -> int:
    """Print a line with the result; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep.remote", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="how often to kill")
    given = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.store.s3"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout
    os.environ |= environment(server.stdout.readline().strip())
    tally = {"before": 0, "after": 0, "torn": 0}
    try:
        client().create_bucket(Bucket=BUCKET)
        with tempfile.TemporaryDirectory(prefix="palimpsest-sweep-") as folder:
            campaign = Campaign(Path(folder))
            moments = given.kills // 5
            at_requests = given.kills - moments
            points = [
                divmod(number * (2 * campaign.requests - 1) // max(1, at_requests - 1), 2)
                for number in range(at_requests)
            ]
            attempts = [(point, _KINDS[after]) for point, after in points]
            for number, (point, kind) in enumerate(attempts + [(-1, "moment")] * moments):
                try:
                    tally[campaign.attempt(number, point, kind)] += 1
                except TornError as error:
                    tally["torn"] += 1
                    print(f"wrong: {kind} at {point}: {error}")
            print(
                f"requests of a commit: {campaign.requests}, killed: {given.kills}, "
                f"readers saw before: {tally['before']}, after: {tally['after']}, "
                f"torn: {tally['torn']}"
            )
    finally:
        server.communicate()
    return int(tally["torn"] > 0)


if __name__ == "__main__":
    sys.exit(main())
