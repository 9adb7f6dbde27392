"""The archive that every export test reads."""

from pathlib import Path

import pytest

from tests.exports.archives import make_hostile


@pytest.fixture(scope="session")
def hostile_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of an archive with text that is likely to trouble readers; only to be read."""
    return make_hostile(tmp_path_factory.mktemp("hostile"))
