"""Aliases for the types of numpy arrays: one name, one dtype, one meaning, in every room."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
"""UTF-8 text, shape (bytes,); digests, shape (digests, 16); or small codes, such as word kinds."""
Positions = npt.NDArray[np.int64]
"""Positions in a buffer, a text or another array; row numbers; counts."""
Indices = npt.NDArray[np.int32]
"""Positions in a short array, such as the words of two texts."""
TextPositions = npt.NDArray[Any]
"""Byte positions within a text: uint16, or int32 if a text is longer than that allows."""
Integers = npt.NDArray[Any]
"""Signed integers, of the smallest width that fits the task: int16, int32 or int64."""
Numbers = npt.NDArray[np.uint32]
"""Row numbers on disk, such as those of the texts in an index segment."""
Sizes = npt.NDArray[np.uint16]
"""Sizes on disk, such as that of a window in shingles."""
Keys = npt.NDArray[np.uint64]
"""Sort keys: integers, or eight bytes of a digest."""
Hashes = npt.NDArray[np.uint32]
"""Hashes of words, shingles or bands, or components of signatures."""
LongHashes = npt.NDArray[np.uint64]
"""Hashes of words before they are mixed down to 32 bits."""
TruncatedHashes = npt.NDArray[np.uint16]
"""The lower halves of shingle hashes."""
Buckets = npt.NDArray[np.uint64]
"""Bucket entries of a band: the band's hash in the upper half, the window number in the lower."""
Pairs = npt.NDArray[np.uint64]
"""Pairs of texts: the left text's number in the upper half, the right one's in the lower."""
Sketches = npt.NDArray[np.uint64]
"""Bit sets of the shingle classes in a window, shape (windows, 4)."""
CodePoints = npt.NDArray[np.uint32]
"""Unicode code points."""
Shifts = npt.NDArray[np.int32]
"""Offsets between positions in normalised text and in the document, in characters."""
Flags = npt.NDArray[np.bool_]
"""A boolean for each row."""
Shares = npt.NDArray[np.float64]
"""Fractions, in [0, 1]."""
Scores = npt.NDArray[np.float32]
"""Scores of passages."""
Rows = npt.NDArray[np.float64]
"""A table of numbers, shape (rows, columns), or one of its rows."""
Labels = npt.NDArray[np.str_]
"""A word for each row, such as the relation of two texts."""
