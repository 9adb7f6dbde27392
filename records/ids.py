"""Ids derived from content, never from row numbers or the order of files."""

from __future__ import annotations

import hashlib
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

DIGEST_BYTES = 16
"""Length of a text digest: 128 bits, so that a chance collision needs some 2**64 texts."""


def document_id_of(sha256: str) -> str:
    """Return a document's id: the first 128 bits of the SHA-256 of its raw bytes, in hex."""
    return sha256[: 2 * DIGEST_BYTES]


def text_id_of(text: str) -> str:
    """Return a text's id: the 16-byte BLAKE2b digest of its UTF-8, in hex.

    It can be recomputed with other tools. ``kernels.digest`` does so for all texts of a batch.

    Example:
        >>> text_id_of("the same words")
        '489de10278b5c0b2a80cce56f6d2a3c0'
    """
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def hex_strings(digests: npt.NDArray[np.uint8]) -> pa.Array:
    """Return digests as an Arrow string array of lower-case hex.

    Args:
        digests: uint8, shape (n, bytes).
    """
    count, width = digests.shape
    alphabet = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    letters = np.empty((count, 2 * width), dtype=np.uint8)
    letters[:, 0::2] = alphabet[digests >> 4]
    letters[:, 1::2] = alphabet[digests & 15]
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(2 * width)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters))


def run_id_of(started_at: datetime, entropy: str) -> str:
    """Return a run's id: its start in UTC, so that ids sort by time, and random hex digits."""
    return f"{started_at:%Y%m%dT%H%M%S%f}-{entropy}"
