"""Find the encoding of raw bytes and decode them, keeping the way back from text to bytes.

In this order: the setting; a byte order mark that the bytes bear out; UTF-16 or UTF-32 by where the
zero bytes stand; UTF-8, with few broken sequences replaced; a legacy code page found by
charset-normalizer. What was found and how is recorded; what cannot be told is rejected, not
guessed.
"""

from __future__ import annotations

import codecs
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from palimpsest.records.errors import SourceError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE_MARKS = tuple(mark for mark, _ in _BOMS[1:])
_LEGACY = (
    "cp1252 cp1251 cp1250 cp1254 cp1253 cp1255 cp1256 cp1257 cp1258 cp874 "
    "gb18030 cp932 big5 cp949 euc_jp "
    "koi8_r koi8_u iso8859_2 iso8859_5 iso8859_7 mac_roman mac_cyrillic cp437 cp850 cp866"
).split()
"""The commonest first: of code pages that decode a source to the same text, the first is named."""
_FORMATS = (
    (b"%PDF-", "PDF"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"PK\x03\x04", "ZIP, DOCX, ODT or EPUB"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xd0\xcf\x11\xe0", "an older Office document"),
    (b"{\\rtf", "RTF"),
    (b"\x7fELF", "a program"),
)
_MAGICS = tuple(magic for magic, _ in _FORMATS)
_HTML_STARTS = (b"<!doctype html", b"<html")
_BEFORE_HTML = (b"<!--", b"<?xml")
_HEAD_BYTES = 1024
_SAMPLE_BYTES = 256 * 1024
_MAX_CONTROL_SHARE = 0.03
_MAX_BROKEN_SHARE = 0.1
"""Broken UTF-8 sequences for each whole multi-byte one, above which the bytes are not UTF-8."""
_MAX_CHAOS = 0.2
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b")

_MEANT = {
    "iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "ascii": "cp1252",
    "us-ascii": "cp1252", "iso-8859-9": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "gb-2312-80": "gb18030",
    "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932",
    "euc-kr": "cp949", "ks-c-5601-1987": "cp949", "windows-949": "cp949", "big5": "big5hkscs",
    "unicode": "utf-8", "x-mac-cyrillic": "mac_cyrillic", "macintosh": "mac_roman",
    "windows-874": "cp874", "x-cp1251": "cp1251", "x-cp1252": "cp1252",
}  # fmt: skip
_STATEFUL = ("iso2022", "hz", "utf-7")

ByteMap = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.int64]]


class Decoded(NamedTuple):
    """A decoded source.

    Attributes:
        utf8: the decoded text, always as UTF-8, without byte order mark.
        encoding: of the raw bytes, as Python names it; without a mark, so that any span decodes.
        encoding_from: bom, utf-8, detected or setting.
        errors: broken sequences that became U+FFFD.
        is_proved: whether spans are exact by construction; if not, each has to be tried.
        to_bytes: takes positions in ``utf8`` and the same in characters, both int64 of one shape,
            ascending; returns positions in the raw bytes.
        offset: what ``to_bytes`` adds to positions in ``utf8``, where it does nothing else.
    """

    utf8: bytes
    encoding: str
    encoding_from: str
    errors: int
    is_proved: bool
    to_bytes: ByteMap
    offset: int | None = None


def decode(raw: bytes, encoding: str | None = None) -> Decoded:
    """Decode raw bytes.

    Args:
        raw: at least one byte.
        encoding: what to decode as; found where not given.

    Raises:
        SourceError: binary, a format of its own, or no encoding that can be trusted.
    """
    if encoding is not None:
        return _decode_as_told(raw, encoding)
    _refuse_formats(raw)
    marked = _decode_marked(raw)
    if marked is not None:
        return marked
    wide = _wide_encoding(raw)
    if wide is not None:
        return _decode_strictly(raw, 0, wide, "detected")
    _refuse_binary(raw)
    start = 3 if raw.startswith(codecs.BOM_UTF8) else 0
    return _decode_utf8(raw, start, "bom" if start else "utf-8") or _decode_legacy(raw, start)


