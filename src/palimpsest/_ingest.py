"""Ingest from Python, without Prefect. ``palimpsest.ingest`` is a room, which can be called."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

Name = str | os.PathLike[str]
Report = Callable[[str, int, int], None]


def ingest(
    sources: Name | Iterable[Name],
    archive: Name,
    *,
    settings: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Ingest articles into an archive and publish a new version if there is anything new.

    Args:
        sources: files, folders, patterns or addresses: one, or several.
        archive: the path of an archive, or ``s3://BUCKET/NAME``; created if it does not exist.
        settings: those of ``palimpsest ingest``, by stage, as in ``{"sensitivity": "reworded"}`` or
            ``{"read": {"series": "@folder"}, "run": {"workers": 4}}``; ``palimpsest settings``
            lists them.
        report: called with the name of a step, how many parts of it are done, and of how many.

    Returns:
        The counts of the run, as ``palimpsest ingest --json`` prints them: ``version``, the number
        of the new version, or None if there was nothing new; ``sources_found``, ``sources_new``,
        ``sources_known``, ``sources_rejected``, ``rejects_by_reason`` and more.

    Raises:
        SettingsError: a source names nothing, a setting cannot be used, or the archive was made
            with other settings.
        TransientError: another run has been writing to the archive for too long.
        ContractError: an invariant does not hold. Parts of a large run that were published before
            stay; ``Archive(archive).version`` says which version there is.
    """
    from palimpsest._arguments import names
    from palimpsest._repr import warn_if_compiling
    from palimpsest.ingest.finding.discover import absolute_source
    from palimpsest.pipeline.executors import executor_for
    from palimpsest.pipeline.run import run_ingest
    from palimpsest.records.progress import by_name
    from palimpsest.records.settings import parse_settings

    chosen = parse_settings(settings or {})
    warn_if_compiling()
    summary = run_ingest(
        [absolute_source(os.fspath(source)) for source in names(sources)],
        os.fspath(archive),
        chosen,
        executor=executor_for(chosen.run),
        report=by_name(report),
    )
    return summary.to_dict()


class CallablePackage(ModuleType):
    """The package ``palimpsest.ingest``, which is also the function ``palimpsest.ingest(...)``."""

    def __call__(
        self,
        sources: Name | Iterable[Name],
        archive: Name,
        *,
        settings: Mapping[str, Any] | None = None,
        report: Report | None = None,
    ) -> dict[str, Any]:
        """Call ``ingest``, whose docstring this has too."""
        return ingest(sources, archive, settings=settings, report=report)

    __call__.__doc__ = ingest.__doc__
