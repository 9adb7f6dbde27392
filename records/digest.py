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
    dtype=np.uint64,
)


@kernel
def digest_spans(buffer: Bytes, starts: Positions, ends: Positions) -> Bytes:
    """Return the digests of spans of a buffer: uint8, shape (spans, 16)."""
    digests = np.empty((len(starts), _DIGEST_BYTES), dtype=np.uint8)
    state = np.empty(8, dtype=np.uint64)
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
            _load(buffer[at + done : at + done + taken], message)
            done += taken
            _compress(state, message, done, done == total)
            if done == total:
                break
        for byte in range(_DIGEST_BYTES):
            digests[span, byte] = (state[byte // 8] >> np.uint64(8 * (byte % 8))) & np.uint64(0xFF)
    return digests


@inlined
def _load(block: Bytes, message: Words) -> None:
    """Read up to 128 bytes as 16 little-endian words, with zeros behind."""
    whole = len(block) // 8
    for word in range(whole):
        value = np.uint64(0)
        for byte in range(8):
            value |= np.uint64(block[8 * word + byte]) << np.uint64(8 * byte)
        message[word] = value
    if whole < 16:
        message[whole:] = 0
        for byte in range(8 * whole, len(block)):
            message[whole] |= np.uint64(block[byte]) << np.uint64(8 * (byte % 8))


@inlined
def _compress(state: Words, message: Words, done: int, is_last: bool) -> None:
    """Take a block into the state. Its words are variables, so that they stay in registers."""
    a0, a1, a2, a3 = state[0], state[1], state[2], state[3]
    b0, b1, b2, b3 = state[4], state[5], state[6], state[7]
    c0, c1, c2, c3 = _INITIAL[0], _INITIAL[1], _INITIAL[2], _INITIAL[3]
    d0, d1, d2, d3 = _INITIAL[4], _INITIAL[5], _INITIAL[6], _INITIAL[7]
    d0 ^= np.uint64(done)
    if is_last:
        d2 = ~d2
    for turn in range(12):
        s = _SIGMA[turn]
        a0, b0, c0, d0 = _mix(a0, b0, c0, d0, message[s[0]], message[s[1]])
        a1, b1, c1, d1 = _mix(a1, b1, c1, d1, message[s[2]], message[s[3]])
        a2, b2, c2, d2 = _mix(a2, b2, c2, d2, message[s[4]], message[s[5]])
        a3, b3, c3, d3 = _mix(a3, b3, c3, d3, message[s[6]], message[s[7]])
        a0, b1, c2, d3 = _mix(a0, b1, c2, d3, message[s[8]], message[s[9]])
        a1, b2, c3, d0 = _mix(a1, b2, c3, d0, message[s[10]], message[s[11]])
        a2, b3, c0, d1 = _mix(a2, b3, c0, d1, message[s[12]], message[s[13]])
        a3, b0, c1, d2 = _mix(a3, b0, c1, d2, message[s[14]], message[s[15]])
    state[0] ^= a0 ^ c0
    state[1] ^= a1 ^ c1
    state[2] ^= a2 ^ c2
    state[3] ^= a3 ^ c3
    state[4] ^= b0 ^ d0
    state[5] ^= b1 ^ d1
    state[6] ^= b2 ^ d2
    state[7] ^= b3 ^ d3


@inlined
def _mix(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, x: np.uint64, y: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    a = a + b + x
    d = _rotated(d ^ a, 32)
    c = c + d
    b = _rotated(b ^ c, 24)
    a = a + b + y
    d = _rotated(d ^ a, 16)
    c = c + d
    b = _rotated(b ^ c, 63)
    return a, b, c, d


@inlined
def _rotated(value: np.uint64, by: int) -> np.uint64:
    return (value >> np.uint64(by)) | (value << np.uint64(64 - by))