def decode_label(raw: bytes, label: str, told_by: str) -> Decoded | None:
    """Decode by the name that a page or its carrier gives the encoding; None if it does not fit.

    Bytes that are UTF-8 are read as such, whatever they are called; names mean what browsers take
    them for (the WHATWG's encoding standard).

    Args:
        raw: at least one byte, without a byte order mark.
        label: the name.
        told_by: who gives it: ``http`` or ``html``.

    Raises:
        SourceError: binary, or a format of its own.
    """
    _refuse_formats(raw)
    name = label.strip().lower().replace("_", "-")
    try:
        encoding = codecs.lookup(_MEANT.get(name, name)).name
        "".encode(encoding)  # some codecs are not from text to bytes
    except (LookupError, TypeError, ValueError):
        return None
    if encoding.startswith(("utf-16", "utf-32", "utf-7")):  # its name could not be read if it were
        encoding = "utf-8"
    _refuse_binary(raw)
    if not is_stateful(encoding):
        found = _decode_utf8(raw, 0, "utf-8")
        if found is not None and found.errors == 0:
            return found
        if encoding == "utf-8":
            return None if found is None else found._replace(encoding_from=told_by)
    try:
        return _decode_strictly(raw, 0, encoding, told_by)
    except SourceError:
        return None


def is_stateful(encoding: str) -> bool:
    """Tell whether a span of bytes cannot be decoded without what is before it."""
    return encoding.startswith(_STATEFUL)


def decode_span(raw_span: bytes, encoding: str) -> str:
    """Return the text of a span of raw bytes, by the rule that ``decode`` followed."""
    return raw_span.decode(encoding, "replace" if encoding == "utf-8" else "strict")


def _refuse_formats(raw: bytes) -> None:
    """Refuse what is a format of its own; text with markup would give paragraphs of markup."""
    if raw.startswith(_MAGICS):
        names = [name for magic, name in _FORMATS if raw.startswith(magic)]
        raise SourceError(
            "unsupported-format",
            f"the bytes begin as {names[0]}; turn it into text first, or take it as it is by "
            "naming its encoding with --encoding",
        )


def is_html(raw: bytes) -> bool:
    """Tell whether a page begins here, perhaps behind a comment or an XML declaration."""
    head = raw[:_HEAD_BYTES].removeprefix(codecs.BOM_UTF8).lstrip()
    if not head.startswith(b"<"):
        return False
    head = head.lower()
    if head.startswith(_BEFORE_HTML):
        return any(start in head for start in _HTML_STARTS)
    return head.startswith(_HTML_STARTS)


def _decode_as_told(raw: bytes, encoding: str) -> Decoded:
    for mark, marked in _BOMS:
        family = "utf-8-sig" if marked == "utf-8" else marked[:6]  # utf-16 or utf-32
        if raw.startswith(mark) and encoding in (marked, family):
            return _decode_strictly(raw, len(mark), marked, "setting")
    plain = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
    return _decode_strictly(raw, 0, plain.get(encoding, encoding), "setting")


def _decode_marked(raw: bytes) -> Decoded | None:
    """Decode by a byte order mark of UTF-16 or UTF-32; return None if the bytes belie it.

    They belie it if they are good UTF-8 with blanks between words: a mark glued to plain text. A
    few ideographs in UTF-16 look like ASCII letters too, but hardly ever like blanks.
    """
    if not raw.startswith(_WIDE_MARKS):
        return None
    for mark, encoding in _BOMS[1:]:
        if not raw.startswith(mark):
            continue
        if b"\0" not in raw and any(blank in raw for blank in b" \n"):
            plain = _decode_utf8(raw, len(mark), "utf-8")
            if plain is not None and plain.errors == 0:
                return plain
        try:
            return _decode_strictly(raw, len(mark), encoding, "bom")
        except SourceError:
            continue
    return None


