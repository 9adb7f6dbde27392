from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from palimpsest.records.errors import (
    ArchiveError,
    ContractError,
    SettingsError,
    SourceError,
    TransientError,
)
from palimpsest.records.ids import run_id_of


@pytest.mark.parametrize("error", [SettingsError, SourceError, ContractError, TransientError])
def test_every_error_is_an_archive_error_and_none_is_another(error):
    assert error.__bases__ == (ArchiveError,)
    assert not issubclass(ArchiveError, (ValueError, OSError))


def test_errors_have_fields_and_show_them():
    source = SourceError("binary", "too many controls")
    assert (source.reason, source.detail) == ("binary", "too many controls")
    assert str(source) == "binary: too many controls"
    faults = SettingsError(["one", "two"])
    assert (faults.faults, str(faults)) == (("one", "two"), "one\ntwo")


@pytest.mark.parametrize(
    "error", [SourceError("binary", "detail"), SettingsError(["one", "two"]), ContractError("x")]
)
def test_errors_pass_between_workers(error):
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_run_ids_sort_by_time():
    start = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    moments = [start + timedelta(microseconds=step) for step in (0, 1, 2, 60_000_000)]
    ids = [run_id_of(moment, "ff") for moment in moments]
    assert ids == sorted(set(ids))
    assert ids[0] == "20240229T235959999999-ff"
