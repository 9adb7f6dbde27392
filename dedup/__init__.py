"""Find what texts share: windows, signatures, candidates, alignment, clusters, representatives.

Arrays in, arrays out. This room has no clock and knows nothing of runs. The only files that it
reads are its own tables and, in ``dedup.index``, the segments of an index.
"""

STAGE_VERSION = 4
"""Bump if the same texts could give different words, signatures, overlaps or clusters."""
