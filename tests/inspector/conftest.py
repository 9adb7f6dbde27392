"""Archives and catalogues that tests of the inspector share; only to be read."""

from pathlib import Path

import pytest

from palimpsest.inspector.catalogue import Catalogue
from palimpsest.pipeline.run import run_ingest
from palimpsest.records.settings import ReadSettings, Settings
from tests.inspector.sample_archives import catalogue_of, make_mixed


@pytest.fixture(scope="session")
def dated_examples(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """An archive of the examples with the dates in their paths."""
    path = tmp_path_factory.mktemp("dated") / "press"
    run_ingest([str(examples)], path, Settings(read=ReadSettings(date_from_path="%Y-%m-%d")))
    return path


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """An archive with all that there can be; ``sample_archives.make_mixed``."""
    return make_mixed(tmp_path_factory.mktemp("mixed"), root)


@pytest.fixture(scope="session")
def examples_catalogue(dated_examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return catalogue_of(dated_examples, tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="session")
def mixed_catalogue(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return catalogue_of(mixed, tmp_path_factory.mktemp("catalogue"))
