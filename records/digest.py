"""BLAKE2b with a digest of 16 bytes over many spans at once, equal to ``hashlib.blake2b``.

Source: RFC 7693, sections 2.6 (sigma), 2.7 (mixing), 3.2 (compression), 3.3 (padding).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from records.compiled import inlined, kernel

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

_BLOCK_BYTES = 128
_DIGEST_BYTES = 16
_INITIAL = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    dtype=np.uint64,
)
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    dtype=np.int64,
)
_LANES = np.array(
    [
        [0, 4, 8, 12],
        [1, 5, 9, 13],
        [2, 6, 10, 14],
        [3, 7, 11, 15],
        [0, 5, 10, 15],
        [1, 6, 11, 12],
        [2, 7, 8, 13],
        [3, 4, 9, 14],
    ],
    dtype=np.int64,
)


@kernel
def digest_spans(buffer: Bytes, starts: Positions, ends: Positions) -> Bytes:
    """Return the digests of spans of a buffer: uint8, shape (spans, 16)."""
    digests = np.empty((len(starts), _DIGEST_BYTES), dtype=np.uint8)
    state = np.empty(8, dtype=np.uint64)
    work = np.empty(16, dtype=np.uint64)
    message = np.empty(16, dtype=np.uint64)
    for span in range(len(starts)):
        at, end = starts[span], ends[span]
        total = end - at
        for lane in range(8):
            state[lane] = _INITIAL[lane]
        state[0] ^= np.uint64(0x01010000 ^ _DIGEST_BYTES)
        done = 0
        while True:
            taken = min(_BLOCK_BYTES, total - done)
            _load(buffer, at + done, taken, message)
            done += taken
            _compress(state, work, message, done, done == total)
            if done == total:
                break
        for byte in range(_DIGEST_BYTES):
            digests[span, byte] = (state[byte // 8] >> np.uint64(8 * (byte % 8))) & np.uint64(0xFF)
    return digests


@inlined
def _load(buffer: Bytes, at: int, taken: int, message: Words) -> None:
    """Read up to 128 bytes as 16 little-endian words, with zeros behind."""
    for word in range(16):
        value = np.uint64(0)
        stop = min(8, taken - 8 * word)
        for byte in range(stop):
            value |= np.uint64(buffer[at + 8 * word + byte]) << np.uint64(8 * byte)
        message[word] = value


@inlined
def _compress(state: Words, work: Words, message: Words, done: int, is_last: bool) -> None:
    for lane in range(8):
        work[lane] = state[lane]
        work[lane + 8] = _INITIAL[lane]
    work[12] ^= np.uint64(done)
    if is_last:
        work[14] = ~work[14]
    for turn in range(12):
        for mix in range(8):
            a, b, c, d = _LANES[mix, 0], _LANES[mix, 1], _LANES[mix, 2], _LANES[mix, 3]
            work[a] += work[b] + message[_SIGMA[turn, 2 * mix]]
            work[d] = _rotated(work[d] ^ work[a], 32)
            work[c] += work[d]
            work[b] = _rotated(work[b] ^ work[c], 24)
            work[a] += work[b] + message[_SIGMA[turn, 2 * mix + 1]]
            work[d] = _rotated(work[d] ^ work[a], 16)
            work[c] += work[d]
            work[b] = _rotated(work[b] ^ work[c], 63)
    for lane in range(8):
        state[lane] ^= work[lane] ^ work[lane + 8]


@inlined
def _rotated(value: np.uint64, by: int) -> np.uint64:
    return (value >> np.uint64(by)) | (value << np.uint64(64 - by))
