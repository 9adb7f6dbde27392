"""Palimpsest under Prefect: flows, their schedule, their server, and what they report.

The work itself is in ``pipeline``, which knows nothing of Prefect.

- ``ingest``, ``maintenance``: the flows, which call ``pipeline`` and ``store``.
- ``task_runners``: run the steps of an ingest as Prefect tasks, in the runner of the settings.
- ``schedule``: a deployment of the ingest flow, and the process that starts its runs.
- ``automations``: have Prefect's server mark runs whose process died as Crashed.
- ``telemetry``: what runs report: artifacts, log lines, Prefect events, OpenLineage.

These prepare for Prefect and do not import it, since that takes seconds and fixes its settings:

- ``prefect_profile``: find the Prefect API that the user has configured.
- ``prefect_environment``: set Prefect's environment variables, and start a server if needed.
- ``local_server``: start and stop a Prefect server on loopback, and keep its login.

``protected_server`` is that server's process: Prefect's server behind a login and host checks.
"""
