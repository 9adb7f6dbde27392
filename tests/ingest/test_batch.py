from __future__ import annotations

import hashlib
import os
import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.ingest.batch import Batch, read_batch, reject_table
from palimpsest.ingest.finding.discover import discover, uri_of
from palimpsest.ingest.text.decode import decode, decode_span
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.kernels.columns import shift_positions
from palimpsest.records.ids import text_id_of
from palimpsest.records.schemas import REJECT_REASONS, TABLES, conform
from palimpsest.records.settings import ReadSettings
from tests.ingest.paragraphs import batch_of, texts_of
from tests.strategies import max_examples

heavy = max_examples(60)

WORDS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp")), max_size=8),
    st.sampled_from(
        ["the", "harbour", "café", "cafe\u0301", "漢字。", "soft\u00adly", "😀", "End."]
    ),
)
PIECES = st.tuples(WORDS, st.sampled_from([" ", "\n", "\n\n", "\r\n", "\u00a0", "\u2029", "   "]))
DOCUMENTS = st.tuples(
    st.lists(PIECES, min_size=1, max_size=80).map(
        lambda pieces: "".join(word + blank for word, blank in pieces)
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "broken"]),
)


def _encoded(text: str, encoding: str) -> bytes:
    if encoding == "broken":
        return ("ä" * 40 + text).encode() + b" \xff\xe2\x82 \xc3"
    return ("a" + text).encode(encoding)  # no second mark, and one zero byte for UTF-16


def _assert_exact(batch: Batch, raws: dict[str, bytes], encoding: str | None = None) -> None:
    """Assert of every document and paragraph what a reader of the tables will rely on."""
    texts = texts_of(batch)
    at = 0
    for row in batch.documents.to_pylist():
        raw = raws[row["document_id"]]
        decoded = decode(raw, encoding)
        whole = decoded.utf8.decode()
        assert row["sha256"] == hashlib.sha256(raw).hexdigest()
        assert (row["bytes"], row["characters"]) == (len(raw), len(whole))
        mine = texts[at : at + row["paragraphs"]]
        joined = "\n\n".join(mine).encode()
        assert row["text_sha256"] == hashlib.sha256(joined).hexdigest()
        occurrences = batch.occurrences.slice(at, row["paragraphs"]).to_pylist()
        for ordinal, (cell, text) in enumerate(zip(occurrences, mine, strict=True)):
            assert (cell["document_id"], cell["ordinal"]) == (row["document_id"], ordinal)
            assert cell["text_id"] == text_id_of(text)
            cut = raw[cell["start_byte"] : cell["end_byte"]]
            assert normalise_text(decode_span(cut, row["encoding"])) == text
            stretch = whole[cell["start_char"] : cell["end_char"]]
            assert normalise_text(stretch) == text
            assert stretch.strip() == stretch
        spans = [(cell["start_char"], cell["end_char"]) for cell in occurrences]
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        at += row["paragraphs"]
    assert at == len(texts) == batch.occurrences.num_rows == len(batch.digests)


def _assert_shaped(batch: Batch) -> None:
    for name, table in (
        ("documents", batch.documents.append_column("words", pa.nulls(0, pa.int64()))),
        ("sources", batch.sources),
        ("rejects", batch.rejects),
    ):
        given_names = set(table.column_names) | {"run_id"}
        assert given_names == set(TABLES[name].names)
        for field in table.schema:
            assert field.type == TABLES[name].field(field.name).type
    conform(batch.occurrences, "occurrences")


@heavy
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=4), limit=st.sampled_from([200, 2000]))
def test_every_span_of_every_document_gives_its_text(documents, limit):
    files = {f"{k}.txt": _encoded(*document) for k, document in enumerate(documents)}
    with tempfile.TemporaryDirectory() as folder:
        batch = batch_of(Path(folder), files, max_paragraph_chars=limit)
    raws = {hashlib.sha256(raw).hexdigest()[:32]: raw for raw in files.values()}
    refused = {Path(uri).name for uri in batch.rejects["uri"].to_pylist()}
    assert batch.sources.num_rows + len(refused) == len(files)
    assert set(batch.rejects["reason"].to_pylist()) <= {"binary", "encoding-unknown"}
    assert batch.documents.num_rows == len({files[n] for n in files if n not in refused})
    assert batch.bytes_read == sum(len(raw) for raw in files.values())
    _assert_exact(batch, raws)


