"""Archives that the tests of the Python API read."""

from pathlib import Path

import pytest

from palimpsest import Archive
from tests.api.two_papers import make_archive


@pytest.fixture(scope="session")
def archive_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the archive of two papers; only to be read."""
    return make_archive(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def archive(archive_path: Path) -> Archive:
    """The archive of two papers."""
    return Archive(archive_path)


@pytest.fixture
def opened_examples(examples_archive: Path) -> Archive:
    """The archive of the example articles."""
    return Archive(examples_archive)
