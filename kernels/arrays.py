"""Names for the types of numpy arrays: one name, one dtype, one meaning, in every room."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
"""UTF-8 text, shape (bytes,), or digests, shape (digests, 16)."""
Positions = npt.NDArray[np.int64]
"""Places in a buffer, a text or another array."""
Indices = npt.NDArray[np.int32]
"""Places in an array that is short, such as the words of two texts."""
Numbers = npt.NDArray[np.uint32]
"""Numbers of rows, such as those of texts in the index."""
Keys = npt.NDArray[np.uint64]
"""What rows are sorted by: whole numbers, or eight bytes of a digest."""
Hashes = npt.NDArray[np.uint32]
"""Hashes of words or shingles, or components of signatures."""
Buckets = npt.NDArray[np.uint64]
"""Entries of the buckets of a band: its hash above, the number of the window below."""
Pairs = npt.NDArray[np.uint64]
"""Pairs of texts: the number of one above, that of the other below."""
Sketches = npt.NDArray[np.uint64]
"""Which kinds of shingle a window has, shape (windows, 4), a bit for each kind."""
TruncatedHashes = npt.NDArray[np.uint16]
"""Shortened hashes of shingles."""
Shifts = npt.NDArray[np.int32]
"""By how many characters a text and its normalised form differ from a place on."""
Flags = npt.NDArray[np.bool_]
"""Yes or no for each row."""
Shares = npt.NDArray[np.float64]
"""Parts of a whole, from 0 to 1."""
