"""The archive: plain Parquet behind one path, committed whole or not at all.

This room knows tables, files and versions; it does not know how rows come about.
"""

STAGE_VERSION = 2
"""Raised whenever the files of an archive could be laid out in another way."""
