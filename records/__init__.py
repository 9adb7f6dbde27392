"""The words that every room speaks: schemas, settings, errors, ids, character tables.

This room knows nothing of files, articles in progress, Prefect or Parquet files on a disk.
"""

__version__ = "0.1.0"
