"""Bytes become paragraphs: find, read, decode, lay out, normalise.

Each paragraph keeps its span in the decoded text and in the raw bytes. This room never compares
texts with one another and knows nothing of the archive.
"""

STAGE_VERSION = 3
"""Raised whenever the same bytes could give other paragraphs, spans or document fields."""
