"""The structure is what docs/ARCHITECTURE.md says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    "records", "kernels", "ingest", "dedup", "store", "pipeline", "flows", "evidence", "exports", "inspector", "cli",
]  # fmt: skip


def test_import_contracts_are_kept():
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_imported_packages_are_declared_and_declared_ones_are_imported():
    run = subprocess.run(
        [sys.executable, "-m", "deptry", *ROOMS, "src", "--no-ansi"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("datasketch", {"dedup/signatures.py"}),
        ("openlineage", {"flows/telemetry/openlineage_events.py"}),
        (
            "prefect",
            {
                "flows/automations.py",
                "flows/ingest.py",
                "flows/task_runners.py",
                "flows/schedule.py",
                "flows/protected_server.py",
                "flows/telemetry/run_reporter.py",
                "flows/maintenance.py",
            },
        ),
        ("charset_normalizer", {"ingest/text/decode.py"}),
        ("duckdb", {"store/query.py", "store/views.py"}),
        ("numba", {"kernels/compiled.py", "dedup/lanes.py"}),
        ("boto3", {"store/objects.py"}),
    ],
)
def test_a_package_is_imported_where_the_design_says_and_nowhere_else(package, allowed):
    pattern = re.compile(rf"^\s*(import|from) {package}\b", re.MULTILINE)
    importing = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert importing == allowed


def test_each_room_says_what_it_is():
    for room in ROOMS:
        first = (ROOT / room / "__init__.py").read_text(encoding="utf-8")
        assert first.startswith('"""'), room
        assert f"`{room}/`" in (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")


def test_help_does_not_load_what_only_commands_need():
    code = (
        "import sys, palimpsest.cli.main; heavy = {'numba', 'pyarrow', 'prefect', 'duckdb', 'datasketch'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
