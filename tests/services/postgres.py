"""A PostgreSQL of the tests' own: Debian's programs, a folder, and an unprivileged user."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.services.ports import free_port

PASSWORD = "nothing-secret"


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL that is installed, or None."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    return max(found, default=None)


class Postgres:
    """A server on loopback with the database and the user that the compose file names."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = free_port()
        # Not below pytest's folders: they are closed to other users, by every session again.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="palimpsest-postgres-"))
        self._bin = programs()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            user = pwd.getpwnam("postgres")
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(folder, user.pw_uid, user.pw_gid)
        secret = folder / "password"
        secret.write_text(environment["POSTGRES_PASSWORD"])
        secret.chmod(0o644)
        user = environment["POSTGRES_USER"]
        self._run("initdb", "-D", "data", "-U", user, "--auth=scram-sha-256",
                  "--pwfile=password", "-E", "UTF8", "--no-sync")  # fmt: skip
        # As in the image; but what is thrown away need not reach the disk.
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {folder} -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", user,
                  environment["POSTGRES_DB"], password=environment["POSTGRES_PASSWORD"])  # fmt: skip

    def _run(self, program: str, *arguments: str, password: str = "") -> None:
        with (self.folder / "told").open("a") as told:  # not a pipe: the server would hold it open
            done = subprocess.run(
                [str(self._bin / program), *arguments],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGPASSWORD": password},
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                check=False,
                **self._as,
            )
        assert done.returncode == 0, (self.folder / "told").read_text()

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)
