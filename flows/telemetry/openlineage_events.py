"""OpenLineage events: the inputs and outputs of a run.

``flows.telemetry.run_reporter`` imports this module only if ``PALIMPSEST_LINEAGE`` is set, since
``openlineage-python`` is optional.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    set_producer,
)
from openlineage.client.facet_v2 import (
    dataset_type_dataset,
    dataset_version_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    processing_engine_run,
    schema_dataset,
    tags_run,
)
from openlineage.client.serde import Serde
from openlineage.client.transport.http import (
    ApiKeyTokenProvider,
    HttpConfig,
    HttpTransport,
    TokenProvider,
)

from palimpsest.pipeline.summary import RunSummary
from palimpsest.records import __version__
from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.address import open_archive
from palimpsest.store.archive import Manifest

KEY = "PALIMPSEST_LINEAGE_KEY"
"""Environment variable: the bearer key, if the service requires one."""
NAMESPACE = "palimpsest"
_TIMEOUT_SECONDS = 5.0


def _folder_of(source: str) -> str:
    """Return a source's folder: itself, that of a file, or the fixed start of a pattern."""
    if "://" in source:
        return source
    path = Path(source).absolute()
    if path.is_dir():
        return str(path)
    parts = path.parts
    fixed = next((n for n, part in enumerate(parts) if set(part) & set("*?[")), len(parts) - 1)
    return str(Path(*parts[:fixed]))


def _dataset_name(path: str) -> tuple[str, str]:
    """Return namespace and name of a folder or table by OpenLineage's naming rules.

    Example:
        >>> _dataset_name("s3://bucket/press"), _dataset_name("/srv/press")
        (('s3://bucket', 'press'), ('file', '/srv/press'))
    """
    if "://" in path:
        parts = urlsplit(path)
        return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "/"
    return "file", str(Path(path).absolute())


class Lineage:
    """Makes and sends the events of one run.

    Args:
        target: a file, to which events are appended as lines of JSON, or a service's http address.
        job: name of the job.
        sources: files, folders and patterns.
        archive: path or address of the archive.
        flow_run_id: a UUID, also the run's id in the events; a new one by default.

    Raises:
        SettingsError: events cannot be sent to the target.
    """

    def __init__(
        self,
        target: str,
        job: str,
        sources: Sequence[str],
        archive: str,
        flow_run_id: str | None,
    ) -> None:
        scheme = target.partition("://")[0] if "://" in target else ""
        if scheme not in {"", "http", "https"}:
            raise SettingsError([f"{target}: expected a file or an http or https address"])
        if not scheme and not Path(target).absolute().parent.is_dir():
            raise SettingsError(
                [f"{target}: its folder does not exist; create it, or name another"]
            )
        set_producer(f"urn:palimpsest:{__version__}")
        self._target = target
        self._job = job
        self._inputs = sorted({_dataset_name(_folder_of(source)) for source in sources})
        self._archive = archive
        self._run = flow_run_id or str(uuid4())

    def start(self, scheduled: datetime | None = None) -> None:
        """Send that the run has started, and when it was scheduled."""
        facets: dict[str, Any] = {}
        if scheduled:
            time = scheduled.astimezone(UTC).isoformat()
            facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(time)
        self._send("START", facets, self._read(), self._written(None, []))

    def complete(self, summary: RunSummary, runs: Sequence[str]) -> None:
        """Send that the run has completed.

        Args:
            summary: of the run.
            runs: the run ids that it committed, one for each part of the run.
        """
        tagged = {"run_id": summary.run_id}
        outputs: list[Any] = []
        if summary.version is not None:
            tagged["version"] = str(summary.version)
            manifest = open_archive(summary.archive).snapshot(summary.version).manifest
            outputs = self._written(manifest, runs)
        tags = [
            tags_run.TagsRunFacetFields(key, value, "PALIMPSEST") for key, value in tagged.items()
        ]
        self._send("COMPLETE", {"tags": tags_run.TagsRunFacet(tags)}, self._read(summary), outputs)

    def fail(self, error: BaseException) -> None:
        """Send that the run has failed or was cancelled."""
        message = f"{type(error).__name__}: {error}"
        facet = error_message_run.ErrorMessageRunFacet(message, "PYTHON")
        kind = "FAIL" if isinstance(error, Exception) else "ABORT"
        self._send(kind, {"errorMessage": facet}, self._read(), self._written(None, []))

    def _read(self, summary: RunSummary | None = None) -> list[Any]:
        """Return the folders that are read; with several, no figures, as they are not split."""
        facets = {"datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("FILE")}
        statistics: dict[str, Any] = {}
        if summary and len(self._inputs) == 1:
            statistics["inputStatistics"] = (
                input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                    size=summary.bytes_read, fileCount=summary.sources_new
                )
            )
        return [
            InputDataset(namespace, name, inputFacets=dict(statistics), facets=dict(facets))
            for namespace, name in self._inputs
        ]

    def _written(self, manifest: Manifest | None, runs: Sequence[str]) -> list[Any]:
        """Return the archive's tables; with a manifest, only those to which the runs wrote."""
        outputs = []
        for name, schema in TABLES.items():
            facets: dict[str, Any] = {
                "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("TABLE"),
                "schema": schema_dataset.SchemaDatasetFacet(
                    [
                        schema_dataset.SchemaDatasetFacetFields(
                            field.name,
                            str(field.type),
                            field.metadata[b"description"].decode(),
                            position,
                        )
                        for position, field in enumerate(schema, start=1)
                    ]
                ),
            }
            statistics: dict[str, Any] = {}
            if manifest:
                files = [
                    file for file in manifest.files[name] if file["name"].startswith(tuple(runs))
                ]
                if not sum(file["rows"] for file in files):
                    continue
                version = dataset_version_dataset.DatasetVersionDatasetFacet(str(manifest.version))
                facets["version"] = version
                statistics["outputStatistics"] = (
                    output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                        sum(file["rows"] for file in files),
                        sum(file["bytes"] for file in files),
                        len(files),
                    )
                )
            namespace, path = _dataset_name(f"{self._archive}/{name}")
            outputs.append(OutputDataset(namespace, path, outputFacets=statistics, facets=facets))
        return outputs

    def _send(
        self, kind: str, facets: dict[str, Any], inputs: list[Any], outputs: list[Any]
    ) -> None:
        facets["processing_engine"] = processing_engine_run.ProcessingEngineRunFacet(
            __version__, "Palimpsest"
        )
        job_type = job_type_job.JobTypeJobFacet("BATCH", "PALIMPSEST", "FLOW")
        event = RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            run=Run(self._run, facets),
            job=Job(NAMESPACE, self._job, {"jobType": job_type}),
            eventType=RunState(kind),
            inputs=inputs,
            outputs=outputs,
        )
        if "://" in self._target:
            self._post(event)
        else:
            with Path(self._target).open("a", encoding="utf-8") as lines:
                lines.write(Serde.to_json(event) + "\n")

    def _post(self, event: Any) -> None:
        key = os.environ.get(KEY)
        parts = urlsplit(self._target)
        endpoint = parts.path.strip("/") or "api/v1/lineage"
        HttpTransport(
            HttpConfig(
                url=f"{parts.scheme}://{parts.netloc}",
                endpoint=endpoint,
                timeout=_TIMEOUT_SECONDS,
                auth=ApiKeyTokenProvider({"api_key": key}) if key else TokenProvider({}),
                retry={"total": 1, "connect": 0, "read": 0},
            )
        ).emit(event)
