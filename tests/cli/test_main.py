"""The command line: what it prints, and its exit codes."""

import fcntl
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from palimpsest.cli.main import main
from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import RunSettings
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import (
    contents,
    ingest,
    listing,
    make_paragraph,
    write_articles,
)

COMMANDS = sorted(main.commands)


def run(*arguments: object) -> Result:
    """Run the command in this process, as on a terminal with colours."""
    return CliRunner().invoke(main, list(map(str, arguments)), color=True)


def run_in_subprocess(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a new process, whose environment has no variables of ours or Prefect's."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PALIMPSEST_"))
    }
    script = "from palimpsest.cli.main import main; main(prog_name='palimpsest')"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    articles = {"a.txt": [make_paragraph(1)], "b.txt": [make_paragraph(1, edit=3)]}
    return write_articles(tmp_path / "in", articles)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_an_example(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    _, _, example = result.output.partition("Example:\n")
    assert f"palimpsest {command}".strip() in example


def test_help_lists_each_command_once_with_its_whole_summary() -> None:
    lines = run("--help").stdout.splitlines()  # of 80 columns
    assert max(map(len, lines)) <= 80
    first = lines.index("Start:")
    titles = [line for line in lines[first:] if line and not line.startswith(" ")]
    assert titles == ["Start:", "Look:", "Share:", "Look after:"]
    listed = [line.split(maxsplit=1) for line in lines[first:] if line.startswith("  ")]
    assert sorted(name for name, _ in listed) == COMMANDS
    assert all(summary.endswith(".") and "..." not in summary for _, summary in listed)


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", COMMANDS)
def test_wrapped_examples_are_still_commands(command: str, columns: int) -> None:
    text = CliRunner().invoke(main, [command, "--help"], terminal_width=columns).stdout
    assert max(map(len, text.splitlines())) <= columns
    example = text.partition("Example:\n")[2].partition("\n\n")[0].replace("\\\n", " ")
    for line in example.splitlines():
        assert shlex.split(line)[:2] == ["palimpsest", command] or line.strip().startswith(
            "palimpsest "
        )


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"compile", "inspect", "schedule"}))
def test_every_command_with_a_result_offers_json(command: str) -> None:
    names = [name for parameter in main.commands[command].params for name in parameter.opts]
    assert "--json" in names


def test_every_option_has_a_help_text() -> None:
    for command in main.commands.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (command.name, parameter.name)


