"""What runs when: the steps from files to a committed version, and the Prefect flow over them.

Only ``flows.ingest``, ``flows.tell`` and ``flows.engine`` know Prefect; the steps are plain
functions over folders.
"""
