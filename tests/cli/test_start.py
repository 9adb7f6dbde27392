"""A command imports what it needs and no more: most of its time is that of imports."""

import json
import subprocess
import sys

import pytest

ARTICLES = "examples/articles"
LEFT = f"{ARTICLES}/wieselbacher-umschau/2024-10-08-glocke-im-muehlteich.txt"
RIGHT = f"{ARTICLES}/der-talbote/2024-10-10-gruenmoos-findet-glocke.txt"

RARE = {
    "boto3", "dateparser", "datasketch", "fsspec", "prefect", "py3langid", "sqlalchemy",
    "trafilatura", "warcio",
}  # fmt: skip
"""Needed for some sources, for settings that no level has, or by a server."""
OF_TABLES = {"duckdb", "pandas", "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet", "rich"}
"""Needed to read an archive, or not even then: pyarrow imports pandas where it makes an array."""
LEFT_OUT = {"pandas", "scipy.linalg"}
"""What pyarrow and numba import for what is not done here, wherever it is installed."""
COMPILED = {"llvmlite", "numba", "numpy", "pyarrow", "pydantic", "scipy"}
"""What kernels and settings stand on; numba imports scipy wherever that is installed."""

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
        done = subprocess.run(
            [sys.executable, "-c", _RUN, *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(json.loads(done.stderr.splitlines()[-1])), done.stdout

    return run


def test_help_imports_no_room_and_no_large_library(imported_by):
    imported, printed = imported_by("--help")
    assert "Look after:" in printed
    assert imported & (RARE | OF_TABLES | COMPILED) == set()
    rooms = ("dedup", "evidence", "exports", "flows", "ingest", "inspector", "store")
    assert imported & set(rooms) == set()


@pytest.mark.usefixtures("compiled_kernels")
def test_compare_imports_nothing_that_reads_archives(imported_by):
    imported, printed = imported_by("compare", LEFT, RIGHT)
    assert printed.startswith("near, ")
    assert imported & (RARE | OF_TABLES | LEFT_OUT) == set()
    assert imported & {"exports", "flows", "store"} == set()


@pytest.mark.usefixtures("compiled_kernels")
@pytest.mark.parametrize("level", ["verbatim", "edited", "reworded"])
def test_direct_run_imports_only_what_its_sources_need(imported_by, tmp_path, level):
    archive = ("--archive", str(tmp_path / "archive"), "--sensitivity", level)
    imported, printed = imported_by("ingest", "--no-prefect", LEFT, RIGHT, *archive)
    assert "2 new" in printed
    assert imported & (RARE | LEFT_OUT) == set()
