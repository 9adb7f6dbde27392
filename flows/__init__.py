"""Prefect flows over the pipeline: ingest on a schedule, look after an archive, report on runs.

This room contains what needs Prefect and nothing else; the work itself is in ``pipeline``.
"""
