"""The engine: the steps of a run and their order, executors, staging, removal, verification.

Steps are plain functions over folders and arrays. This room does not know Prefect; ``flows`` runs
the same steps as Prefect tasks.
"""
