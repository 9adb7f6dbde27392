"""Archives that these tests read."""

from pathlib import Path

import pytest

from palimpsest import Archive
from tests.api.two_papers import make_shelf


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the archive of two papers; only to be read."""
    return make_shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def archive(shelf: Path) -> Archive:
    """The archive of two papers."""
    return Archive(shelf)


@pytest.fixture
def examples_opened(examples_archive: Path) -> Archive:
    """The archive of the example articles."""
    return Archive(examples_archive)
