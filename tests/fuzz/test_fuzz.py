"""The short form of ``make fuzz``."""

from __future__ import annotations

import pytest

from tests.fuzz import READERS, SECONDS, campaign

pytestmark = pytest.mark.usefixtures("compiled_kernels")


def test_readers_give_documents_or_a_reason_whatever_the_bytes() -> None:
    told = campaign(4_000, seed=20_240_304)
    assert told.faults == []
    assert told.inputs.keys() == READERS.keys()
    assert told.slowest < SECONDS
    assert len(told.reasons) > 8  # inputs reach many ways to fail


def test_a_fault_is_told_with_what_makes_it_again(monkeypatch) -> None:
    def fails(raw: bytes, *_: object) -> None:
        raise ValueError(len(raw))

    monkeypatch.setitem(READERS, "json", (fails, 0.3, (".jsonl",)))
    told = campaign(10, seed=1)
    assert [fault.split(":")[0] for fault in told.faults] == ["json 1 0", "json 1 1", "json 1 2"]
