"""The passages command: what it shows, leaves out and writes."""

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner, Result

from palimpsest.cli.main import main
from palimpsest.evidence import passages
from palimpsest.evidence.passages import PASSAGES
from palimpsest.records.settings import parse_settings
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import ingest, make_paragraph, make_words, write_articles


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def passage_rows(*arguments: object) -> list[dict[str, Any]]:
    """Run the command with --json; return the rows that it prints."""
    result = run("passages", *arguments, "--json", "--limit", 1000)
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven articles with one notice; two others share a long paragraph, and two a few words."""
    folder = tmp_path_factory.mktemp("passages")
    notice = " ".join(make_words(99, 30))
    articles = {f"{number:02}.txt": [make_paragraph(number), notice] for number in range(11)}
    articles["a.txt"] = [make_paragraph(50)]
    articles["b.txt"] = [make_paragraph(50, edit=3)]
    articles["c.txt"] = [" ".join([*make_words(70, 40), *make_words(60, 9)])]
    articles["d.txt"] = [" ".join([*make_words(80, 40), *make_words(60, 9)])]
    ingest(write_articles(folder / "in", articles), folder / "press")
    return folder / "press"


def test_recurring_and_chance_passages_can_be_left_out(archive: Path) -> None:
    rows = passage_rows(archive)
    assert len(rows) == 11 * 10 // 2 + 2
    assert sum(row["is_recurring"] for row in rows) == 11 * 10 // 2
    [clear] = passage_rows(archive, "--clear", "--without-recurring")
    assert {clear[f"{side}_uri"].rpartition("/")[2] for side in ("left", "right")} == {
        "a.txt",
        "b.txt",
    }
    assert all(row["matched_words"] >= 30 for row in passage_rows(archive, "--min-words", 30))
    short = [row for row in rows if not row["is_clear"]]
    assert [row["matched_words"] for row in short] == [9]


def test_all_passages_are_written_to_a_file(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "passages.parquet"
    result = run("passages", archive, "--output", path)
    assert (result.exit_code, result.stdout) == (0, f"57 passages written to {path}\n")
    table = pq.read_table(path)
    assert table.schema.equals(PASSAGES)
    key = ["left_uri", "right_uri", "left_start_char"]
    rows = json.loads(json.dumps(table.to_pylist(), default=str))
    assert sorted(rows, key=lambda row: [row[name] for name in key]) == sorted(
        passage_rows(archive), key=lambda row: [row[name] for name in key]
    )
    again = run("passages", archive, "--output", path)
    assert again.exit_code == 2
    assert "already exists; name a new file" in again.stderr


@pytest.mark.parametrize(
    "ending", [".csv", ".csv.gz", ".csv.zst", ".jsonl", ".JSONL.GZ", ".jsonl.zst"]
)
def test_ending_of_the_file_name_chooses_the_format(
    archive: Path, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"passages{ending}"
    result = run("passages", archive, "--output", path)
    assert (result.exit_code, result.stdout) == (0, f"57 passages written to {path}\n")
    with read_compressed(path) as file:
        lines = file.read().decode()
    if ".csv" in ending:
        rows = list(csv.DictReader(io.StringIO(lines, newline="")))
    else:
        rows = [json.loads(line) for line in lines.splitlines()]
    assert list(rows[0]) == PASSAGES.names
    key = ["left_uri", "right_uri", "left_start_char", "left_passage"]
    assert sorted([str(row[name]) for name in key] for row in rows) == sorted(
        [str(row[name]) for name in key] for row in passage_rows(archive)
    )


def read_compressed(path: Path) -> Any:
    if path.suffix.lower() == ".gz":
        return gzip.open(path)
    if path.suffix == ".zst":
        return zstandard.open(path, "rb")
    return path.open("rb")


def test_unknown_ending_is_refused_with_the_known_ones(archive: Path, tmp_path: Path) -> None:
    result = run("passages", archive, "--output", tmp_path / "p.xlsx")
    assert result.exit_code == 2
    assert "ends in none of .parquet, .csv, .csv.gz, .csv.zst, .jsonl" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_file_is_replaced_only_with_force(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "passages.csv"
    path.write_bytes(b"mine")
    result = run("passages", archive, "--output", path)
    assert result.exit_code == 2
    assert "or allow it to be replaced (--force)" in result.stderr
    assert path.read_bytes() == b"mine"
    assert run("passages", archive, "--output", path, "--force").exit_code == 0
    assert path.read_bytes().startswith(b'"left_')


def test_many_passages_are_printed_as_they_are_found(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = passage_rows(archive)
    monkeypatch.setattr(passages, "PAIRS_AT_ONCE", 10)
    printed = run("passages", archive, "--json", "--limit", 1000).stdout
    streamed = json.loads(printed)
    assert printed == json.dumps(streamed, ensure_ascii=False, indent=1) + "\n"
    assert sorted(map(str, streamed)) == sorted(map(str, rows))
    assert len(json.loads(run("passages", archive, "--json", "--limit", 23).stdout)) == 23
    assert run("passages", archive, "--limit", 1000).stdout.count(", 30 words, ") == 55
    snapshot, aligned = StoredArchive(archive).snapshot(), []
    align = passages.passages_of
    monkeypatch.setattr(
        passages,
        "passages_of",
        lambda *arguments: aligned.append(arguments[1]) or align(*arguments),
    )
    parts = passages.ranked_passages(snapshot, limit=1000)
    assert next(parts).num_rows >= 10
    assert len(aligned) == 1


def test_no_passages_are_printed_as_an_empty_array(archive: Path) -> None:
    assert run("passages", archive, "--min-words", 1000, "--json").stdout == "[]\n"
    assert run("passages", archive, "--min-words", 1000).stdout == "no passages\n"


def test_closed_pipe_ends_the_command_quietly(archive: Path) -> None:
    script = "from palimpsest.cli.main import main; main(prog_name='palimpsest')"
    command = [sys.executable, "-c", script, "passages", archive, "--limit", "100000", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(1) == b"["
        process.stdout.close()
        assert process.stderr.read() == b""


def test_settings_of_passages_can_be_changed_for_one_command(archive: Path) -> None:
    rows = passage_rows(archive, "--clear", "--set", "passages.clear_score=1000")
    assert {row["relation"] for row in rows} == {"exact"}
    assert len(rows) < len(passage_rows(archive, "--clear"))


def test_document_is_found_by_path_and_an_unknown_id_is_refused(archive: Path) -> None:
    path = archive.parent / "in" / "a.txt"
    [row] = passage_rows(archive, "--document", path)
    assert path.as_uri() in {row["left_uri"], row["right_uri"]}
    result = run("passages", archive, "--document", "f" * 32)
    assert result.exit_code == 2
    assert "not in the archive" in result.stderr


def test_reworded_level_finds_a_passage_that_edited_misses(tmp_path: Path) -> None:
    words = make_words(5, 60)
    other = list(words)
    for number in range(0, 60, 2):
        other[number] = make_words(6, 60)[number]
    articles = {"a.txt": [" ".join(words)], "b.txt": [" ".join(other)]}
    corpus = write_articles(tmp_path / "in", articles)
    counts = {}
    for level in ("verbatim", "edited", "reworded"):
        ingest(corpus, tmp_path / level, parse_settings({"sensitivity": level}))
        counts[level] = len(passage_rows(tmp_path / level))
    assert counts == {"verbatim": 0, "edited": 0, "reworded": 1}


def test_passages_are_found_at_the_level_of_the_archive(tmp_path: Path) -> None:
    words = [f"{word}stem" for word in make_words(7, 60)]
    other = [f"{word}{'s' if number % 2 else ''}" for number, word in enumerate(words)]
    surroundings = iter([" ".join(make_words(seed, 20)) for seed in range(8, 12)])
    texts = [
        f"{next(surroundings)}. {first} {' '.join(passage)} {last}. {next(surroundings)}"
        for first, last, passage in (("Never", "before", words), ("Often", "behind", other))
    ]
    articles = {"a.txt": texts[:1], "b.txt": texts[1:]}
    ingest(
        write_articles(tmp_path / "in", articles),
        tmp_path / "press",
        parse_settings({"sensitivity": "reworded"}),
    )
    [row] = passage_rows(tmp_path / "press", "--clear")
    assert row["matched_words"] >= 60
    assert row["left_passage"].split()[::61] == ["Never", "before"]
    exact = ("--set", "passages.stem_letters=0", "--set", "passages.sentence_words=0")
    [shorter] = passage_rows(tmp_path / "press", "--clear", *exact)
    assert shorter["matched_words"] <= 40
    assert not shorter["left_passage"].startswith("Never")
