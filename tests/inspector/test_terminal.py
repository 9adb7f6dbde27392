"""What the inspector prints for people."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inspector.terminal import (
    name_of,
    overview,
    printable,
    render_comparison,
    render_digests,
    render_passages,
    render_rows,
    render_summary,
    render_verification,
)
from records.schemas import TABLES
from store.archive import Archive
from store.views import passages


def test_overview_tells_rows_bytes_and_columns_of_each_table(examples_archive: Path) -> None:
    snapshot = Archive(examples_archive).snapshot()
    rows = {row["table"]: row for row in overview(snapshot)}
    assert list(rows) == list(TABLES)
    for name, row in rows.items():
        assert row["rows"] == snapshot.read(name).num_rows
        assert row["bytes"] == sum(path.stat().st_size for path in snapshot.files(name))
        assert row["columns"] == TABLES[name].names


@pytest.mark.parametrize("letter", ["\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2028", "\x00"])
def test_what_steers_a_terminal_is_replaced(letter: str) -> None:
    assert printable(f"a{letter}b") == "a\ufffdb"


def test_text_of_any_script_is_printed_as_it_is() -> None:
    text = "Zürich, 東京, Москва, مكتبة — «naïve» 🙂"
    assert printable(text) == text


def test_uri_is_shown_as_a_path() -> None:
    assert name_of("file:///a%20b/%C3%A9.txt") == "/a b/é.txt"
    assert name_of("file:///%1B%5B31m") == "/\ufffd[31m"
    assert name_of("file:///%FF.txt") == "/\ufffd.txt"


def test_rows_leave_out_what_is_empty_and_cut_what_is_long() -> None:
    row = {
        "text": "x" * 1000,
        "title": None,
        "shift_at": [],
        "at": datetime(2024, 1, 2, tzinfo=UTC),
    }
    told = render_rows([row])
    assert "title" not in told
    assert "shift_at" not in told
    assert "2024-01-02T00:00:00+00:00" in told
    assert len(told) < 400
    assert "…" in told


def test_nothing_is_told_as_such() -> None:
    assert render_rows([]) == "no rows"
    assert render_passages([]) == "no passages"
    assert render_comparison({"passages": []}) == "0 shared passages"


def test_passages_name_both_places_and_show_both_texts(examples_archive: Path) -> None:
    rows = passages(Archive(examples_archive).snapshot(), limit=2).to_pylist()
    told = render_passages(rows)
    for row in rows:
        for side in ("left", "right"):
            span = f"characters {row[f'{side}_start_char']}-{row[f'{side}_end_char']}"
            assert f"{name_of(row[f'{side}_uri'])}, {span}" in told
            assert row[f"{side}_passage"][:200] in told


def test_summary_tells_that_nothing_is_new() -> None:
    counts = dict.fromkeys(
        [
            "sources_found",
            "sources_new",
            "sources_known",
            "sources_rejected",
            "crowds",
            "portions",
            "batches_taken_up",
            "bytes_read",
            "seconds",
            "megabytes_per_second",
        ],
        0,
    )
    told = render_summary(counts | {"rejects_by_reason": {}, "version": None, "archive": "a\x1bb"})
    assert "nothing is new" in told
    assert "\x1b" not in told


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
    told = render_verification(
        {"archive": "/press", "version": 7, "failed": 3, "checks": checks}
    ).splitlines()
    assert told[0].split() == ["check", "passed", "failed", "not", "checked"]
    assert told[1].split() == ["files", "12,345", "0", "0"]
    assert told[2].split() == ["fixity", "0", "3", "2"]
    assert told[3] == "fixity: 2 not checked: gone"
    assert told[5].startswith("fixity: raw file, file:///a\ufffdb.txt: found xxx")
    assert told[5].endswith("…; expected y; bring it back")
    assert len(told[5]) < 500
    assert told[6] == "fixity: and 2 more"
    assert told[-1] == "/press, version 7: 3 failed"


def test_verification_without_failures_says_so() -> None:
    told = render_verification({"archive": "/press", "version": 7, "checks": [_checked("files")]})
    assert told.endswith("/press, version 7: nothing failed")


def test_digests_stand_a_line_a_table_and_one_for_all() -> None:
    told = render_digests({"sources": "aa", "rejects": "bb"}, "cc")
    assert told == "aa  sources\nbb  rejects\ncc  all tables"