def test_ingest_without_rejects_exits_with_0(corpus: Path, fresh_archive: Path) -> None:
    result = run("ingest", corpus, "--archive", fresh_archive, "--no-prefect", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["version"] == 1
    assert summary["sources_new"] == 2
    assert summary["paragraphs_folded"] == 1
    again = run("ingest", corpus, "--archive", fresh_archive, "--no-prefect")
    assert again.exit_code == 0
    assert "nothing is new" in again.stdout


def test_ingest_with_rejects_exits_with_1(corpus: Path, fresh_archive: Path) -> None:
    (corpus / "empty.txt").write_bytes(b"")
    result = run("ingest", corpus, "--archive", fresh_archive, "--no-prefect")
    assert result.exit_code == 1
    assert "3 found = 2 new + 0 known + 1 rejected" in result.stdout
    assert "1 empty" in result.stdout


def test_known_rejects_exit_with_0_and_new_ones_with_1(corpus: Path, fresh_archive: Path) -> None:
    (corpus / "empty.txt").write_bytes(b"")
    (corpus / "broken.txt").symlink_to("nowhere")  # tried again in each run
    arguments = ("ingest", corpus, "--archive", fresh_archive, "--no-prefect")
    assert run(*arguments).exit_code == 1
    again = run(*arguments)
    assert again.exit_code == 0, again.output
    assert "4 found = 0 new + 2 known + 2 rejected (known)" in again.stdout
    assert run(*arguments, "--dry-run").exit_code == 0
    (corpus / "other.txt").write_bytes(b"")
    assert run(*arguments, "--dry-run").exit_code == 1
    third = run(*arguments)
    assert third.exit_code == 1
    assert "5 found = 0 new + 2 known + 3 rejected (2 known)" in third.stdout


def test_summary_shows_the_first_rejects_and_the_command_that_lists_them(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.txt").write_bytes(b"")
    arguments = ("ingest", folder, "--archive", fresh_archive, "--no-prefect")
    result = run(*arguments, "--set", "run.portion_bytes=1")
    assert result.exit_code == 1
    assert [f"{folder}/{number}.txt: empty" in result.stdout for number in range(5)] == [
        *[True] * 3, False, False,
    ]  # fmt: skip
    assert f"palimpsest show {fresh_archive} rejects" in result.stdout
    assert "list all" not in run(*arguments).stdout


@pytest.mark.usefixtures("compiled_kernels")
def test_memory_limit_splits_a_run_without_changing_the_tables(
    tmp_path: Path, fresh_archive: Path
) -> None:
    articles = {
        f"{number:03d}.txt": [make_paragraph(number % 40), *map(make_paragraph, range(40, 400))]
        for number in range(80)
    }
    corpus = write_articles(tmp_path / "in", articles)
    ingest(corpus, tmp_path / "whole" / "press")
    corpus_bytes = sum(path.stat().st_size for path in corpus.iterdir())
    portion_bytes = RunSettings(memory="400MB").portion_bytes  # type: ignore[arg-type]
    assert corpus_bytes > 2 * portion_bytes
    result = run_in_subprocess(
        "ingest", corpus, "--archive", fresh_archive, "--no-prefect", "--memory", "400MB", "--json"
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["portions"] == -(-corpus_bytes // portion_bytes)
    assert contents(fresh_archive) == contents(tmp_path / "whole" / "press")


def test_all_wrong_settings_are_reported_at_once(corpus: Path, fresh_archive: Path) -> None:
    result = run(
        "ingest", corpus, "--archive", fresh_archive, "--no-prefect", "--set", "sign.bands=99",
        "--set", "align.min_score=-1", "--set", "nonsense", "--encoding", "klingon",
        "--workers", "0", "--set", "align.colour=blue",
    )  # fmt: skip
    assert result.exit_code == 2
    for part in ("bands", "align.min_score", "nonsense", "klingon", "run.workers", "align.colour"):
        assert part in result.stderr
    assert not fresh_archive.parent.exists()


def test_setting_that_differs_from_the_archive_exits_with_2(
    corpus: Path, fresh_archive: Path
) -> None:
    ingest(corpus, fresh_archive)
    before = listing(fresh_archive)
    arguments = ("ingest", corpus, "--archive", fresh_archive, "--no-prefect")
    result = run(*arguments, "--set", "align.min_score=6")
    assert result.exit_code == 2
    assert "align.min_score = 6.0" in result.stderr
    assert listing(fresh_archive) == before


def test_other_sensitivity_is_reported_as_a_single_fault(corpus: Path, fresh_archive: Path) -> None:
    ingest(corpus, fresh_archive)
    arguments = ("ingest", corpus, "--archive", fresh_archive, "--no-prefect")
    sensitivity = ("--sensitivity", "reworded")
    [line] = run(*arguments, *sensitivity).stderr.splitlines()
    assert "sensitivity = 'reworded', but the archive was made with 'edited'" in line
    lines = run(*arguments, *sensitivity, "--set", "align.min_score=6").stderr.splitlines()
    assert ["align.min_score" in line for line in lines] == [True, False]


@pytest.mark.parametrize(
    "arguments",
    [
        ("ingest", "no-such-folder", "no-such-*.txt", "--archive", "{archive}"),
        ("ingest", "{corpus}"),
        ("show", "{archive}"),
        ("show", "{examples}", "paragraf"),
        ("show", "{corpus}"),
        ("passages", "{archive}"),
        ("explain", "{archive}", "00000000"),
        ("explain", "{examples}", "00000000", "nobody"),
        ("explain", "{examples}"),
        ("verify", "{archive}"),
        ("verify", "{corpus}"),
        ("digest", "{archive}"),
        ("rebuild", "{archive}", "00000000"),
        ("rebuild", "{examples}", "00000000"),
        ("rebuild", "{examples}", "{corpus}/a.txt"),
        ("rebuild", "{examples}"),
        ("compare", "{corpus}/a.txt", "{corpus}/none.txt"),
        ("compare", "{corpus}/a.txt", "{corpus}/empty"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_a_message(
    corpus: Path, fresh_archive: Path, examples_archive: Path, arguments: tuple[str, ...]
) -> None:
    (corpus / "empty").write_bytes(b"")
    places = {"archive": fresh_archive, "corpus": corpus, "examples": examples_archive}
    result = run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
    assert "Traceback" not in result.stderr
    assert not fresh_archive.parent.exists()


def test_every_missing_source_is_named(fresh_archive: Path) -> None:
    result = run("ingest", "missing-one", "missing-two", "--archive", fresh_archive)
    assert "missing-one" in result.stderr
    assert "missing-two" in result.stderr


def test_archive_locked_by_another_process_exits_with_3(corpus: Path, fresh_archive: Path) -> None:
    ingest(corpus / "a.txt", fresh_archive)
    before = contents(fresh_archive)
    lock = StoredArchive(fresh_archive).home / "lock"
    script = (
        "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.flock(f,2); print(1,flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        wait = ("--set", "run.wait_seconds=0.2")
        result = run("ingest", corpus, "--archive", fresh_archive, "--no-prefect", *wait)
        holder.communicate(b"\n")
    assert result.exit_code == 3
    assert "another run is writing" in result.stderr
    assert "nothing was written" in result.stderr
    assert contents(fresh_archive) == before
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_compare_prints_json_with_the_documented_keys(examples: Path) -> None:
    left = examples / "tarn-wire" / "2024-11-12-lantern-bridge-closed.txt"
    right = examples / "marrowick-tidings" / "2024-11-13-two-shores-one-queue.txt"
    result = run("compare", left, right, "--json")
    assert result.exit_code == 0
    comparison = json.loads(result.stdout)
    assert set(comparison) == {"left", "right", "passages"}
    assert set(comparison["left"]) >= {
        "path",
        "uri",
        "document_id",
        "encoding",
        "bytes",
        "paragraphs",
    }
    assert len(comparison["passages"]) >= 3
    for row in comparison["passages"]:
        assert set(row) == {"left", "right", "matched_words", "resemblance", "relation"}
        for side in ("left", "right"):
            assert set(row[side]) == {"start_char", "end_char", "start_byte", "end_byte", "text"}
        assert row["relation"] in {"exact", "near", "contained", "partial"}
    text = run("compare", left, right).stdout
    assert f"{len(comparison['passages'])} shared passages" in text


def test_show_lists_tables_and_their_rows(examples_archive: Path) -> None:
    tables = json.loads(run("show", examples_archive, "--json").stdout)
    assert [row["table"] for row in tables] == list(TABLES)
    text = run("show", examples_archive).stdout
    assert all(name in text for name in TABLES)
    for name in TABLES:
        rows = json.loads(run("show", examples_archive, name, "--limit", 2, "--json").stdout)
        assert len(rows) == min(2, StoredArchive(examples_archive).snapshot().rows(name))
        assert all(list(row) == TABLES[name].names for row in rows)
        assert run("show", examples_archive, name, "--limit", 2).exit_code == 0


def test_passages_are_limited_and_filtered(examples_archive: Path) -> None:
    rows = json.loads(run("passages", examples_archive, "--limit", 3, "--json").stdout)
    assert len(rows) == 3
    document_id = rows[0]["left_document_id"]
    arguments = ("passages", examples_archive, "--document", document_id, "--json")
    filtered = json.loads(run(*arguments).stdout)
    assert filtered
    assert all(
        document_id in (row["left_document_id"], row["right_document_id"]) for row in filtered
    )
    first_paragraph = rows[0]["left_passage"].split("\n\n")[0]
    assert first_paragraph in run("passages", examples_archive).stdout


def _hostile_files(tmp_path: Path) -> tuple[Path, Path]:
    """Write files with escape sequences; return their folder and what their paths begin with."""
    name = "\x1b[31mred\x07"
    text = make_paragraph(1).replace(" ", " \x1b[31mr\x1b]0;title\x07 ", 1)
    folder = write_articles(tmp_path / "in", {f"{name}1.txt": [text], f"{name}2.txt": [text]})
    words = make_paragraph(1).split()
    edited = " ".join([*words[:22], "\x1b[32medited\x07", *words[23:]])
    write_articles(folder, {f"{name}3.txt": [edited]})
    (folder / f"{name}.empty").write_bytes(b"")
    return folder, folder / name


def test_hostile_text_cannot_control_the_terminal(tmp_path: Path) -> None:
    folder, stem = _hostile_files(tmp_path)
    archive = tmp_path / "\x1b[31mpress"
    results = [
        run("ingest", folder, "--archive", archive, "--no-prefect"),
        run("compare", f"{stem}1.txt", f"{stem}2.txt"),
        run("compare", f"{stem}1.txt", f"{stem}2.txt", "--json"),
        run("compare", f"{stem}1.txt", f"{stem}.missing"),
        run("compare", f"{stem}1.txt", f"{stem}.empty"),
        run("ingest", f"{stem}.missing", "--archive", archive),
        run("show", tmp_path / "\x1b[31mnone"),
        run("show", archive, "\x1b[31mtable"),
        run("show", archive),
        run("passages", archive),
        run("passages", archive, "--json"),
        run("explain", archive, f"{stem}1.txt", f"{stem}3.txt"),
        run("explain", archive, f"{stem}1.txt", f"{stem}3.txt", "--json"),
        run("explain", archive, "\x1b[31mnobody"),
        run("verify", archive),
        run("verify", archive, "--json"),
        run("digest", archive),
        run("rebuild", archive, "\x1b[31mnobody"),
        run("rebuild", archive, f"{stem}1.txt", "--json"),
        run("rebuild", archive, f"{stem}1.txt", "--output", tmp_path / "\x1b[31mnone" / "text"),
        *(run("show", archive, name) for name in TABLES),
    ]
    assert [result.exit_code for result in results[:8]] == [1, 0, 0, 2, 2, 2, 2, 2]
    assert "1 shared passage" in results[1].output
    assert "{+[32medited+}" in results[11].output
    for result in results:
        assert not set(result.output) & {"\x1b", "\x07"}, result.output


def test_archive_name_that_looks_like_markup_is_shown_unchanged(
    corpus: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "[bold]"
    ingest(corpus, archive)
    assert "[bold]" in run("show", archive).stdout.replace("\n", "")


@pytest.mark.usefixtures("compiled_kernels")
def test_file_whose_name_is_invalid_utf_8_can_be_compared(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")
    Path(path).write_text(make_paragraph(1), encoding="utf-8")
    for option in ((), ("--json",)):
        result = run_in_subprocess("compare", path, path, *option, PYTHONIOENCODING="utf-8:strict")
        assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["left"]["uri"].endswith("/%FF.txt")
    missing = run_in_subprocess("compare", path + "x", path, PYTHONIOENCODING="utf-8:strict")
    assert missing.returncode == 2, missing.stderr


@pytest.mark.usefixtures("compiled_kernels")
@pytest.mark.parametrize(
    ("arguments", "environment", "is_flow_run"),
    [
        ([], {}, False),
        (["--prefect"], {}, True),
        (["--runner", "processes"], {}, True),
        ([], {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, True),
        (["--no-prefect"], {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, False),
    ],
)
def test_ingest_is_a_flow_run_only_if_prefect_is_configured_or_requested(
    arguments: list[str],
    environment: dict[str, str],
    is_flow_run: bool,
    corpus: Path,
    tmp_path: Path,
    fresh_archive: Path,
) -> None:
    state = tmp_path / "state"
    state.touch()  # stops a flow run before it starts Prefect
    result = run_in_subprocess(
        "ingest", corpus, "--archive", fresh_archive, "--state", state / "below", *arguments,
        HOME=str(tmp_path), **environment,
    )  # fmt: skip
    assert (result.returncode, fresh_archive.exists()) == ((3, False) if is_flow_run else (0, True))


@pytest.mark.usefixtures("compiled_kernels")
def test_ingest_with_prefect_writes_only_its_state_and_the_archive(
    corpus: Path, tmp_path: Path, fresh_archive: Path
) -> None:
    home, state = tmp_path / "home", tmp_path / "state"
    home.mkdir()
    (tmp_path / "plain").mkdir()
    before = {path.name for path in tmp_path.iterdir()}
    result = run_in_subprocess(
        "ingest", corpus, "--archive", fresh_archive, "--json", "--prefect",
        HOME=str(home), PALIMPSEST_STATE=str(state),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary: dict[str, Any] = json.loads(result.stdout)
    assert summary["version"] == 1
    assert result.stderr == ""
    assert list(home.rglob("*")) == []
    assert {path.name for path in tmp_path.iterdir()} == before | {"state", "shelves"}
    assert {path.name for path in fresh_archive.parent.iterdir()} == {"press", ".press.store"}
    [row] = StoredArchive(fresh_archive).snapshot().read("runs").to_pylist()
    flow_run = summary["flow_run"]
    assert flow_run["id"] == row["flow_run_id"]
    assert (flow_run["name"], flow_run["state"]) == ("ingest press", "Completed")
    assert flow_run["message"].startswith("version 1 by run ")
    ingest(corpus, tmp_path / "plain" / "press")
    assert contents(fresh_archive) == contents(tmp_path / "plain" / "press")
