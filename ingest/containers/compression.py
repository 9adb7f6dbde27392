"""Decompress files as streams, within the limits."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import zstandard

from palimpsest.ingest.containers.member import Limits
from palimpsest.records.errors import SourceError

_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
)
_MAGICS = (b"BZh", *(magic for magic, _ in _MAGIC))
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
_SUFFIXES = (".gz", ".zst", ".xz", ".bz2")
_XZ_MEMORY = 256 * 2**20
_ZSTD_WINDOW = 128 * 2**20
_CHUNK_BYTES = 64 * 1024
_FAULTS = (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile, OSError)


def compression_of(head: bytes) -> str | None:
    """Return the compression of a file by its first bytes; None if it is not compressed."""
    if not head.startswith(_MAGICS):
        return None
    if head.startswith(b"BZh") and head[3:4].isdigit() and head[4:10] in _BZIP2_BLOCKS:
        return "bzip2"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def without_suffix(name: str) -> str:
    """Return a file's name without the suffix of its compression.

    Example:
        >>> without_suffix("a.html.GZ"), without_suffix("a.tgz")
        ('a.html', 'a.tar')
    """
    lowered = name.lower()
    if lowered.endswith(".tgz"):
        return name[:-4] + ".tar"
    if not lowered.endswith(_SUFFIXES):
        return name
    suffix = next(ending for ending in _SUFFIXES if lowered.endswith(ending))
    return name[: len(name) - len(suffix)]


@contextmanager
def decompressed(file: BinaryIO, compression: str, limits: Limits) -> Iterator[BinaryIO]:
    """Open a compressed file; reading raises ``SourceError`` if it is damaged or a bomb."""
    opened = _Stream(_READERS[compression](file), file, compression, limits)
    with io.BufferedReader(opened, _CHUNK_BYTES) as buffered:
        yield buffered


class _Stream(io.RawIOBase):
    """A decompressed stream that reports damage and stops at a bomb."""

    def __init__(self, inner: Any, file: BinaryIO, compression: str, limits: Limits) -> None:
        self._inner, self._file, self._compression = inner, file, compression
        self._limits, self._returned_bytes = limits, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            piece = self._inner.read(min(len(view), _CHUNK_BYTES))
        except _FAULTS as error:
            raise SourceError(
                "damaged",
                f"{self._compression} ends after {self._returned_bytes} decompressed bytes: "
                f"{error}; fetch the file again",
            ) from error
        self._returned_bytes += len(piece)
        if self._limits.is_bomb(self._file.tell(), self._returned_bytes):
            raise SourceError(
                "bomb",
                f"{self._file.tell()} bytes decompress to more than {self._returned_bytes}; "
                f"expected at most {self._limits.max_ratio} times as many",
            )
        view[: len(piece)] = piece
        return len(piece)


class _Blocks:
    """Streams of a decompressor of the standard library, one after the other."""

    def __init__(self, file: BinaryIO, new: Callable[[], Any], magic: bytes) -> None:
        self._file, self._new, self._magic = file, new, magic
        self._inner, self._left = new(), b""

    def read(self, size: int) -> bytes:
        while True:
            if self._inner.eof:
                rest = self._inner.unused_data or self._left
                while rest and len(rest) < len(self._magic) and (more := self._file.read(16)):
                    rest += more
                rest = (
                    rest.lstrip(b"\0")
                    if self._inner.eof and rest
                    else self._file.read(_CHUNK_BYTES)
                )
                if not rest:
                    return b""
                if not rest.startswith(self._magic):
                    raise EOFError("other data follows it")
                self._inner, self._left = self._new(), rest
            if self._inner.needs_input and not self._left:
                self._left = self._file.read(_CHUNK_BYTES)
                if not self._left:
                    raise EOFError("the file is cut off")
            piece: bytes = self._inner.decompress(self._left, size)
            self._left = b""
            if piece:
                return piece


_READERS: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
    "zstd": lambda file: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        file, read_across_frames=True, closefd=False
    ),
    "xz": lambda file: _Blocks(
        file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), b"\xfd7zXZ\x00"
    ),
    "bzip2": lambda file: _Blocks(file, bz2.BZ2Decompressor, b"BZh"),
}
