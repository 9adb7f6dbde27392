"""The reports of a flow run, read back from Prefect's server."""

import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from palimpsest.flows.ingest import ingest_with
from palimpsest.flows.telemetry import openlineage_events, run_reporter
from palimpsest.flows.telemetry.messages import (
    INSPECTOR_URL,
    ArchiveLabel,
    one_line,
    summary_markdown,
)
from palimpsest.flows.telemetry.run_reporter import report_result, reporting
from palimpsest.flows.telemetry.top_shared_pairs import find_top_shared_pairs
from palimpsest.pipeline.executors import run_in_order
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.steps import STAGE_BATCH
from palimpsest.pipeline.summary import RunSummary
from palimpsest.records.errors import SettingsError
from palimpsest.records.progress import silent
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import (
    ingest,
    make_paragraph,
    make_words,
    reuse_articles,
    settings_of,
    write_articles,
)

harness = pytest.mark.usefixtures("prefect_harness")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = write_articles(tmp_path / "in", reuse_articles())
    (folder / "empty-1.txt").touch()
    (folder / "empty-2.txt").touch()
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    return folder


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """What flow runs log, as Prefect's page would show it."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.module == "run_reporter":  # Prefect has lines of its own
                lines.append(f"{record.levelname} {record.getMessage()}")

    logger, handler = logging.getLogger("prefect.flow_runs"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def _flow_run_ids(archive: Path) -> list[str]:
    rows = StoredArchive(archive).snapshot().read("runs").sort_by("started_at").to_pylist()
    return [row["flow_run_id"] for row in rows]


async def _read_artifacts(flow_run_id: str) -> list[Artifact]:
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]))
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=of_run)
    return [artifact for artifact in artifacts if artifact.key]  # a flow's result has no key


def _artifacts(flow_run_id: str) -> dict[str, Artifact]:
    """Return the artifacts of a flow run by the kind that their keys begin with."""
    artifacts = asyncio.run(_read_artifacts(flow_run_id))
    kinds = {str(one.key).removeprefix("ingest-").partition("-")[0]: one for one in artifacts}
    assert len(kinds) == len(artifacts), "an artifact is written twice"
    return kinds


def _latest_flow_run(archive: Path) -> Any:
    async def read() -> Any:
        async with get_client() as client:
            return await client.read_flow_runs(sort="START_TIME_DESC")  # type: ignore[arg-type]

    return next(run for run in asyncio.run(read()) if run.parameters["archive"] == str(archive))


def _events(archive: Path, expected: int) -> dict[str, list[Any]]:
    """Return the payloads of an archive's events by name; they reach the server a little later."""
    resource = ArchiveLabel.of(archive).resource()["prefect.resource.id"]
    query = {"filter": {"resource": {"id": [resource]}, "order": "ASC"}}

    async def read() -> list[Any]:
        async with get_client() as client:
            answer = await client._client.post("/events/filter", json=query)
            return answer.json()["events"]

    deadline = time.monotonic() + 15
    while True:
        events = asyncio.run(read())
        if len(events) >= expected or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    by_name: dict[str, list[Any]] = {}
    for event in events:
        related = [one["prefect.resource.id"] for one in event["related"]]
        assert any(one.startswith("prefect.flow-run.") for one in related)
        by_name.setdefault(event["event"], []).append(event["payload"])
    return by_name