def _wide_encoding(raw: bytes) -> str | None:
    """Return UTF-16 or UTF-32 without a mark, if zero bytes stand where such text has them."""
    if len(raw) < 4 or b"\0" not in raw[:_SAMPLE_BYTES]:
        return None
    sample = np.frombuffer(raw[:_SAMPLE_BYTES], dtype=np.uint8)
    zeros = sample[: len(sample) // 4 * 4].reshape(-1, 4) == 0
    at = zeros.mean(axis=0)
    if len(raw) % 4 == 0 and min(at[2], at[3]) > 0.9 and at[0] < 0.1:
        return "utf-32-le"
    if len(raw) % 4 == 0 and min(at[0], at[1]) > 0.9 and at[3] < 0.1:
        return "utf-32-be"
    if len(raw) % 2 == 0 and max(at[0], at[2]) < 0.01 and min(at[1], at[3]) > 0.02:
        return "utf-16-le"
    if len(raw) % 2 == 0 and max(at[1], at[3]) < 0.01 and min(at[0], at[2]) > 0.02:
        return "utf-16-be"
    return None


def _refuse_binary(raw: bytes) -> None:
    sample = raw[:_SAMPLE_BYTES]
    controls = len(sample) - len(sample.translate(None, delete=_CONTROLS))
    if controls > max(1, _MAX_CONTROL_SHARE * len(sample)):
        raise SourceError(
            "binary",
            f"{controls} control bytes among the first {len(sample)}; expected text with at most "
            f"{_MAX_CONTROL_SHARE:.0%}",
        )


def _decode_utf8(raw: bytes, start: int, encoding_from: str) -> Decoded | None:
    """Decode as UTF-8 if the bytes are, save for a few broken sequences; else return None."""
    body = raw[start:] if start else raw
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        to_bytes: ByteMap = lambda utf8, chars: utf8 + start  # noqa: E731
        return Decoded(body, "utf-8", encoding_from, 0, True, to_bytes, start)
    if not _is_nearly_utf8(body):
        return None
    _noted.broken = []
    text = body.decode("utf-8", _NOTE)
    broken = _noted.broken
    back = _map_broken(broken, start)
    return Decoded(text.encode(), "utf-8", encoding_from, len(broken), True, back)


def _is_nearly_utf8(body: bytes) -> bool:
    """Tell whether broken sequences are few against whole ones, or one at the very end only."""
    text = body.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    whole = len(text) - len(text.encode("ascii", "ignore")) - broken
    is_cut_off = broken == 1 and text.endswith("\ufffd") and len(text) > 1
    return is_cut_off or broken <= _MAX_BROKEN_SHARE * whole


_NOTE = "palimpsest-note"
_noted = threading.local()


def _note_broken(error: UnicodeError) -> tuple[str, int]:
    """Replace a broken sequence as the handler "replace" does, and note where it stood."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _noted.broken.append((error.start, error.end))
    return "\ufffd", error.end


codecs.register_error(_NOTE, _note_broken)


def _map_broken(broken: list[tuple[int, int]], start: int) -> ByteMap:
    spans = np.array(broken, dtype=np.int64)
    longer = 3 - (spans[:, 1] - spans[:, 0])
    # A position in the text is past a replacement once it is past that replacement's first byte.
    replaced_at = spans[:, 0] + np.concatenate(([0], np.cumsum(longer)[:-1]))
    grown = np.concatenate(([0], np.cumsum(longer)))

    def to_bytes(
        utf8: npt.NDArray[np.int64], chars: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        return utf8 - grown[np.searchsorted(replaced_at, utf8, side="left")] + start

    return to_bytes


def _decode_legacy(raw: bytes, start: int) -> Decoded:
    """Decode in a code page that charset-normalizer finds and that decodes the whole source."""
    from charset_normalizer import from_bytes  # heavy, and most sources do not need it

    sample = raw[start : start + _SAMPLE_BYTES]
    if len(raw) - start > _SAMPLE_BYTES:  # not in the middle of a character
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    best = from_bytes(sample, cp_isolation=list(_LEGACY), preemptive_behaviour=False).best()
    if best is None or best.chaos > _MAX_CHAOS:
        raise SourceError(
            "encoding-unknown",
            "not UTF-8, and no code page fits well enough to be trusted; name it with --encoding",
        )
    return _decode_strictly(raw, start, _commonest_alike(raw[start:], best.encoding), "detected")


def _commonest_alike(body: bytes, encoding: str) -> str:
    """Return the commonest encoding that decodes the bytes as the given one does."""
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        return encoding  # told where the bytes are decoded in earnest
    return next((other for other in _LEGACY if _decodes_to(body, other, text)), encoding)


def _decodes_to(body: bytes, encoding: str, text: str) -> bool:
    try:
        return body.decode(encoding) == text
    except UnicodeDecodeError:
        return False


def _decode_strictly(raw: bytes, start: int, encoding: str, encoding_from: str) -> Decoded:
    encoding = codecs.lookup(encoding).name
    try:
        text = raw[start:].decode(encoding)
        utf8 = text.encode()
    except UnicodeError as error:
        where = f"byte {start + error.start}" if isinstance(error, UnicodeDecodeError) else "a byte"
        reason = "encoding-mismatch" if encoding_from == "setting" else "encoding-unknown"
        raise SourceError(
            reason,
            f"{where} does not decode as {encoding} ({encoding_from}); "
            "name the right encoding with --encoding",
        ) from error
    direct = _map_directly(text, len(raw) - start, start, encoding)
    if direct is not None:
        return Decoded(utf8, encoding, encoding_from, 0, True, direct)

    def walk(utf8: npt.NDArray[np.int64], chars: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return _walk_to(raw, start, encoding, chars)

    return Decoded(utf8, encoding, encoding_from, 0, False, walk)


def _map_directly(text: str, body_bytes: int, start: int, encoding: str) -> ByteMap | None:
    """Return the map back to bytes where it can be computed; None where it has to be walked."""
    if encoding == "utf-8":
        return lambda utf8, chars: utf8 + start
    if encoding.startswith("utf-32"):
        return lambda utf8, chars: chars * 4 + start
    if encoding.startswith("utf-16"):
        code_points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        astral = np.flatnonzero(code_points > 0xFFFF)
        return lambda utf8, chars: (chars + np.searchsorted(astral, chars)) * 2 + start
    if len(text) == body_bytes and not is_stateful(encoding):  # one byte a character
        return lambda utf8, chars: chars + start
    return None


def _walk_to(
    raw: bytes, start: int, encoding: str, chars: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return where characters begin in bytes of any encoding, by decoding up to each.

    A character begins where the one before it ends, so that an escape sequence goes with what
    follows it. Chunks are decoded whole, and byte by byte only where a wanted position lies.
    """
    found = np.empty(len(chars), dtype=np.int64)
    decoder = codecs.getincrementaldecoder(encoding)()
    done_chars, at, chunk = 0, start, 4096
    wanted = 0
    while wanted < len(chars):
        state = decoder.getstate()
        length = len(decoder.decode(raw[at : at + chunk]))
        if done_chars + length < chars[wanted] and at < len(raw):
            done_chars, at = done_chars + length, at + chunk
            continue
        decoder.setstate(state)
        here = done_chars
        stop = min(at + chunk, len(raw))
        for position in range(at, stop):
            while wanted < len(chars) and chars[wanted] <= here:
                found[wanted] = position
                wanted += 1
            here += len(decoder.decode(raw[position : position + 1]))
        if stop == len(raw):  # what is still open ends here
            found[wanted:] = stop
            break
        done_chars, at = here, stop
    return found
