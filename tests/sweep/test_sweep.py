"""At whatever call a process dies or is refused, readers see a sound archive (short form)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import needs_servers
from tests.sweep.operations import OPERATIONS, Operation

_TORN = """
import sys
from palimpsest.store.archive import StoredArchive
from tests.sweep.__main__ import main

whole = StoredArchive._swap

def swap(archive, published):
    archive.path.unlink(missing_ok=True)
    whole(archive, published)

StoredArchive._swap = swap
sys.exit(main())
"""


def _sweep(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def short(root: Path) -> subprocess.CompletedProcess[str]:
    return _sweep(root, "-m", "tests.sweep", "--short", "--again-every", "3", "--faults-every", "4")


@needs_servers
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_operation_stopped_at_any_call_leaves_a_sound_archive(
    operation: Operation, short: subprocess.CompletedProcess[str]
) -> None:
    totals = re.search(
        rf"^{operation.name}: points: (\d+), .*torn: (\d+)", short.stdout, re.MULTILINE
    )
    assert totals, short.stdout + short.stderr
    assert int(totals[1]) >= operation.least_points
    assert int(totals[2]) == 0, short.stdout
    assert short.returncode == 0, short.stdout


@needs_servers
def test_sweep_finds_an_archive_that_is_torn(root: Path) -> None:
    done = _sweep(
        root, "-c", _TORN, "--operations", "compact", "--kinds", "kill", "--again-every", "99"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "torn: 0" not in done.stdout
    assert "neither as before nor as after" in done.stdout
