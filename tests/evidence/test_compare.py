"""Sides of a comparison, as pages mark passages in them; what is compared is in tests/flows."""

from pathlib import Path

import numpy as np
import pytest

from palimpsest.evidence.compare import compare_files, read_and_compare
from palimpsest.evidence.explain import explain
from palimpsest.evidence.passages import top_passages
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.kernels.columns import shift_positions
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import ingest, make_paragraph, make_words, write_articles


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


@pytest.mark.parametrize(
    ("edit", "relation"), [(0, "exact"), (1, "near"), (30, "contained"), (-30, "partial")]
)
def test_passage_has_the_same_relation_in_compare_passages_and_explain(
    edit: int, relation: str, tmp_path: Path
) -> None:
    words, around = make_words(1, 60), make_words(2, 40)
    other = [*words[:30], "edited", *words[31:]] if edit == 1 else list(words)
    texts = [" ".join([*around[:20], *words]), " ".join([*other, *around[20:]])]
    if edit == 30:  # passed over on one side only, a few at a time
        texts[1] = " ".join(_spread(words, make_words(3, 30)))
    if edit == -30:
        texts = [" ".join(_spread(words, make_words(seed, 30))) for seed in (3, 4)]
    folder = write_articles(tmp_path / "in", {"a.txt": texts[:1], "b.txt": texts[1:]})
    ingest(folder, tmp_path / "press")
    paths = [str(folder / name) for name in ("a.txt", "b.txt")]
    [compared] = compare_files(*paths)["passages"]
    snapshot = StoredArchive(tmp_path / "press").snapshot()
    [found] = top_passages(snapshot).to_pylist()
    uris = [Path(path).as_uri() for path in paths]
    explanation = explain(snapshot, *uris)
    [pair], [passage] = explanation["pairs"], explanation["passages"]
    assert [one["relation"] for one in (compared, found, passage)] == [relation] * 3
    assert pair["passages"][0]["relation"] == relation


def _spread(words: list[str], others: list[str]) -> list[str]:
    """Return words with one of the others behind every second one."""
    pairs = zip(words[::2], words[1::2], others, strict=True)
    return [word for group in pairs for word in group]


def test_words_between_joined_passages_are_not_matched(tmp_path: Path) -> None:
    first, second = make_paragraph(1), make_paragraph(2)
    (tmp_path / "a.txt").write_text(f"{first}\n\n{second}\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(
        f"{first}\n\nOnly here, briefly.\n\n{second}\n", encoding="utf-8"
    )
    [passage] = compare_files(str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))["passages"]
    matched = len(f"{first} {second}".split())
    assert passage["matched_words"] == matched
    assert passage["resemblance"] == round(matched / (matched + 3), 4)
    assert passage["relation"] == "near"


def test_comparison_has_the_values_of_compare_files(examples: Path) -> None:
    left, right = (
        str(next((examples / name).glob("*.txt")))
        for name in ("echo-des-joncs", "gazette-du-lavoir")
    )
    compared = read_and_compare(left, right)
    assert compared.to_dict() == compare_files(left, right)
    assert len(compared.passages()) == len(compared.shared) > 0
