"""A PostgreSQL server for tests: Debian's programs, a temporary folder, an unprivileged user."""

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
    """Return the folder of the newest installed PostgreSQL, or None."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    return max(folders, default=None)


class Postgres:
    """A server on loopback with the database and the user that the compose file names."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = free_port()
        # Not below pytest's folders: every session closes them to other users.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="palimpsest-postgres-"))
        self._bin = programs()
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            user = pwd.getpwnam("postgres")
            self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(folder, user.pw_uid, user.pw_gid)
        secret = folder / "password"
        secret.write_text(environment["POSTGRES_PASSWORD"])
        secret.chmod(0o644)
        user = environment["POSTGRES_USER"]
        self._run("initdb", "-D", "data", "-U", user, "--auth=scram-sha-256",
                  "--pwfile=password", "-E", "UTF8", "--no-sync")  # fmt: skip
        # As in the image, but temporary data need not reach the disk.
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {folder} -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", user,
                  environment["POSTGRES_DB"], password=environment["POSTGRES_PASSWORD"])  # fmt: skip

    def _run(self, program: str, *arguments: str, password: str = "") -> None:
        output = self.folder / "output"
        with output.open("a") as file:  # not a pipe: the server would keep it open
            process = subprocess.run(
                [str(self._bin / program), *arguments],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGPASSWORD": password},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
                **self._identity,
            )
        assert process.returncode == 0, output.read_text()

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)