@pytest.mark.parametrize(
    "encoding", ["cp1252", "gb18030", "shift_jis", "utf-16-be", "utf-7", "euc_jis_2004", "koi8-r"]
)
@heavy
@given(data=st.data())
def test_spans_are_exact_in_any_encoding_that_is_set(encoding, data):
    letters = [c for c in "abc é漢字かが。「」ДжЖя\t" if c.encode(encoding, "ignore")]
    lines = st.text(st.sampled_from(letters), min_size=1, max_size=30).map("x{}.".format)
    text = "\n\n".join(data.draw(st.lists(lines, min_size=1, max_size=5)))
    raw = text.encode(encoding)
    with tempfile.TemporaryDirectory() as folder:
        batch = batch_of(Path(folder), {"one.txt": raw}, encoding=encoding)
    if encoding != "utf-7":  # a span of it may not decode by itself; then it is refused
        assert batch.rejects.num_rows == 0
    assert set(batch.rejects["reason"].to_pylist()) <= {"spans-not-exact"}
    _assert_exact(batch, {hashlib.sha256(raw).hexdigest()[:32]: raw}, encoding)


def test_passage_is_found_in_the_document_by_its_shifts(tmp_path):
    source = "First.\n\nThe  cafe\u0301 on\tthe\u00ad quay  was shut; the\u00a0cafe\u0301 was not."
    batch = batch_of(tmp_path, {"one.txt": source.encode()})
    text = texts_of(batch)[1]
    row = batch.occurrences.to_pylist()[1]
    at, by = batch.texts.shift_at, batch.texts.shift_by  # the first paragraph has none
    assert (row["shift_at"], row["shift_by"]) == (at.tolist(), by.tolist())
    assert batch.occurrences["shift_at"][0].as_py() == []
    places = shift_positions(
        pa.array([text.index("quay"), text.index("not.")]).to_numpy(), at, by, row["start_char"]
    )
    assert [source[p : p + 4] for p in places] == ["quay", "not."]


def test_the_same_bytes_under_two_names_are_two_sources_of_one_document(tmp_path):
    batch = batch_of(tmp_path, {"a.txt": b"Same.", "b.txt": b"Same.", "c.txt": b"Other."})
    assert batch.documents.num_rows == 2
    names = [Path(uri).name for uri in batch.sources["uri"].to_pylist()]
    assert names == ["a.txt", "b.txt", "c.txt"]
    first, second, third = batch.sources["document_id"].to_pylist()
    assert first == second != third
    assert batch.occurrences.num_rows == pc.sum(batch.documents["paragraphs"]).as_py() == 2
    assert batch.bytes_read == 16


def test_each_refused_file_has_its_reason_and_the_others_are_read(tmp_path):
    files = {
        "a.txt": b"",
        "b.txt": b" \n\t\r\n",
        "c.txt": b"\xef\xbb\xbf",
        "d.txt": "\u200b\u00ad\u00a0".encode(),
        "e.txt": bytes(range(32)) * 10,
        "f.txt": b"Words.",
        "g.txt": b" \n\t\r\n",
        "h.txt": b"%PDF-1.4",
    }
    batch = batch_of(tmp_path, files)
    rejects = {Path(row["uri"]).name: row["reason"] for row in batch.rejects.to_pylist()}
    assert rejects == {
        "a.txt": "empty",
        "b.txt": "no-text",
        "c.txt": "no-text",
        "d.txt": "no-text",
        "e.txt": "binary",
        "g.txt": "no-text",
        "h.txt": "unsupported-format",
    }
    assert set(rejects.values()) <= set(REJECT_REASONS)
    assert texts_of(batch) == ["Words."]
    assert batch.sources["uri"].to_pylist() == [uri_of(str(tmp_path / "f.txt"))]
    assert all(
        row["bytes"] == len(files[Path(row["uri"]).name]) for row in batch.rejects.to_pylist()
    )


def test_refused_document_leaves_the_others_as_they_are(tmp_path):
    good = {"a.txt": "Été.\n\nHiver.".encode(), "c.txt": "漢字\u0301。".encode()}
    (tmp_path / "alone").mkdir()
    (tmp_path / "mixed").mkdir()
    alone = batch_of(tmp_path / "alone", good)
    mixed = batch_of(tmp_path / "mixed", {**good, "b.txt": b" "})
    assert texts_of(mixed) == texts_of(alone)
    assert mixed.documents == alone.documents
    assert mixed.occurrences == alone.occurrences


@pytest.mark.parametrize("files", [{}, {"a.txt": b""}, {"a.txt": b" ", "b.txt": b"\n"}])
def test_batch_without_a_document_has_empty_tables(tmp_path, files):
    batch = batch_of(tmp_path, files)
    assert batch.documents.num_rows == batch.occurrences.num_rows == batch.sources.num_rows == 0
    assert batch.rejects.num_rows == len(files)
    assert batch.digests.shape == (0, 16)
    _assert_shaped(batch)


def test_files_that_vanish_are_rejects_and_the_next_one_is_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"Gone soon.")
    (tmp_path / "b.txt").write_bytes(b"Here.")
    found = discover([str(tmp_path)]).files
    (tmp_path / "a.txt").unlink()
    batch = read_batch(found, ReadSettings())
    assert batch.rejects["reason"].to_pylist() == ["vanished"]
    assert texts_of(batch) == ["Here."]


