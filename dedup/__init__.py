"""Find what texts share: windows, signatures, candidates, alignment, clusters, representatives.

Arrays in, arrays out. This room opens no file, asks no clock and knows nothing of runs.
"""

STAGE_VERSION = 2
"""Raised whenever the same texts could give other words, signatures, overlaps or clusters."""
