"""BLAKE2b digests of many spans of one buffer."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from palimpsest.kernels.arrays import Bytes, Positions

_DIGEST_BYTES = 16


def digest_spans(buffer: Bytes, starts: Positions, ends: Positions) -> Bytes:
    """Return the digest of each span of a buffer: uint8, shape (spans, 16).

    Example:
        >>> buffer = np.frombuffer(b"the same words, again", np.uint8)
        >>> digest_spans(buffer, np.array([0]), np.array([14])).tobytes().hex()
        '489de10278b5c0b2a80cce56f6d2a3c0'
    """
    view = np.ascontiguousarray(buffer).data
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    digests = bytearray().join(  # not bytes, so that the array is writable
        blake2b(view[start:end], digest_size=_DIGEST_BYTES).digest() for start, end in spans
    )
    return np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST_BYTES)
