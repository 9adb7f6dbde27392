"""An intact archive passes verification, and each kind of damage fails its check."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from palimpsest.cli.main import main
from palimpsest.ingest.finding.discover import uri_of
from palimpsest.pipeline.compact import compact
from palimpsest.pipeline.verify import verify
from palimpsest.records.progress import READING_RAW_FILES, READING_TABLES, Step
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import ingest, listing, make_paragraph, write_articles
from tests.store.damage import Change, copy_archive, double, lose, put, rewrite
from tests.store.rows import make_row

CHECKS = [
    "files",
    "keys",
    "references",
    "conservation",
    "identity",
    "lossless",
    "passages",
    "index",
    "fixity",
    "spans",
]
NOBODY = "0" * 32
Checks = dict[str, dict[str, Any]]


def verified(archive: Path, *options: str, code: int) -> Checks:
    """Run the command; return its checks by name."""
    result = CliRunner().invoke(main, ["verify", str(archive), "--json", *options])
    assert result.exit_code == code, result.output
    reports = json.loads(result.stdout)
    assert [check["name"] for check in reports["checks"]] == CHECKS
    assert reports["failed"] == sum(check["failed"] for check in reports["checks"])
    for check in reports["checks"]:
        assert len(check["failures"]) == min(check["failed"], 10)
        assert sum(check["not_checked_because"].values()) == check["not_checked"]
        for failure in check["failures"]:
            assert set(failure) == {"what", "where", "found", "expected", "next"}
            assert all(isinstance(part, str) and part for part in failure.values())
    return {check["name"]: check for check in reports["checks"]}


def failing(checks: Checks) -> set[str]:
    return {name for name, check in checks.items() if check["failed"]}


@pytest.fixture
def damaged(examples_archive: Path, tmp_path: Path) -> Path:
    """A copy of the examples' archive, with a folded text, that a test may damage."""
    copy = copy_archive(examples_archive, tmp_path / "press")
    snapshot = StoredArchive(copy).snapshot()
    text = max(snapshot.read("paragraphs", ["text"])["text"].to_pylist(), key=len)
    reprint = write_articles(
        tmp_path / "reprint", {"reprint.txt": [text.replace(", ", "; "), make_paragraph(9)]}
    )
    ingest(reprint, copy, snapshot.settings())
    compact(copy)
    assert StoredArchive(copy).snapshot().rows("variants") == 1
    return copy


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of three articles, and their archive."""
    articles = {
        "a.txt": [make_paragraph(1), make_paragraph(2)],
        "b.txt": [make_paragraph(1), make_paragraph(3)],
        "c.txt": [make_paragraph(4)],
    }
    folder = write_articles(tmp_path / "in", articles)
    ingest(folder, tmp_path / "press")
    return folder, tmp_path / "press"


def test_examples_pass_every_check(examples_archive: Path) -> None:
    before = listing(examples_archive)
    checks = verified(examples_archive, code=0)
    snapshot = StoredArchive(examples_archive).snapshot()
    for check in checks.values():
        assert check["passed"] > 0
        assert (check["failed"], check["not_checked"]) == (0, 0)
    assert checks["files"]["passed"] == sum(len(snapshot.files(name)) for name in TABLES)
    assert checks["lossless"]["passed"] == snapshot.rows("documents")
    assert checks["passages"]["passed"] == snapshot.rows("overlaps")
    assert checks["fixity"]["passed"] == snapshot.rows("sources")
    assert checks["spans"]["passed"] == snapshot.rows("occurrences")
    assert listing(examples_archive) == before


def test_archive_of_several_runs_passes(own: tuple[Path, Path]) -> None:
    folder, archive = own
    again = {"d.txt": [make_paragraph(1, edit=2)], "0.txt": [make_paragraph(3), make_paragraph(4)]}
    write_articles(folder, again)
    ingest(folder, archive)
    checks = verified(archive, code=0)
    assert all(check["passed"] for check in checks.values())


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("mark.txt", b"\xef\xbb\xbfcaf\xc3\xa9 au lait"),
        ("mark-of-another.txt", b"\xff\xfeplain words behind a mark"),
        ("mark-before-cp1252.txt", b"\xef\xbb\xbfle caf\xe9 d\xe9j\xe0 vu \xe0 l'\xe9t\xe9, " * 9),
        ("wide.txt", "\ufeffwörter 🙂 und\n\nnoch mehr".encode("utf-16-le")),
        ("broken.txt", "größer ".encode() * 20 + b"\xff\n\nand then plain"),
        ("japanese.txt", ("漢字かな交じり文を書く。" * 9).encode("cp932")),
        ("wrapped.txt", b"soft\xc2\xadhyphens  and\r\nlines\r\n\r\ncafe\xcc\x81"),
    ],
)
def test_spans_of_odd_encodings_pass(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(raw)
    assert ingest(tmp_path / "in", tmp_path / "press").sources_rejected == 0
    checks = verified(tmp_path / "press", code=0)
    assert checks["spans"]["passed"] > 0
    assert checks["spans"]["not_checked"] == 0


def test_tables_only_reports_the_rest_as_not_checked(examples_archive: Path) -> None:
    checks = verified(examples_archive, "--tables-only", code=0)
    snapshot = StoredArchive(examples_archive).snapshot()
    for name, table in (("fixity", "sources"), ("spans", "occurrences")):
        assert (checks[name]["passed"], checks[name]["failed"]) == (0, 0)
        reasons = checks[name]["not_checked_because"]
        assert reasons == {"left out by --tables-only": snapshot.rows(table)}
    assert all(checks[name]["passed"] for name in CHECKS[:7])


def _shift(by: int) -> Callable[[int], int]:
    return lambda old: old + by


DAMAGE: list[tuple[str, Change, set[str]]] = [
    # a span; the first occurrence is the place of a paragraph, which refers to it
    ("occurrences", put("start_byte", _shift(1)), {"spans", "references"}),
    ("occurrences", put("end_byte", _shift(-1)), {"spans", "references"}),
    ("occurrences", put("end_byte", 10**12), {"spans", "references"}),
    ("occurrences", put("start_byte", -5), {"spans", "references"}),
    ("occurrences", put("start_byte", None), {"spans", "references"}),
    ("occurrences", put("start_char", _shift(1)), {"spans", "references"}),
    ("occurrences", put("end_char", _shift(-1)), {"spans", "references"}),
    ("paragraphs", put("start_char", _shift(1)), {"references"}),
    ("paragraphs", put("end_byte", _shift(1)), {"references"}),
    ("documents", put("characters", _shift(1)), {"spans"}),
    ("documents", put("encoding", "utf-16-le"), {"spans"}),
    ("documents", put("encoding", "klingon"), {"spans"}),
    # a text, an id, a digest
    ("paragraphs", put("text", lambda old: old[:-1]), {"identity", "lossless", "spans"}),
    ("variants", put("text", lambda old: old + "!"), {"identity", "lossless", "spans"}),
    (
        "paragraphs",
        put("paragraph_id", NOBODY),
        {"references", "identity", "lossless", "index", "spans"},
    ),
    (
        "variants",
        put("text_id", NOBODY),
        {"references", "identity", "lossless", "passages", "index", "spans"},
    ),
    (
        "documents",
        put("document_id", NOBODY),
        {"references", "conservation", "identity", "lossless", "index"},
    ),
    ("documents", put("text_sha256", NOBODY * 2), {"lossless"}),
    ("documents", put("sha256", lambda old: old[:-4] + "face"), {"fixity"}),
    # a reference that leads nowhere
    ("occurrences", put("document_id", NOBODY), {"keys", "references", "conservation", "lossless"}),
    ("occurrences", put("text_id", NOBODY), {"references", "lossless", "spans"}),
    ("variants", put("paragraph_id", NOBODY), {"references"}),
    ("overlaps", put("left_text_id", NOBODY), {"references", "passages"}),
    ("overlaps", put("right_text_id", NOBODY), {"references", "passages"}),
    ("sources", put("document_id", NOBODY), {"references"}),
    ("paragraphs", put("document_id", NOBODY), {"references"}),
    ("paragraphs", put("ordinal", 99), {"references"}),
    ("paragraphs", put("uri", "file:///none.txt"), {"references"}),
    # a row that occurs twice
    ("paragraphs", double(), {"keys", "index"}),
    ("variants", double(), {"keys", "index"}),
    ("documents", double(), {"keys", "index"}),
    ("occurrences", double(), {"keys", "conservation", "lossless"}),
    # a row that is missing
    ("paragraphs", lose(), {"references", "lossless", "index", "spans"}),
    ("variants", lose(), {"references", "lossless", "passages", "index", "spans"}),
    ("documents", lose(), {"references", "index"}),
    ("occurrences", lose(), {"keys", "references", "conservation", "lossless"}),
    ("occurrences", lose(-1), {"keys", "references", "conservation", "lossless"}),
    # an ordinal that is not the next
    ("occurrences", put("ordinal", 50), {"keys", "references", "lossless"}),
    # counts
    ("documents", put("paragraphs", _shift(1)), {"keys", "conservation"}),
    ("runs", put("sources_known", _shift(1)), {"conservation"}),
    # a passage
    ("overlaps", put("left_passage", lambda old: old + "."), {"passages"}),
    ("overlaps", put("right_passage", lambda old: old[1:]), {"passages"}),
    ("overlaps", put("left_start_char", _shift(1)), {"passages"}),
    ("overlaps", put("right_end_char", _shift(1)), {"passages"}),
    ("overlaps", put("left_start_char", -3), {"passages"}),
]


@pytest.mark.parametrize(("table", "change", "expected"), DAMAGE)
def test_damage_fails_its_checks(
    damaged: Path, table: str, change: Change, expected: set[str]
) -> None:
    rewrite(damaged, table, change)
    checks = verified(damaged, code=1)
    assert failing(checks) == expected, checks
    snapshot = StoredArchive(damaged).snapshot()
    for name, counted in (("fixity", "sources"), ("spans", "occurrences")):
        counts = [checks[name][one] for one in ("passed", "failed", "not_checked")]
        assert sum(counts) == snapshot.rows(counted)


@pytest.mark.parametrize("column", ["start_char", "end_char", "start_byte", "end_byte"])
def test_wrong_span_of_a_repeat_fails_by_itself(damaged: Path, column: str) -> None:
    snapshot = StoredArchive(damaged).snapshot()
    kept_places = {
        (row["document_id"], row["ordinal"]) for row in snapshot.read("paragraphs").to_pylist()
    }
    places = [
        (row["document_id"], row["ordinal"]) for row in snapshot.read("occurrences").to_pylist()
    ]
    repeat = next(at for at, place in enumerate(places) if place not in kept_places)
    by = -1 if column.startswith("end") else 1
    rewrite(damaged, "occurrences", put(column, _shift(by), repeat))
    checks = verified(damaged, code=1)
    assert failing(checks) == {"spans"}
    [failure] = checks["spans"]["failures"]
    assert failure["what"] == f"span in {'characters' if 'char' in column else 'bytes'}"
    document, ordinal = places[repeat]
    assert failure["where"].startswith(f"{document} at {ordinal}, file://")


def test_removed_document_that_is_still_stored_fails(damaged: Path) -> None:
    one = StoredArchive(damaged).snapshot().read("documents").column("document_id")[0].as_py()
    row = make_row("removals", 0, document_id=one, removed_at=datetime(2024, 1, 1, tzinfo=UTC))
    rows = pa.Table.from_pylist([row], schema=TABLES["removals"])
    rewrite(damaged, "removals", lambda _: rows)
    checks = verified(damaged, "--tables-only", code=1)
    assert failing(checks) == {"references"}
    [failure] = checks["references"]["failures"]
    assert failure["what"] == "removals.document_id"
    assert failure["where"] == one


def test_variant_that_is_also_a_paragraph_fails(damaged: Path) -> None:
    one = StoredArchive(damaged).snapshot().read("paragraphs").column("paragraph_id")[0].as_py()
    rewrite(damaged, "variants", put("text_id", one))
    checks = verified(damaged, "--tables-only", code=1)
    assert [failure["where"] for failure in checks["keys"]["failures"]] == [one]


def test_failures_beyond_ten_are_counted(damaged: Path) -> None:
    changed = StoredArchive(damaged).snapshot().read("overlaps")
    passages = pa.array(["something else"] * changed.num_rows)
    place = changed.schema.get_field_index("left_passage")
    field = changed.schema.field("left_passage")
    rewrite(damaged, "overlaps", lambda rows: rows.set_column(place, field, passages))
    checks = verified(damaged, "--tables-only", code=1)
    assert checks["passages"]["failed"] == changed.num_rows > 10
    assert checks["passages"]["passed"] == 0


def _tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _truncate(path: Path) -> None:
    path.write_bytes(b"")


def _flip_page(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    for place in range(40, 80):
        raw[place] ^= 0xFF
    path.write_bytes(raw)


def _remove(path: Path) -> None:
    path.unlink()


def _drop_column(path: Path) -> None:
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(rows.drop_columns(rows.column_names[-1:]), path)


def _change_type(path: Path) -> None:
    rows = pq.read_table(path, partitioning=None)
    schema = rows.schema.set(0, rows.schema.field(0).with_type(pa.large_string()))
    pq.write_table(rows.cast(schema), path)


def _allow_nulls(path: Path) -> None:
    rows = pq.read_table(path, partitioning=None)
    fields = [field.with_nullable(True) for field in rows.schema]
    pq.write_table(rows.cast(pa.schema(fields)), path)


@pytest.mark.parametrize(
    "tear", [_tear, _truncate, _flip_page, _remove, _drop_column, _change_type, _allow_nulls]
)
@pytest.mark.parametrize("name", ["paragraphs", "occurrences", "sources", "rejects"])
def test_unusable_file_fails_and_the_rest_is_still_checked(
    damaged: Path, name: str, tear: Callable[[Path], None]
) -> None:
    [path] = StoredArchive(damaged).snapshot().files(name)
    tear(path)
    checks = verified(damaged, code=1)
    assert failing(checks) == {"files"}
    assert checks["files"]["failed"] == 1
    assert checks["files"]["failures"][0]["where"] == str(path)
    needed_by = {
        "paragraphs": set(CHECKS) - {"files", "conservation"},
        "occurrences": {"keys", "references", "conservation", "lossless", "fixity", "spans"},
        "sources": {"references", "fixity", "spans"},
        "rejects": set(),
    }[name]
    left = {one for one in CHECKS if checks[one]["not_checked"]}
    assert left == needed_by
    for one in left:
        assert all(name in reason for reason in checks[one]["not_checked_because"])
    assert checks["conservation"]["passed"] > 0


def test_lost_row_that_the_manifest_still_counts_fails(damaged: Path) -> None:
    rewrite(damaged, "rejects", lose(), is_listed=False)
    checks = verified(damaged, "--tables-only", code=1)
    [failure] = checks["files"]["failures"]
    assert failure["found"] == "0"
    assert failing(checks) == {"files"}


def test_file_that_no_manifest_names_fails(damaged: Path) -> None:
    [path] = StoredArchive(damaged).snapshot().files("sources")
    shutil.copy(path, path.with_name("more.parquet"))
    checks = verified(damaged, "--tables-only", code=1)
    [failure] = checks["files"]["failures"]
    assert failure["where"].endswith("more.parquet")


def test_flipped_byte_in_a_raw_file_fails_fixity(own: tuple[Path, Path]) -> None:
    folder, archive = own
    raw = bytearray((folder / "b.txt").read_bytes())
    raw[5] ^= 1
    (folder / "b.txt").write_bytes(raw)
    checks = verified(archive, code=1)
    assert failing(checks) == {"fixity"}
    [failure] = checks["fixity"]["failures"]
    assert failure["where"] == uri_of(str(folder / "b.txt"))
    assert (checks["fixity"]["passed"], checks["fixity"]["not_checked"]) == (2, 0)
    assert (checks["spans"]["passed"], checks["spans"]["not_checked"]) == (3, 2)
    assert failing(verified(archive, "--tables-only", code=0)) == set()


def test_raw_file_that_is_missing_is_not_checked(own: tuple[Path, Path]) -> None:
    folder, archive = own
    (folder / "a.txt").unlink()
    (folder / "c.txt").unlink()
    (folder / "c.txt").mkdir()
    checks = verified(archive, code=0)
    assert (checks["fixity"]["passed"], checks["fixity"]["not_checked"]) == (1, 2)
    assert set(checks["fixity"]["not_checked_because"]) == {
        "the file is not available (vanished)",
        "the file is not available (not-a-file)",
    }
    assert (checks["spans"]["passed"], checks["spans"]["not_checked"]) == (2, 3)


def test_one_good_source_of_a_document_is_enough_for_its_spans(own: tuple[Path, Path]) -> None:
    folder, archive = own
    shutil.copy(folder / "a.txt", folder / "z.txt")
    ingest(folder, archive)
    (folder / "a.txt").unlink()
    checks = verified(archive, code=0)
    assert (checks["fixity"]["passed"], checks["fixity"]["not_checked"]) == (3, 1)
    assert (checks["spans"]["passed"], checks["spans"]["not_checked"]) == (5, 0)


def test_file_that_was_replaced_and_read_again_is_not_checked(own: tuple[Path, Path]) -> None:
    folder, archive = own
    write_articles(folder, {"c.txt": [make_paragraph(5)]})
    assert failing(verified(archive, code=1)) == {"fixity"}
    ingest(folder, archive)
    checks = verified(archive, code=0)
    assert checks["fixity"]["passed"] == 3
    reasons = checks["fixity"]["not_checked_because"]
    assert reasons == {"the file was replaced since, and read again": 1}
    assert checks["spans"]["not_checked"] == 1


def test_file_restored_to_an_earlier_content_fails(own: tuple[Path, Path]) -> None:
    folder, archive = own
    first = (folder / "c.txt").read_bytes()
    write_articles(folder, {"c.txt": [make_paragraph(5)]})
    ingest(folder, archive)
    (folder / "c.txt").write_bytes(first)
    checks = verified(archive, code=1)
    assert (checks["fixity"]["passed"], checks["fixity"]["failed"]) == (3, 1)


def test_unavailable_source_is_not_checked(
    own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, archive = own
    monkeypatch.setattr("palimpsest.ingest.finding.remote._pause", lambda _: None)
    rewrite(archive, "sources", put("uri", "http://127.0.0.1:9/a.txt"))
    checks = verified(archive, code=1)
    reasons = checks["fixity"]["not_checked_because"]
    assert reasons == {"the file is not available (unreachable)": 1}


def test_file_whose_name_is_invalid_utf_8_is_verified(tmp_path: Path) -> None:
    folder = write_articles(tmp_path / "in", {"50% & more\udcff.txt": [make_paragraph(1)]})
    ingest(folder, tmp_path / "press")
    assert verified(tmp_path / "press", code=0)["fixity"]["passed"] == 1


def test_archive_without_rows_passes(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    ingest(tmp_path / "empty.txt", tmp_path / "press")
    checks = verified(tmp_path / "press", code=0)
    assert checks["files"]["passed"] == len(TABLES)
    assert checks["spans"]["passed"] == 0


def test_progress_is_reported_to_the_end(examples_archive: Path) -> None:
    reports: list[tuple[Step, int, int]] = []
    place = StoredArchive(examples_archive)
    verify(place, place.snapshot(), report=lambda *step: reports.append(step))
    for name in (READING_TABLES, READING_RAW_FILES):
        steps = [(done, total) for step, done, total in reports if step == name]
        assert steps[-1][0] == steps[-1][1] > 0
        assert steps == sorted(steps)
