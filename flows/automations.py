"""What a Prefect server does by itself for Palimpsest's runs: runs that died become Crashed.

A run whose process was killed cannot tell so, and stays *Running* for ever, in the way of the next
one. While it lives, a run sends heartbeats (``PREFECT_FLOWS_HEARTBEAT_FREQUENCY``, 30 s at least;
the deployments set it for their runs), and here the server is told what to do when they stop.
``python -m palimpsest.flows.automations`` configures the server at ``PREFECT_API_URL``; it can be
repeated at any time.
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
"""The tag of all deployments of Palimpsest; runs of others on the same server are left alone."""

HEARTBEAT_STOPPED = "Palimpsest: runs whose heartbeat stopped are crashed"
NEVER_STARTED = "Palimpsest: runs that never started are crashed"

_SILENT_SECONDS = 90.0
"""Three heartbeats: one that is late on a busy machine is no death."""
_PENDING_SECONDS = 600.0
"""A worker starts a run within seconds of taking it; ten minutes are a cold machine's."""

_HEARTBEAT = "prefect.flow-run.heartbeat"
_RUNNING = "prefect.flow-run.Running"
_TAKEN = {
    f"prefect.flow-run.{state}" for state in ("Pending", "Submitting", "InfrastructurePending")
}
_ENDED = {
    f"prefect.flow-run.{state}"
    for state in ("Completed", "Failed", "TimedOut", "Cancelled", "Crashed")
}
_GIVEN_BACK = {
    f"prefect.flow-run.{state}"
    for state in ("Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry", "Paused")
}


def ensure_automations(
    silent_seconds: float | None = None,
    pending_seconds: float = _PENDING_SECONDS,
    client: SyncPrefectClient | None = None,
) -> None:
    """Have the server crash runs that died; what is there already is brought up to date.

    The server looks once in such a time, so it takes from one to two times as long.

    Args:
        silent_seconds: how long a run may send no heartbeat; ``PALIMPSEST_SILENT_SECONDS``, or 90.
        pending_seconds: how long a run may stay between a worker's taking and starting it.
        client: of the server; of the one that Prefect's settings name if left out.
    """
    if silent_seconds is None:
        silent_seconds = float(os.environ.get("PALIMPSEST_SILENT_SECONDS") or _SILENT_SECONDS)
    wanted = [
        _crashing(
            HEARTBEAT_STOPPED,
            "The run sends no heartbeats any more: its process or its machine is gone. "
            "The next run goes on from what it had staged.",
            after={_HEARTBEAT, _RUNNING},  # a run may die before its first heartbeat is told
            expect={_HEARTBEAT} | _ENDED | _GIVEN_BACK,
            within_seconds=silent_seconds,
        ),
        _crashing(
            NEVER_STARTED,
            "A worker had taken the run and never started it.",
            after=_TAKEN,
            expect={_HEARTBEAT, _RUNNING} | _ENDED | _GIVEN_BACK,
            within_seconds=pending_seconds,
        ),
    ]
    if client is not None:
        _ensure(client, wanted)
        return
    with get_client(sync_client=True) as own:
        _ensure(own, wanted)


def _ensure(client: SyncPrefectClient, wanted: Iterable[AutomationCore]) -> None:
    for automation in wanted:
        there = client.read_automations_by_name(automation.name)
        for one in there[1:]:
            client.delete_automation(one.id)
        if not there:
            client.create_automation(automation)
        elif _told(there[0]) != _told(automation):
            client.update_automation(there[0].id, automation)


def _told(automation: AutomationCore) -> tuple[object, ...]:
    """Return what we decide of an automation, without the ids that the server gives."""
    trigger = automation.trigger
    decided = trigger.model_dump(mode="json", exclude={"id"})
    decided |= {name: sorted(decided[name]) for name in ("after", "expect", "for_each")}
    actions = [action.model_dump(mode="json") for action in automation.actions]
    return automation.description, decided, actions


def _crashing(
    name: str, message: str, *, after: set[str], expect: set[str], within_seconds: float
) -> AutomationCore:
    """Return the automation that crashes a run if nothing expected comes in time."""
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
