"""Fixtures that several rooms share. Prefect's folder is named before anything imports Prefect."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

_HOME = Path(tempfile.mkdtemp(prefix="palimpsest-tests-"))
_KEPT = {"PALIMPSEST_LONG", "PALIMPSEST_SERVERS", "PALIMPSEST_ARCHIVE"}  # set by make
for _name in [name for name in os.environ if name.startswith(("PREFECT_", "PALIMPSEST_"))]:
    if _name not in _KEPT:
        del os.environ[_name]
os.environ |= {
    "DO_NOT_TRACK": "1",
    "PREFECT_HOME": str(_HOME / "prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_CLI_PROMPT": "false",
}

ROOT = Path(__file__).parents[1]

# Profiles of property tests: `ci` repeats the same examples in every run, so that only a change of
# the code can make a test fail; `random` draws new ones; `soak` draws ten times as many. None has a
# deadline, since the first example may load kernels.
for _profile, _is_fixed, _examples in (
    ("ci", True, 100),
    ("random", False, 100),
    ("soak", False, 1_000),
):
    settings.register_profile(
        _profile,
        derandomize=_is_fixed,
        max_examples=_examples,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("ci")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of a random profile. Workers of xdist get it with the other options."""
    options = config.option
    if options.hypothesis_seed and not options.hypothesis_profile:
        options.hypothesis_profile = "random"
    profile = settings.get_profile(options.hypothesis_profile or "ci")
    if not profile.derandomize and options.hypothesis_seed is None:
        options.hypothesis_seed = str(random.SystemRandom().randrange(2**32))


def pytest_report_header(config: pytest.Config) -> str | None:
    seed, profile = config.option.hypothesis_seed, config.option.hypothesis_profile
    if seed is None:
        return None
    return f"random examples; to repeat: --hypothesis-profile={profile} --hypothesis-seed={seed}"


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def compiled_kernels() -> None:
    """Load every kernel, so that no process that a test starts has to compile one.

    For tests with time limits or with processes of their own; others load what they call.
    """
    from palimpsest.pipeline.warm_up import warm_up

    warm_up()


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def examples() -> Path:
    """The example articles."""
    return ROOT / "examples" / "articles"


@pytest.fixture
def fresh_archive(tmp_path: Path) -> Path:
    """A path at which there is no archive yet."""
    return tmp_path / "shelves" / "press"


@pytest.fixture(scope="session")
def examples_archive(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """An archive of the examples, made in one run without Prefect; only to be read."""
    from palimpsest.pipeline.run import run_ingest

    path = tmp_path_factory.mktemp("examples") / "press"
    run_ingest([str(examples)], path)
    return path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    """An S3 server of the session with the bucket ``shelves``; the environment leads to it."""
    for name in ("moto", "flask_cors", "boto3"):
        pytest.importorskip(name, reason=f"{name} is not installed; it is in the extra dev")
    from tests.store.s3 import Server, client, environment

    server = Server()
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patched.delenv(name)
        for name, value in environment(server.url).items():
            patched.setenv(name, value)
        client().create_bucket(Bucket=server.bucket)
        yield server
    server.stop()


@pytest.fixture
def s3(s3_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The S3 server; copies of what it holds are kept in a folder of the test."""
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "copies"))
    s3_server.requests.clear()
    yield s3_server
    s3_server.fault = lambda _: None


@pytest.fixture
def s3_archive(s3: Any, tmp_path: Path) -> str:
    """An address at which there is no archive yet."""
    return f"s3://{s3.bucket}/{tmp_path.name}/press"


@pytest.fixture(scope="session")
def prefect_harness() -> Iterator[None]:
    """A Prefect server of the session, with a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