def test_file_above_the_limit_is_a_reject(tmp_path):
    batch = batch_of(tmp_path, {"a.txt": b"x" * 11, "b.txt": b"x" * 10}, max_document_bytes=10)
    assert batch.rejects["reason"].to_pylist() == ["too-large"]
    assert batch.documents.num_rows == 1


@pytest.mark.parametrize("text", ["漢字です。", "one\n\n漢字。\n\ntwo", "漢字\n\n漢字\n\nplain"])
def test_stateful_encoding_is_exact_or_refused(tmp_path, text):
    raw = text.encode("iso2022_jp")
    batch = batch_of(tmp_path, {"a.txt": raw}, encoding="iso2022_jp")
    assert batch.documents.num_rows + batch.rejects.num_rows == 1
    assert set(batch.rejects["reason"].to_pylist()) <= {"spans-not-exact"}
    _assert_exact(batch, {hashlib.sha256(raw).hexdigest()[:32]: raw}, "iso2022_jp")


def test_spans_that_do_not_decode_by_themselves_are_refused(tmp_path):
    # The escape sequence stands before the first paragraph only; the second begins in its state.
    raw = b"\x1b$B4A\x1b(B.\n\n\x1b$B;z\x1b(B" + b"\n\n+"
    batch = batch_of(tmp_path, {"a.txt": raw}, encoding="iso2022_jp")
    assert texts_of(batch) == ["漢.", "字", "+"]
    hz = b"~{::\n\n::WV~}"
    assert batch_of(tmp_path, {"a.txt": hz}, encoding="hz").rejects.num_rows == 1


def test_wrong_setting_is_a_reject_of_each_file_that_it_does_not_fit(tmp_path):
    files = {"a.txt": "é".encode("cp1252"), "b.txt": "é".encode()}
    batch = batch_of(tmp_path, files, encoding="utf-8")
    assert batch.rejects["reason"].to_pylist() == ["encoding-mismatch"]
    assert texts_of(batch) == ["é"]


@pytest.mark.parametrize("encoding", ["idna", "punycode", "undefined", "unicode_escape"])
def test_encoding_of_the_setting_that_encodes_no_text_is_refused(encoding):
    with pytest.raises(ValueError, match="is not a text encoding"):
        ReadSettings(encoding=encoding)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# The Harbour\n\nBody text.", "The Harbour"),
        ("The harbour is open.\n\nBody text.", None),
        ("Wait for it...\n\nBody text.", "Wait for it..."),
        ("Alone", None),
        ("x" * 201 + "\n\nBody.", None),
        ("漢" * 200 + "\n\nBody.", "漢" * 200),
        ("* * *\n\nBody.", None),
        ("速報。\n\nBody.", None),
    ],
)
def test_short_first_line_is_the_title(tmp_path, text, title):
    batch = batch_of(tmp_path, {"a.txt": text.encode()})
    assert batch.documents["title"].to_pylist() == [title]


def test_detected_encoding_and_its_origin_are_stored(tmp_path):
    files = {
        "a.txt": "Größe".encode("utf-16"),
        "b.txt": b"plain",
        "c.txt": "ä".encode() * 20 + b"\xff",
    }
    rows = batch_of(tmp_path, files).documents.select(
        ["encoding", "encoding_from", "decode_errors"]
    )
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("utf-16-le", "bom", 0),
        ("utf-8", "utf-8", 0),
        ("utf-8", "utf-8", 1),
    ]


def test_names_that_are_not_utf8_are_stored_as_uris(tmp_path):
    for name in (b"caf\xe9.txt", b"empty\xff.txt"):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(b"" if name.startswith(b"empty") else b"Words.")
    batch = read_batch(discover([str(tmp_path)]).files, ReadSettings())
    assert batch.sources["uri"][0].as_py().endswith("/caf%E9.txt")
    assert batch.rejects["uri"][0].as_py().endswith("/empty%FF.txt")


def test_rejects_may_lack_size_and_time_and_have_odd_names():
    table = reject_table([(uri_of("/a\udcff"), None, None, "broken-link", "leads to '\udcff'")])
    (row,) = table.to_pylist()
    assert (row["uri"], row["bytes"], row["modified_at"]) == ("file:///a%FF", None, None)
    assert row["detail"] == r"leads to '\udcff'"


def test_line_of_three_megabytes_is_cut_into_paragraphs_that_fit(tmp_path):
    sentence = "The council met on day {} and heard the report of its engineer on the breakwater. "
    raw = "".join(sentence.format(n) for n in range(3 * 2**20 // 82)).encode()
    batch = batch_of(tmp_path, {"a.txt": raw})
    texts = texts_of(batch)
    assert max(map(len, texts)) <= 2000
    assert " ".join(texts) == raw.decode().rstrip()
    _assert_exact(batch, {hashlib.sha256(raw).hexdigest()[:32]: raw})


def test_batches_have_the_columns_of_the_schemas(tmp_path):
    _assert_shaped(batch_of(tmp_path, {"a.txt": b""}))