@harness
def test_run_is_reported_on_the_page_in_the_log_and_as_events(
    corpus: Path, fresh_archive: Path, log_lines: list[str]
) -> None:
    summary = ingest_with([str(corpus)], str(fresh_archive), settings_of(2))
    [flow_run_id] = _flow_run_ids(fresh_archive)
    artifacts = _artifacts(flow_run_id)
    assert set(artifacts) == {"summary", "rejects", "reuse", "progress"}
    markdown = str(artifacts["summary"].data)
    assert "**9 sources found** = 6 new + 0 known + 3 rejected (nothing is missing)" in markdown
    parts = [summary[f"paragraphs_{name}"] for name in ("seen", "kept", "folded", "repeated")]
    balance = "**{} paragraphs seen** = {} kept + {} folded + {} repeated word for word (nothing"
    assert balance.format(*parts) in markdown
    assert parts[0] == sum(parts[1:])
    assert summary["run_id"] in markdown

    rejects = json.loads(str(artifacts["rejects"].data))
    assert [(row["reason"], row["sources"]) for row in rejects] == [
        ("empty", 2),
        ("broken-link", 1),
    ]
    assert rejects[0]["example"] == (corpus / "empty-1.txt").as_uri()

    reused = json.loads(str(artifacts["reuse"].data))
    assert reused == sorted(reused, key=lambda row: -row["words"])
    best = reused[0]
    assert {Path(best["document"]).name, Path(best["other document"]).name} == {"a.txt", "b.txt"}
    assert best["words"] > 80  # a paragraph word for word, and one edited in three words
    assert make_paragraph(2).startswith(best["begins"])

    assert artifacts["progress"].data == 100.0
    steps = [line.split()[1].rstrip(":") for line in log_lines]
    assert steps == ["read", "gather", "match", "align", "fold", "commit", "version"]
    assert all(line.startswith("INFO") for line in log_lines)
    assert "6 sources" in log_lines[0]
    assert "2 rejected" in log_lines[0]

    state = _latest_flow_run(fresh_archive).state
    assert state.is_completed()
    assert summary["run_id"] in state.message
    assert "version 1 " in state.message

    events = _events(fresh_archive, 3)
    assert [one["version"] for one in events["palimpsest.version.published"]] == [1]
    rejected = {one["reason"]: one for one in events["palimpsest.source.rejected"]}
    assert rejected["empty"]["count"] == 2
    assert len(rejected["empty"]["uris"]) == 2
    assert set(rejected) == {"empty", "broken-link"}
    assert "palimpsest.original.superseded" not in events


@harness
def test_run_with_nothing_new_has_only_a_summary(
    corpus: Path, fresh_archive: Path, log_lines: list[str]
) -> None:
    ingest(corpus, fresh_archive)
    summary = ingest_with([str(corpus)], str(fresh_archive), settings_of())
    run = _latest_flow_run(fresh_archive)
    assert run.state.message == "nothing new: 9 sources found, 6 known, 3 rejected"
    artifacts = _artifacts(str(run.id))
    assert set(artifacts) == {"summary"}
    assert "= 0 new + 6 known + 3 rejected (nothing is missing)" in str(artifacts["summary"].data)
    assert summary["version"] is None
    assert len(log_lines) == 1
    assert _events(fresh_archive, 0) == {}


@harness
def test_run_links_to_the_inspector_where_its_address_is_set(
    corpus: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INSPECTOR_URL, "http://127.0.0.1:8470/")
    ingest_with([str(corpus)], str(fresh_archive), settings_of(2))
    [flow_run_id] = _flow_run_ids(fresh_archive)
    artifacts = _artifacts(flow_run_id)
    assert "(http://127.0.0.1:8470/)" in str(artifacts["inspector"].data)
    assert "| inspect | http://127.0.0.1:8470/ |" in str(artifacts["summary"].data)
    monkeypatch.delenv(INSPECTOR_URL)
    summary = RunSummary("r", "/srv/press", 1, 1, 1, 0, 0)
    markdown = summary_markdown(ArchiveLabel.of("/srv/daily press"), summary, ["r"])
    assert "| inspect | `palimpsest inspect '/srv/daily press'` |" in markdown


def test_superseded_original_is_reported(tmp_path: Path, fresh_archive: Path) -> None:
    late = write_articles(tmp_path / "in/late", {"z.txt": [make_paragraph(1), make_paragraph(2)]})
    ingest(late, fresh_archive)
    early = {"a.txt": [make_paragraph(1), make_paragraph(2, edit=2), make_paragraph(3)]}
    write_articles(tmp_path / "in/early", early)
    summary = ingest_with([str(tmp_path / "in")], str(fresh_archive), settings_of())
    assert summary["paragraphs_superseded"] == 2
    events = _events(fresh_archive, 2)
    assert events["palimpsest.original.superseded"] == [
        {"run_id": summary["run_id"], "version": 2, "count": 2}
    ]


