"""What the inspector prints for people."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from palimpsest.evidence.passages import top_passages
from palimpsest.inspector.terminal import (
    name_of,
    overview,
    printable,
    render_comparison,
    render_digests,
    render_explanation,
    render_passages,
    render_rows,
    render_summary,
    render_verification,
)
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive


def test_overview_shows_rows_bytes_and_columns_of_each_table(examples_archive: Path) -> None:
    snapshot = StoredArchive(examples_archive).snapshot()
    rows = {row["table"]: row for row in overview(snapshot)}
    assert list(rows) == list(TABLES)
    for name, row in rows.items():
        assert row["rows"] == snapshot.read(name).num_rows
        assert row["bytes"] == sum(path.stat().st_size for path in snapshot.files(name))
        assert row["columns"] == TABLES[name].names


@pytest.mark.parametrize("control", ["\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2028", "\x00"])
def test_control_characters_are_replaced(control: str) -> None:
    assert printable(f"a{control}b") == "a\ufffdb"


def test_text_of_any_script_is_printed_unchanged() -> None:
    text = "Zürich, 東京, Москва, مكتبة — «naïve» 🙂"
    assert printable(text) == text


def test_uri_is_shown_as_a_path() -> None:
    assert name_of("file:///a%20b/%C3%A9.txt") == "/a b/é.txt"
    assert name_of("file:///%1B%5B31m") == "/\ufffd[31m"
    assert name_of("file:///%FF.txt") == "/\ufffd.txt"


def test_rows_omit_empty_values_and_shorten_long_ones() -> None:
    row = {
        "text": "x" * 1000,
        "title": None,
        "shift_at": [],
        "at": datetime(2024, 1, 2, tzinfo=UTC),
    }
    output = render_rows([row])
    assert "title" not in output
    assert "shift_at" not in output
    assert "2024-01-02T00:00:00+00:00" in output
    assert len(output) < 400
    assert "…" in output


def test_empty_results_say_so() -> None:
    assert render_rows([]) == "no rows"
    assert render_passages([]) == "no passages"
    assert render_comparison({"passages": []}) == "0 shared passages"


def test_passages_name_both_places_and_show_both_texts(examples_archive: Path) -> None:
    rows = top_passages(StoredArchive(examples_archive).snapshot(), limit=2).to_pylist()
    output = render_passages(rows)
    for row in rows:
        for side in ("left", "right"):
            span = f"characters {row[f'{side}_start_char']}-{row[f'{side}_end_char']}"
            assert f"{name_of(row[f'{side}_uri'])}, {span}" in output
            assert " / ".join(row[f"{side}_passage"].split("\n\n"))[:200] in output


def test_summary_says_that_nothing_is_new() -> None:
    counts = dict.fromkeys(
        [
            "sources_found",
            "sources_new",
            "sources_known",
            "sources_rejected",
            "sources_rejected_new",
            "crowds",
            "paragraphs_unanchored",
            "portions",
            "batches_taken_up",
            "bytes_read",
            "seconds",
            "megabytes_per_second",
        ],
        0,
    )
    nothing = {"rejects_by_reason": {}, "first_rejects": [], "version": None}
    output = render_summary(counts | nothing | {"archive": "a\x1bb"})
    assert "nothing is new" in output
    assert "\x1b" not in output


def test_text_of_passages_is_wrapped_on_a_terminal_and_dates_are_shown() -> None:
    words = " ".join(f"word{number}" for number in range(40))
    row: dict[str, Any] = {"relation": "near", "matched_words": 40, "resemblance": 0.9}
    row["document_resemblance"] = 0.456
    for side in ("left", "right"):
        row |= {f"{side}_uri": "file:///a.txt", f"{side}_start_char": 0, f"{side}_end_char": 9}
        row |= {f"{side}_passage": words, f"{side}_published_at": datetime(2024, 3, 4, tzinfo=UTC)}
    lines = render_passages([row], width=40).splitlines()
    assert lines[0] == "near, 40 words, resemblance 0.90; of the documents 0.46"
    assert lines[1] == "/a.txt, characters 0-9, 2024-03-04:"
    assert max(map(len, lines[1:])) <= 40
    assert all(line.startswith("    word") for line in lines[2 : lines.index(lines[1], 2)])
    assert f"    {words}" in render_passages([row]).splitlines()


def _checked(name: str, **given: Any) -> dict[str, Any]:
    nothing = {"passed": 0, "failed": 0, "not_checked": 0, "not_checked_because": {}}
    return {"name": name, **nothing, "failures": [], **given}


def test_verification_shows_counts_reasons_and_failures() -> None:
    failure = {
        "what": "raw file",
        "where": "file:///a\x1bb.txt",
        "found": "x" * 1000,
        "expected": "y",
        "next": "bring it back",
    }
    checks = [
        _checked("files", passed=12345),
        _checked("fixity", failed=3, failures=[failure], not_checked=2),
    ]
    checks[1]["not_checked_because"] = {"gone": 2}
    output = render_verification(
        {"archive": "/press", "version": 7, "failed": 3, "checks": checks}
    ).splitlines()
    assert output[0].split() == ["check", "passed", "failed", "not", "checked"]
    assert output[1].split() == ["files", "12,345", "0", "0"]
    assert output[2].split() == ["fixity", "0", "3", "2"]
    assert output[3] == "fixity: 2 not checked: gone"
    assert output[5].startswith("fixity: raw file, file:///a\ufffdb.txt: found xxx")
    assert output[5].endswith("…; expected y; bring it back")
    assert len(output[5]) < 500
    assert output[6] == "fixity: and 2 more"
    assert output[-1] == "/press, version 7: 3 failed"


def test_verification_without_failures_says_so() -> None:
    output = render_verification({"archive": "/press", "version": 7, "checks": [_checked("files")]})
    assert output.endswith("/press, version 7: nothing failed")


def test_digests_have_a_line_for_each_table_and_one_for_all() -> None:
    output = render_digests({"sources": "aa", "rejects": "bb"}, "cc")
    assert output == "aa  sources\nbb  rejects\ncc  all tables"


def _explained(**given: Any) -> dict[str, Any]:
    """Return an explanation of two texts with an extra word on each side and a changed one."""
    side = {"text_id": "aa", "paragraph_id": "aa", "words": 9, "shingles": 8, "windows": 1}
    segments = [
        {"kind": "same", "left": "The clerk ", "right": "The Clerk "},
        {"kind": "left", "left": "slowly ", "right": ""},
        {"kind": "changed", "left": "shut, ", "right": "opened "},
        {"kind": "right", "left": "", "right": "b\x1b[31m"},
    ]
    window = {"number": 0, "shingles": 8, "text": "w\x07indow "}
    pair = {
        "left": side | {"documents": 1, "uri": "file:///a%1B.txt"},
        "right": side | {"text_id": "bb", "documents": 2, "uri": "file:///b.txt"},
        "is_overlap": True,
        "is_folded": True,
        "no_overlap_because": None,
        "differences": [],
        "bands": [0, 7],
        "bands_signed": 19,
        "closest_windows": {
            "left": window,
            "right": window,
            "shared_shingles": 6,
            "shared_share": 0.75,
            "estimated_resemblance": 0.61,
            "resemblance": 0.62,
        },
        "resemblance": 0.63,
        "left_containment": 0.64,
        "right_containment": 0.65,
        "left_share": 0.81,
        "right_share": 0.82,
        "relation": "near",
        "passages": [
            {
                "relation": "near",
                "matched_words": 7,
                "resemblance": 0.7,
                "score": 6.5,
                "segments": segments,
            }
        ],
    }
    return {
        "left": {"kind": "document", "id": "cc", "uri": "file:///a%1B.txt"},
        "right": None,
        "thresholds": {
            "min_shared_shingles": 5,
            "min_shared_share": 0.45,
            "min_score": 4.5,
            "min_resemblance": 0.35,
            "fold_share": 0.8,
            "clear_score": 9.0,
            "clear_share": 0.3,
            "enough_score": 10.0,
            "clear_strength": 3.2,
            "clear_resemblance": 0.35,
            "clear_numbers": 0.45,
            "clear_words": 15,
            "summary_score": 25.0,
        },
        "pairs_found": 5,
        "pairs": [pair | given],
        "passages": None,
    }


def test_explanation_marks_words_of_one_side_only() -> None:
    output = render_explanation(_explained())
    assert "The clerk [-slowly-] [-shut,-] {+opened+} {+b\ufffd[31m+}" in output
    assert not set(output) & {"\x1b", "\x07"}
    assert "document cc, /a\ufffd.txt" in output


def test_explanation_shows_each_figure_with_its_threshold() -> None:
    output = render_explanation(_explained())
    for part in (
        "5 pairs of texts; showing 1 that share the most words",
        "near, 7 words: an overlap, folded into one paragraph",
        "9 words, 8 shingles, 1 window, in 1 document: /a",
        "in 2 documents: /b.txt, …",
        "shared in 2 of 19 bands: 0 7",
        "share 6 shingles (least 5), 0.75 of the shorter (least 0.45)",
        "resemblance 0.61 estimated, 0.62 exact",
        "resemblance 0.63; 0.64 of the left are on the right, 0.65 of the right on the left",
        "0.81 of the left, 0.82 of the right; near if both reach 0.80",
        "7 words, score 6.50 (least 4.50), resemblance 0.70 (least 0.35)",
    ):
        assert part in output


def test_explanation_names_what_kept_near_texts_apart() -> None:
    differences = [{"left": "325,000 ", "right": "110,000"}, {"left": "", "right": "not"}]
    output = render_explanation(_explained(is_folded=False, differences=differences))
    assert "kept apart   325,000 / 110,000; nothing / not\n" in output
    many = [{"left": f"{n}", "right": ""} for n in range(12)]
    assert "; and 2 more\n" in render_explanation(_explained(differences=many))
    assert "kept apart" not in render_explanation(_explained())


def test_explanation_says_why_there_is_no_overlap() -> None:
    nothing = {"is_overlap": False, "relation": None, "bands": [], "passages": []}
    nothing |= {"no_overlap_because": "no-bucket", "closest_windows": None}
    output = render_explanation(_explained(**nothing))
    assert "nothing shared, 0 words: no overlap: no window of one shares both" in output
    assert "shared in 0 of 19 bands\n" in output
    assert "none on one side" in output
    assert "no passage scores at least 4.5" in output
    nothing = {"pairs": [], "pairs_found": 0, "passages": []}
    assert "no text has an overlap with it" in render_explanation(_explained() | nothing)
    right = {"kind": "document", "id": "dd", "uri": "file:///b.txt"}
    output = render_explanation(_explained() | nothing | {"right": right})
    assert "no text of one has an overlap with a text of the other" in output
    assert "0 passages of the two documents" in output


def test_explanation_shows_passages_of_documents() -> None:
    side = {"start_char": 10, "end_char": 70, "words": 12, "passage": "pass\x1bage"}
    passage = {"left": side, "right": side, "matched_words": 11, "resemblance": 0.9, "score": 9.5}
    passage |= {"relation": "near", "is_clear": True, "is_recurring": True}
    output = render_explanation(_explained() | {"passages": [passage]})
    assert "1 passage of the two documents; clear: score 9, 0.30 of the best" in output
    assert "near, 11 words, resemblance 0.90, score 9.50: clear, recurring" in output
    assert "    left, characters 10-70: pass\ufffdage" in output
