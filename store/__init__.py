"""The archive: plain Parquet files behind one path, committed atomically.

This room knows tables, files and versions. It does not know how rows are computed.
"""

STAGE_VERSION = 2
"""Version of the layout of an archive's files. Raise it whenever that could change."""
