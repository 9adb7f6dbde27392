"""Alignments of near-identical texts grow with their number, not with its square."""

from pathlib import Path

from palimpsest.records.settings import SignSettings
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import ingest, make_words, settings_of, write_articles

_REPORTS = 2000


def _reports(first: int, last: int) -> list[str]:
    """Return weather reports that differ only in their numbers and one word."""
    words = make_words(77, 40)
    return [
        " ".join([*words[:20], f"{number} degrees", f"word{number}", *words[20:]]) + "."
        for number in range(first, last)
    ]


def test_near_identical_texts_are_paired_with_few_heads(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": _reports(0, _REPORTS)})
    summary = ingest(folder, fresh_archive)
    sign = SignSettings()
    assert _REPORTS <= summary.candidates <= 8 * sign.crowd_heads * _REPORTS
    assert summary.candidates < _REPORTS * (_REPORTS - 1) / 2 / 20
    assert summary.crowds > 0
    snapshot = StoredArchive(fresh_archive).snapshot()
    assert snapshot.read("runs", ["crowds"]).column("crowds").to_pylist() == [summary.crowds]
    kept = snapshot.rows("paragraphs"), snapshot.rows("variants")
    assert kept == (_REPORTS, 0)  # their numbers differ


def test_adding_to_a_crowd_costs_in_proportion_to_the_new_texts(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": _reports(0, 1000)})
    ingest(folder, fresh_archive)
    write_articles(folder, {"b.txt": _reports(1000, 1010)})
    summary = ingest(folder, fresh_archive, settings_of(workers=2))
    assert summary.paragraphs_folded == 0
    assert summary.candidates < 10 * 8 * SignSettings().crowd_heads + 2 * 1010
