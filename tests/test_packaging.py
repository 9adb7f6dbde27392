"""The wheel, installed into a new environment and used from a folder with names like ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the files that git tracks."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("this is no git checkout, so the files of the wheel are not known")
    for name in filter(None, tracked.stdout.decode().split("\0")):
        original, copy = ROOT / name, source / name
        if not os.path.lexists(original) or name.startswith(("tests/", "benchmarks/", "docs/")):
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if original.is_symlink():
            copy.symlink_to(original.readlink())
        else:
            copy.write_bytes(original.read_bytes())
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    _run(sys.executable, *command, "--wheel-dir", str(folder), str(source), cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel, and its dependencies from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    _run(
        sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
        "--no-index", str(wheel), cwd=folder,
    )  # fmt: skip
    [site] = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    _reuse_compiled_kernels(site / "palimpsest")
    return python


def _reuse_compiled_kernels(package: Path) -> None:
    """Copy numba's cache, which compares the time and size of each source; else it compiles."""
    for source in package.rglob("*.py"):
        original = ROOT / "src/palimpsest" / source.relative_to(package)
        os.utime(source, ns=(original.stat().st_atime_ns, original.stat().st_mtime_ns))
        cache = source.parent / "__pycache__"
        for compiled in original.parent.glob(f"__pycache__/{original.stem}.*.nb?"):
            cache.mkdir(exist_ok=True)
            shutil.copy2(compiled, cache)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of a Prefect user, with packages and a module named like our rooms."""
    for name in ("flows", "store"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('theirs')\n", "utf-8")
    (tmp_path / "records.py").write_text("raise ImportError('theirs')\n", encoding="utf-8")
    article = "The ferry to the island was late again on Monday, and nobody on the quay knew why. "
    for number in (1, 2):
        (tmp_path / f"{number}.txt").write_text(f"Story {number}\n\n{article * 3}\n", "utf-8")
    return tmp_path


def _run(*command: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_wheel_has_one_top_level_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"palimpsest"}
    assert wheel.name.startswith("palimpsest_archive-")
    rooms = {path.name for path in (ROOT / "src/palimpsest").iterdir() if path.is_symlink()}
    assert rooms <= {name.split("/")[1] for name in names if name.startswith("palimpsest/")}
    for data in ("py.typed", "dedup/function_words.txt", "inspector/catalogue/schema.sql"):
        assert f"palimpsest/{data}" in names


def test_command_works_beside_packages_of_the_same_names(python: Path, project: Path) -> None:
    command = str(python.with_name("palimpsest"))
    output = _run(
        command, "ingest", "1.txt", "2.txt", "--archive", "press", "--no-prefect", cwd=project
    )
    assert "2 found = 2 new" in output


def test_api_works_beside_packages_of_the_same_names(python: Path, project: Path) -> None:
    code = (
        "import palimpsest; from palimpsest.errors import SettingsError;"
        "palimpsest.ingest(['1.txt', '2.txt'], 'press');"
        "print(palimpsest.Archive('press').rows['documents'], palimpsest.__file__)"
    )
    count, path = _run(str(python), "-c", code, cwd=project).split(maxsplit=1)
    assert count == "2"
    assert Path(path.strip()).is_relative_to(python.parents[1])


@pytest.mark.parametrize(
    "entrypoint", ["palimpsest.flows.ingest.ingest", "palimpsest.flows.maintenance.verify"]
)
def test_flow_loads_by_entrypoint_beside_packages_of_the_same_names(
    python: Path, project: Path, entrypoint: str
) -> None:
    code = (
        "from prefect.flows import load_flow_from_entrypoint as load;"
        f"print(load({entrypoint!r}).name)"
    )
    assert _run(str(python), "-c", code, cwd=project).strip() == entrypoint.rpartition(".")[2]
