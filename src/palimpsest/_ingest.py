"""The function ``palimpsest.ingest``, which shares its name with the package ``ingest``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from inspect import cleandoc
from types import ModuleType
from typing import Any

from palimpsest._types import Name, Report
from palimpsest.records.progress import by_name


def ingest(
    sources: Name | Iterable[Name],
    archive: Name,
    *,
    settings: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Ingest articles into an archive and publish a new version if there is anything new.

    Runs in this process, without Prefect.

    Args:
        sources: one or several files, folders, patterns or addresses.
        archive: the path of an archive, or ``s3://BUCKET/NAME``; created if it does not exist.
        settings: those of ``palimpsest ingest``, by stage, as in ``{"sensitivity": "reworded"}`` or
            ``{"read": {"series": "@folder"}, "run": {"workers": 4}}``; ``palimpsest settings``
            lists them.
        report: called with the name of a step, how many of its parts are done, and their number.

    Returns:
        The counts of the run, as ``palimpsest ingest --json`` prints them: ``version``, the number
        of the new version, or None if there was nothing new; ``sources_found``, ``sources_new``,
        ``sources_known``, ``sources_rejected``, ``rejects_by_reason`` and more.

    Raises:
        SettingsError: no source is found under one of the names, a setting cannot be used, or the
            archive was created with other settings.
        TransientError: another run has been writing to the archive for too long.
        ContractError: the new rows break an invariant. A large run publishes several versions;
            those published before the error remain.
    """
    from palimpsest._arguments import names
    from palimpsest._repr import warn_if_compiling
    from palimpsest.ingest.finding.discover import absolute_source
    from palimpsest.pipeline.executors import executor_for
    from palimpsest.pipeline.run import run_ingest
    from palimpsest.records.errors import SettingsError
    from palimpsest.records.settings import parse_settings

    chosen = parse_settings(settings or {})
    if chosen.run.runner != "threads":
        expected = "expected threads, since ingest runs in this process; flows use other runners"
        raise SettingsError([f"run.runner = {chosen.run.runner}: {expected}"])
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
    """A package that can also be called: ``palimpsest.ingest`` is both.

    ``help``, signatures and documentation show those of the function, and it can be pickled, so
    that it can be handed to another process.
    """

    @classmethod
    def convert(cls, package: ModuleType) -> None:
        """Make an imported package callable."""
        package.__class__ = cls
        package.__doc__ = f"{cleandoc(ingest.__doc__ or '')}\n\nThe package:\n{package.__doc__}"

    def __call__(
        self,
        sources: Name | Iterable[Name],
        archive: Name,
        *,
        settings: Mapping[str, Any] | None = None,
        report: Report | None = None,
    ) -> dict[str, Any]:
        """Call ``ingest``."""
        return ingest(sources, archive, settings=settings, report=report)

    __call__.__doc__ = ingest.__doc__

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self.__name__,)
