"""Prefect automations: the server marks a run as Crashed if its process has died.

A run whose process was killed cannot report it: it would stay *Running* for ever and block the next
one. A living run sends heartbeats (``PREFECT_FLOWS_HEARTBEAT_FREQUENCY``, at least 30 s; the
deployments set it for their runs), and these automations act when they stop.
``python -m palimpsest.flows.automations`` configures the server at ``PREFECT_API_URL``; it can be
run again at any time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

TAG = "palimpsest"
"""The tag of all our deployments; the automations ignore other runs on the same server."""

HEARTBEAT_STOPPED = "Palimpsest: runs whose heartbeat stopped are crashed"
NEVER_STARTED = "Palimpsest: runs that never started are crashed"

_SILENT_SECONDS = 90.0
"""Three heartbeats: on a busy machine a single one may be late."""
_PENDING_SECONDS = 600.0
"""A worker starts a run within seconds of accepting it; a cold machine may need minutes."""

_HEARTBEAT = "prefect.flow-run.heartbeat"
_RUNNING = "prefect.flow-run.Running"
_ACCEPTED = {
    f"prefect.flow-run.{state}" for state in ("Pending", "Submitting", "InfrastructurePending")
}
_ENDED = {
    f"prefect.flow-run.{state}"
    for state in ("Completed", "Failed", "TimedOut", "Cancelled", "Crashed")
}
_RETURNED = {
    f"prefect.flow-run.{state}"
    for state in ("Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry", "Paused")
}


def ensure_automations(
    silent_seconds: float | None = None,
    pending_seconds: float = _PENDING_SECONDS,
    client: SyncPrefectClient | None = None,
) -> None:
    """Have the server mark dead runs as Crashed; create or update the automations for it.

    The server checks once in each period, so a run is marked after one to two periods.

    Args:
        silent_seconds: period without a heartbeat; ``PALIMPSEST_SILENT_SECONDS``, or 90.
        pending_seconds: period between a worker's accepting and starting a run.
        client: of the server; by default of the one in Prefect's settings.
    """
    if silent_seconds is None:
        silent_seconds = float(os.environ.get("PALIMPSEST_SILENT_SECONDS") or _SILENT_SECONDS)
    automations = [
        _crash_automation(
            HEARTBEAT_STOPPED,
            "The run has stopped sending heartbeats: its process or its machine has died. "
            "The next run resumes from its staged batches.",
            after={_HEARTBEAT, _RUNNING},  # a run may die before its first heartbeat
            expect={_HEARTBEAT} | _ENDED | _RETURNED,
            within_seconds=silent_seconds,
        ),
        _crash_automation(
            NEVER_STARTED,
            "A worker accepted the run and never started it.",
            after=_ACCEPTED,
            expect={_HEARTBEAT, _RUNNING} | _ENDED | _RETURNED,
            within_seconds=pending_seconds,
        ),
    ]
    if client is not None:
        _create_or_update(client, automations)
        return
    with get_client(sync_client=True) as new_client:
        _create_or_update(new_client, automations)


def _create_or_update(client: SyncPrefectClient, automations: Iterable[AutomationCore]) -> None:
    for automation in automations:
        existing = client.read_automations_by_name(automation.name)
        for duplicate in existing[1:]:
            client.delete_automation(duplicate.id)
        if not existing:
            client.create_automation(automation)
        elif _comparable(existing[0]) != _comparable(automation):
            client.update_automation(existing[0].id, automation)


def _comparable(automation: AutomationCore) -> tuple[object, ...]:
    """Return an automation without the ids that the server assigns, its sets sorted."""
    trigger = automation.trigger.model_dump(mode="json", exclude={"id"})
    trigger |= {name: sorted(trigger[name]) for name in ("after", "expect", "for_each")}
    actions = [action.model_dump(mode="json") for action in automation.actions]
    return automation.description, trigger, actions


def _crash_automation(
    name: str, message: str, *, after: set[str], expect: set[str], within_seconds: float
) -> AutomationCore:
    """Return the automation that marks a run as Crashed if no expected event comes in time."""
    return AutomationCore(
        name=name,
        description=message,
        trigger=EventTrigger(
            after=after,
            expect=expect,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification(
                {"prefect.resource.id": [f"prefect.tag.{TAG}"], "prefect.resource.role": ["tag"]}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=within_seconds),
        ),
        actions=[
            ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)
        ],
    )


if __name__ == "__main__":
    ensure_automations()