def test_another_name_of_a_document_supersedes_no_original(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = write_articles(tmp_path / "in", {"z.txt": [make_paragraph(1)]})
    assert ingest(folder, fresh_archive).paragraphs_superseded == 0
    write_articles(folder, {"a.txt": [make_paragraph(1)]})
    again = ingest(folder, fresh_archive)
    assert (again.sources_new, again.paragraphs_superseded) == (1, 0)
    [row] = StoredArchive(fresh_archive).snapshot().read("paragraphs", ["uri"]).to_pylist()
    assert row["uri"].endswith("a.txt")


@harness
def test_run_ids_of_all_portions_are_reported(corpus: Path, fresh_archive: Path) -> None:
    half = sum(path.stat().st_size for path in corpus.glob("?.txt")) // 2
    settings = settings_of(1, 2**24, half)
    summary = ingest_with([str(corpus)], str(fresh_archive), settings)
    assert summary["portions"] > 1
    flow_run_id, *others = set(_flow_run_ids(fresh_archive))
    assert not others
    artifacts = _artifacts(flow_run_id)
    rows = StoredArchive(fresh_archive).snapshot().read("runs", ["run_id"]).to_pylist()
    assert len(rows) > 1
    assert all(row["run_id"] in str(artifacts["summary"].data) for row in rows)
    assert artifacts["progress"].data == 100.0
    [published] = _events(fresh_archive, 3)["palimpsest.version.published"]
    assert published["version"] == len(rows)


@harness
@pytest.mark.parametrize(
    "broken",
    ["create_markdown_artifact", "create_progress_artifact", "find_top_shared_pairs"],
)
def test_failed_report_fails_no_run(
    broken: str,
    tmp_path: Path,
    fresh_archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[str],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(111, "Connection refused")

    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    (folder / "empty.txt").touch()
    monkeypatch.setattr(run_reporter, broken, fail)
    summary = ingest_with([str(folder)], str(fresh_archive), settings_of())
    assert summary["version"] == 1
    warnings = [line for line in log_lines if line.startswith("WARNING")]
    assert len(warnings) == (broken != "create_progress_artifact")
    assert all("Connection refused" in line for line in warnings)


@harness
def test_failed_run_fails_with_its_own_error(
    corpus: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = fresh_archive.parent
    target.mkdir()
    monkeypatch.setenv("PALIMPSEST_LINEAGE", str(target / "events.jsonl"))
    with pytest.raises(SettingsError, match="nothing-here"):
        ingest_with([str(corpus / "nothing-here")], str(fresh_archive), settings_of())
    run = _latest_flow_run(fresh_archive)
    assert run.state.is_failed()
    assert _artifacts(str(run.id)) == {}
    start, fail = _lineage_events(target / "events.jsonl")
    assert (start["eventType"], fail["eventType"]) == ("START", "FAIL")
    assert "nothing-here" in fail["run"]["facets"]["errorMessage"]["message"]


def test_nothing_is_reported_outside_of_a_flow(
    corpus: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("something is reported")

    for name in ("create_markdown_artifact", "create_progress_artifact", "emit_event", "Completed"):
        monkeypatch.setattr(run_reporter, name, fail)
    monkeypatch.setenv("PALIMPSEST_LINEAGE", str(corpus / "events.jsonl"))
    with reporting([str(corpus)], str(fresh_archive)) as reporter:
        summary = run_ingest(
            [str(corpus)],
            fresh_archive,
            executor=reporter.logged(run_in_order),
            report=reporter.report,
        )
        assert reporter.done(summary) == summary.to_dict()
    report_result("verify", str(fresh_archive), {"passed": 3})
    assert log_lines == []
    assert not (corpus / "events.jsonl").exists()


@harness
def test_results_of_other_flows_are_reported(fresh_archive: Path, log_lines: list[str]) -> None:
    flow_run_ids: list[str] = []
    summary = ingest(write_articles(fresh_archive.parent / "in", reuse_articles()), fresh_archive)

    @flow
    def upkeep() -> None:
        result = {"raw": {"passed": 3, "failed": 1}, "all_good": False, "faults": ["a|b `c`", "d"]}
        report_result("verify", str(fresh_archive), result)
        with reporting([], str(fresh_archive)) as reporter:
            reporter.done(summary, "http://127.0.0.1:8080/report.html")
        flow_run_ids.append(str(run_reporter.flow_run.get_id()))

    upkeep()
    artifacts = {one.key: one for one in asyncio.run(_read_artifacts(flow_run_ids[0]))}
    slug = ArchiveLabel.of(fresh_archive).slug
    markdown = str(artifacts[f"verify-summary-{slug}"].data)
    for line in ("| raw.passed | 3 |", "| all good | no |", "| faults | 2 |", "- `a b c `"):
        assert line in markdown
    assert artifacts[f"ingest-report-{slug}"].data == (
        "[Report of press, version 1](http://127.0.0.1:8080/report.html)"
    )
    assert log_lines[0] == "INFO verify of press: raw.passed 3, raw.failed 1, all good False"


@pytest.mark.parametrize(
    ("archive", "begins"),
    [
        ("/srv/Zürich daily", "zurich-daily-"),
        ("/srv/新聞", "archive-"),
        ("s3://b/Press_1", "press-1-"),
    ],
)
def test_artifact_keys_are_valid_for_prefect(archive: str, begins: str) -> None:
    label = ArchiveLabel.of(archive)
    assert label.slug.startswith(begins)
    assert set(label.key("ingest-summary")) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert label.slug != ArchiveLabel.of(f"{archive}/other/../..").slug
    assert label.slug == ArchiveLabel.of(archive).slug


def test_counts_that_do_not_balance_are_reported() -> None:
    summary = RunSummary("r", "/srv/press", 1, 5, 2, 1, 1, paragraphs_seen=3, paragraphs_kept=3)
    markdown = summary_markdown(ArchiveLabel.of("/srv/press"), summary, ["r"])
    assert "2 new + 1 known + 1 rejected (**does not balance, off by 1**)" in markdown
    assert "3 kept + 0 folded + 0 repeated word for word (nothing is missing)" in markdown
    assert one_line(summary).startswith("version 1 by run r: 5 sources found, 2 new, 1 rejected")


def test_shared_pairs_are_of_the_run_and_without_recurring_texts(
    tmp_path: Path, fresh_archive: Path
) -> None:
    credit = make_paragraph(99, 60)
    old = {f"o{n}.txt": [make_paragraph(n), credit] for n in range(12)}
    ingest(write_articles(tmp_path / "old", old), fresh_archive)
    new = {"n.txt": [make_paragraph(3), make_paragraph(50), credit]}
    run = ingest(write_articles(tmp_path / "new", new), fresh_archive)
    snapshot = StoredArchive(fresh_archive).snapshot()
    [row] = find_top_shared_pairs(snapshot, run.run_id).to_pylist()
    assert row["words"] == len(make_words(3))
    assert {Path(row["left_uri"]).name, Path(row["right_uri"]).name} == {"o3.txt", "n.txt"}
    # In a large archive only the run's own files are searched, which share nothing.
    assert find_top_shared_pairs(snapshot, run.run_id, max_rows=0).num_rows == 0


def test_shared_pairs_within_a_run_are_found_in_an_archive_of_any_size(
    corpus: Path, fresh_archive: Path
) -> None:
    run = ingest(corpus, fresh_archive)
    snapshot = StoredArchive(fresh_archive).snapshot()
    rows = find_top_shared_pairs(snapshot, run.run_id)
    assert rows.num_rows > 3
    assert find_top_shared_pairs(snapshot, run.run_id, max_rows=0).equals(rows)


def _lineage_events(path: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for event in events:
        _assert_valid_event(event)
    return events


def _assert_valid_event(event: dict[str, Any]) -> None:
    """Check an event and its facets with the classes that OpenLineage generates from its schema."""
    from openlineage.client import event_v2, facet_v2
    from openlineage.client.generated import base

    known = {}
    for module in vars(facet_v2).values():
        for one in vars(module).values() if hasattr(module, "__name__") else ():
            if isinstance(one, type) and issubclass(one, base.BaseFacet):
                known[one._get_schema()] = one

    def build(kind: Any, values: dict[str, Any]) -> Any:
        arguments = {
            name.lstrip("_"): value
            for name, value in values.items()
            if name not in {"schemaURL", "_schemaURL"}
        }
        return kind(**arguments)  # raises if a field is unknown or missing

    def assert_valid_facets(facets: dict[str, Any], parent: type) -> None:
        for name, facet in facets.items():
            kind = known[facet["_schemaURL"]]
            assert issubclass(kind, parent), name
            build(kind, facet)
            assert facet["_producer"].startswith("urn:palimpsest:")

    assert event["schemaURL"] == event_v2.RunEvent._get_schema()
    build(event_v2.RunEvent, {**event, "eventType": event_v2.RunState(event["eventType"])})
    build(event_v2.Run, event["run"])
    build(event_v2.Job, event["job"])
    assert_valid_facets(event["run"]["facets"], base.RunFacet)
    assert_valid_facets(event["job"]["facets"], base.JobFacet)
    for kind, side, special in (
        (event_v2.InputDataset, "input", base.InputDatasetFacet),
        (event_v2.OutputDataset, "output", base.OutputDatasetFacet),
    ):
        for dataset in event[f"{side}s"]:
            build(kind, dataset)
            assert_valid_facets(dataset["facets"], base.DatasetFacet)
            assert_valid_facets(dataset.get(f"{side}Facets", {}), special)


@harness
def test_lineage_events_are_written_if_configured(
    corpus: Path, fresh_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "events.jsonl"
    monkeypatch.setenv("PALIMPSEST_LINEAGE", str(target))
    ingest_with([str(corpus)], str(fresh_archive), settings_of())
    ingest_with([str(corpus / "a.txt"), str(corpus / "*.txt")], str(fresh_archive), settings_of())
    first, done, again, nothing = _lineage_events(target)
    kinds = [event["eventType"] for event in (first, done, again, nothing)]
    assert kinds == ["START", "COMPLETE", "START", "COMPLETE"]
    [flow_run_id] = _flow_run_ids(fresh_archive)
    assert first["run"]["runId"] == done["run"]["runId"] == flow_run_id
    assert first["job"] == again["job"]
    for event in (first, nothing):
        [source] = event["inputs"]
        assert (source["namespace"], source["name"]) == ("file", str(corpus))
    read = done["inputs"][0]["inputFacets"]["inputStatistics"]
    assert read["fileCount"] == 6
    assert read["size"] == sum(path.stat().st_size for path in corpus.glob("?.txt"))
    snapshot = StoredArchive(fresh_archive).snapshot()
    written = {Path(one["name"]).name: one for one in done["outputs"]}
    assert "removals" not in written
    for name, one in written.items():
        assert one["name"] == str(fresh_archive / name)
        assert one["outputFacets"]["outputStatistics"]["rowCount"] == snapshot.rows(name)
        assert one["facets"]["version"]["datasetVersion"] == "1"
    assert nothing["outputs"] == []


def test_lineage_events_are_sent_to_an_address_with_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    requests: list[tuple[str, str | None, Any]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("PALIMPSEST_LINEAGE_KEY", "of-a-test")
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        run = str(uuid4())
        openlineage_events.Lineage(
            address, "ingest.press", [str(tmp_path)], "s3://b/press", run
        ).start()
        server.shutdown()
    [(path, key, event)] = requests
    _assert_valid_event(event)
    assert (path, key) == ("/api/v1/lineage", "Bearer of-a-test")
    assert event["run"]["runId"] == run
    assert {one["namespace"] for one in event["outputs"]} == {"s3://b"}


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("ftp://somewhere", "expected a file or an http or https address"),
        ("/not/there/events.jsonl", "its folder does not exist"),
        ("events.jsonl", "install palimpsest-archive\\[lineage\\]"),
    ],
)
def test_lineage_target_that_cannot_work_is_a_settings_error(
    target: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_LINEAGE", target)
    if "install" in fault:
        monkeypatch.setattr(run_reporter, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=f"PALIMPSEST_LINEAGE = {target}: .*{fault}"):
        run_reporter._lineage(ArchiveLabel.of("/srv/press"), ["/srv/articles"])


@harness
def test_bad_lineage_target_stops_a_run_before_any_work(
    corpus: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_LINEAGE", "ftp://somewhere")
    with pytest.raises(SettingsError, match="ftp://somewhere"):
        ingest_with([str(corpus)], str(fresh_archive), settings_of())
    assert not os.path.lexists(fresh_archive)


def test_progress_is_written_at_the_end_of_steps_and_at_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[tuple[float, str]] = []
    monkeypatch.setattr(
        run_reporter,
        "create_progress_artifact",
        lambda done, _, text: written.append((done, text)) or "id",
    )
    monkeypatch.setattr(
        run_reporter, "update_progress_artifact", lambda _, done, text: written.append((done, text))
    )
    monkeypatch.setattr(run_reporter, "SECONDS_BETWEEN", 60.0)
    progress = run_reporter._Progress("key")
    for done in range(1, 1000):
        progress.update(done / 10, f"read: {done} of 1000", is_urgent=False)
    began = time.monotonic()
    progress.update(100.0, "read: 1000 of 1000", is_urgent=True)
    progress.stop()
    assert time.monotonic() - began < 10
    assert written[-1] == (100.0, "read: 1000 of 1000")
    assert len(written) <= 3


def test_run_without_progress_starts_no_thread() -> None:
    progress = run_reporter._Progress("key")
    progress.stop("failed")
    assert progress._thread is None
    assert silent(STAGE_BATCH, 1, 1) is None
