"""The archive that all exports are tried on; only to be read."""

from pathlib import Path

import pytest

from tests.exports.archives import make_hostile


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hostile(tmp_path_factory.mktemp("hostile"))
