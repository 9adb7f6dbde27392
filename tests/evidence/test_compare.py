"""Sides of a comparison, as pages mark passages in them; what is compared is in tests/flows."""

from pathlib import Path

import numpy as np
import pytest

from evidence.compare import compare_files, read_and_compare
from ingest.normalise import normalise_text
from records.columns import shift_positions


@pytest.mark.parametrize("name", ["tikhoborskie-vesti", "shiqiao-zhenbao", "newsbarrow"])
def test_paragraphs_of_a_side_lead_back_to_the_document(name: str, examples: Path) -> None:
    path = next(one for one in sorted((examples / name).rglob("*.txt")) if one.stat().st_size)
    compared = read_and_compare(str(path), str(path))
    text = path.read_bytes().decode(compared.left.facts()["encoding"]).removeprefix("\ufeff")
    rows = compared.left.paragraphs()
    assert [row["ordinal"] for row in rows] == list(range(compared.left.facts()["paragraphs"]))
    for row in rows:
        assert normalise_text(text[row["start_char"] : row["end_char"]]) == row["text"]
        shifts = (np.array(row[name], np.int32) for name in ("shift_at", "shift_by"))
        places = shift_positions(np.arange(len(row["text"])), *shifts, row["start_char"])
        letters = [(one, text[at]) for one, at in zip(row["text"], places, strict=True)]
        assert all(one == other for one, other in letters if one.isalpha())


def test_a_comparison_is_told_as_files_are(examples: Path) -> None:
    left, right = (
        str(next((examples / name).glob("*.txt")))
        for name in ("echo-des-joncs", "gazette-du-lavoir")
    )
    compared = read_and_compare(left, right)
    assert compared.to_dict() == compare_files(left, right)
    assert len(compared.passages()) == len(compared.found) > 0
