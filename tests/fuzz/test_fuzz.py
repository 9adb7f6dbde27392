"""The short form of ``make fuzz``."""

from __future__ import annotations

import pytest

from tests.fuzz import READERS, SECONDS, campaign

pytestmark = pytest.mark.usefixtures("compiled_kernels")


def test_readers_return_documents_or_a_reason_for_any_bytes() -> None:
    result = campaign(4_000, seed=20_240_304)
    assert result.faults == []
    assert result.inputs.keys() == READERS.keys()
    assert result.slowest < SECONDS
    assert len(result.reasons) > 8  # inputs reach many kinds of failure


def test_fault_names_the_input_that_caused_it(monkeypatch) -> None:
    def fails(raw: bytes, *_: object) -> None:
        raise ValueError(len(raw))

    monkeypatch.setitem(READERS, "json", (fails, 0.3, (".jsonl",)))
    result = campaign(10, seed=1)
    assert [fault.split(":")[0] for fault in result.faults] == ["json 1 0", "json 1 1", "json 1 2"]
