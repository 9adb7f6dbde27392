"""A command imports only what it needs, since imports take most of its time."""

import json
import subprocess
import sys

import pytest

ARTICLES = "examples/articles"
LEFT = f"{ARTICLES}/wieselbacher-umschau/2024-10-08-glocke-im-muehlteich.txt"
RIGHT = f"{ARTICLES}/der-talbote/2024-10-10-gruenmoos-findet-glocke.txt"

RARE = {
    "boto3", "dateparser", "datasketch", "fsspec", "icu4py", "prefect", "py3langid", "sqlalchemy",
    "trafilatura", "warcio",
}  # fmt: skip
"""Needed for some sources, for settings of no sensitivity level, or by a server."""
FOR_TABLES = {"duckdb", "pandas", "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet", "rich"}
"""Needed to read an archive at most; pyarrow imports pandas when it builds an array."""
SKIPPED = {"pandas", "scipy.linalg"}
"""Imported by pyarrow and numba if installed, for functions that we do not use."""
COMPILED = {"llvmlite", "numba", "numpy", "pyarrow", "pydantic", "scipy"}
"""Needed by kernels and settings; numba imports scipy if it is installed."""
LIGHT = {"palimpsest.store", "palimpsest.store.files"}
"""Imported by every command: an empty package, and functions that write files."""

_RUN = """
import json, sys
from palimpsest.cli.main import main
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def imported_by(root):
    def run(*arguments):
        result = subprocess.run(
            [sys.executable, "-c", _RUN, *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(json.loads(result.stderr.splitlines()[-1])), result.stdout

    return run


def modules_of(imported, *rooms):
    """Return the imported modules that belong to some rooms."""
    packages = tuple(f"palimpsest.{room}." for room in rooms)
    return {name for name in imported if f"{name}.".startswith(packages)}


def test_help_imports_no_room_and_no_large_library(imported_by):
    imported, printed = imported_by("--help")
    assert "Look after:" in printed
    assert imported & (RARE | FOR_TABLES | COMPILED) == set()
    rooms = ("dedup", "evidence", "exports", "flows", "inspector", "store")
    assert modules_of(imported, *rooms) <= LIGHT
    assert modules_of(imported, "ingest") <= {"palimpsest.ingest"}  # the package itself is empty


@pytest.mark.usefixtures("compiled_kernels")
def test_compare_imports_nothing_that_reads_archives(imported_by):
    imported, printed = imported_by("compare", LEFT, RIGHT)
    assert printed.startswith("near, ")
    assert imported & (RARE | FOR_TABLES | SKIPPED) == set()
    assert modules_of(imported, "exports", "flows", "store") <= LIGHT


@pytest.mark.usefixtures("compiled_kernels")
@pytest.mark.parametrize("level", ["verbatim", "edited", "reworded"])
def test_direct_run_imports_only_what_its_sources_need(imported_by, tmp_path, level):
    archive = ("--archive", str(tmp_path / "archive"), "--sensitivity", level)
    imported, printed = imported_by("ingest", "--no-prefect", LEFT, RIGHT, *archive)
    assert "2 new" in printed
    assert imported & (RARE | SKIPPED) == set()
