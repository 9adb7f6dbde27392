"""Detect the encoding of raw bytes and decode them, with an offset map from text to bytes.

In this order: the setting; a byte order mark that the bytes confirm; UTF-16 or UTF-32 by the
positions of zero bytes; UTF-8, with few broken sequences replaced; a legacy code page found by
charset-normalizer. The encoding and how it was found are recorded; an uncertain one is rejected,
not guessed.
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
"""By frequency: of code pages that decode a source to the same text, the first is recorded."""
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
"""Broken UTF-8 sequences per valid multi-byte one; above this share the bytes are not UTF-8."""
_MAX_CHAOS = 0.2
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b")

_BROWSER_NAMES = {
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
        utf8: the decoded text, always as UTF-8, without a byte order mark.
        encoding: of the raw bytes, as Python names it; without a mark, so that spans decode.
        encoding_from: bom, http, html, utf-8, detected or setting.
        errors: broken sequences that became U+FFFD.
        is_exact: whether spans are exact by construction; if not, each has to be checked.
        to_bytes: takes positions in ``utf8`` and the same in characters, both int64 of one shape,
            ascending; returns positions in the raw bytes.
        offset: what ``to_bytes`` adds to positions in ``utf8``, where it does nothing else.
    """

    utf8: bytes
    encoding: str
    encoding_from: str
    errors: int
    is_exact: bool
    to_bytes: ByteMap
    offset: int | None = None


def decode(raw: bytes, encoding: str | None = None) -> Decoded:
    """Decode raw bytes.

    Args:
        raw: at least one byte.
        encoding: what to decode as; detected by default.

    Raises:
        SourceError: binary, another file format, or no encoding fits well enough.
    """
    if encoding is not None:
        return _decode_as_set(raw, encoding)
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


def decode_label(raw: bytes, label: str, declared_in: str) -> Decoded | None:
    """Decode by a declared charset; return None if it does not fit.

    Valid UTF-8 is read as such, whatever is declared. Names mean what they mean to browsers (the
    WHATWG's encoding standard).

    Args:
        raw: at least one byte, without a byte order mark.
        label: the name of the charset.
        declared_in: ``http`` or ``html``.

    Raises:
        SourceError: binary, or another file format.
    """
    _refuse_formats(raw)
    name = label.strip().lower().replace("_", "-")
    try:
        encoding = codecs.lookup(_BROWSER_NAMES.get(name, name)).name
        "".encode(encoding)  # some codecs do not encode text
    except (LookupError, TypeError, ValueError):
        return None
    if encoding.startswith(
        ("utf-16", "utf-32", "utf-7")
    ):  # if it were, its name could not have been read
        encoding = "utf-8"
    _refuse_binary(raw)
    if not is_stateful(encoding):
        found = _decode_utf8(raw, 0, "utf-8")
        if found is not None and found.errors == 0:
            return found
        if encoding == "utf-8":
            return None if found is None else found._replace(encoding_from=declared_in)
    try:
        return _decode_strictly(raw, 0, encoding, declared_in)
    except SourceError:
        return None


def is_stateful(encoding: str) -> bool:
    """Return whether decoding a span of bytes needs the bytes before it."""
    return encoding.startswith(_STATEFUL)


def decode_span(raw_span: bytes, encoding: str) -> str:
    """Return the text of a span of raw bytes, by the rules of ``decode``."""
    return raw_span.decode(encoding, "replace" if encoding == "utf-8" else "strict")


def _refuse_formats(raw: bytes) -> None:
    """Refuse known file formats; those with markup would give paragraphs of markup."""
    if raw.startswith(_MAGICS):
        names = [name for magic, name in _FORMATS if raw.startswith(magic)]
        raise SourceError(
            "unsupported-format",
            f"the file begins like {names[0]}; convert it to text first, or name its encoding with "
            "--encoding to read it as it is",
        )


def is_html(raw: bytes) -> bool:
    """Return whether a page begins here, perhaps after a comment or an XML declaration."""
    head = raw[:_HEAD_BYTES].removeprefix(codecs.BOM_UTF8).lstrip()
    if not head.startswith(b"<"):
        return False
    head = head.lower()
    if head.startswith(_BEFORE_HTML):
        return any(start in head for start in _HTML_STARTS)
    return head.startswith(_HTML_STARTS)


def _decode_as_set(raw: bytes, encoding: str) -> Decoded:
    for mark, marked in _BOMS:
        family = "utf-8-sig" if marked == "utf-8" else marked[:6]  # utf-16 or utf-32
        if raw.startswith(mark) and encoding in (marked, family):
            return _decode_strictly(raw, len(mark), marked, "setting")
    plain = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
    return _decode_strictly(raw, 0, plain.get(encoding, encoding), "setting")


def _decode_marked(raw: bytes) -> Decoded | None:
    """Decode by a byte order mark of UTF-16 or UTF-32; return None if the bytes contradict it.

    They do if they are valid UTF-8 with spaces or line feeds: a mark put before plain text. A few
    ideographs in UTF-16 look like ASCII letters too, but hardly ever like spaces.
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
    """Return UTF-16 or UTF-32 without a mark, if zero bytes are where such text has them."""
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
    """Decode as UTF-8 if the bytes are valid but for a few sequences; else return None."""
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
    _recorded.broken = []
    text = body.decode("utf-8", _RECORD)
    broken = _recorded.broken
    to_bytes = _map_broken(broken, start)
    return Decoded(text.encode(), "utf-8", encoding_from, len(broken), True, to_bytes)


def _is_nearly_utf8(body: bytes) -> bool:
    """Return whether broken sequences are few beside valid ones, or just one at the very end."""
    text = body.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    whole = len(text) - len(text.encode("ascii", "ignore")) - broken
    is_cut_off = broken == 1 and text.endswith("\ufffd") and len(text) > 1
    return is_cut_off or broken <= _MAX_BROKEN_SHARE * whole


_RECORD = "palimpsest-record"
_recorded = threading.local()


def _record_broken(error: UnicodeError) -> tuple[str, int]:
    """Replace a broken sequence like the handler "replace", and record its span."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _recorded.broken.append((error.start, error.end))
    return "\ufffd", error.end


codecs.register_error(_RECORD, _record_broken)


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
    """Decode in the code page that charset-normalizer finds, if it decodes the whole source."""
    from charset_normalizer import from_bytes  # slow to import, and rarely needed

    sample = raw[start : start + _SAMPLE_BYTES]
    if len(raw) - start > _SAMPLE_BYTES:  # do not cut a character
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    best = from_bytes(sample, cp_isolation=list(_LEGACY), preemptive_behaviour=False).best()
    if best is None or best.chaos > _MAX_CHAOS:
        raise SourceError(
            "encoding-unknown",
            "not UTF-8, and no code page fits well enough; name the encoding with --encoding",
        )
    return _decode_strictly(raw, start, _commonest_alike(raw[start:], best.encoding), "detected")


def _commonest_alike(body: bytes, encoding: str) -> str:
    """Return the most frequent encoding that decodes the bytes to the same text."""
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        return encoding  # reported when the whole is decoded
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
    """Return an offset map that can be computed; None if the bytes have to be decoded again."""
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
    """Return the byte positions of characters in any encoding, by decoding up to each.

    A character begins where the one before it ends, so an escape sequence belongs to the character
    after it. Chunks are decoded whole, and byte by byte only if they contain a position.
    """
    found = np.empty(len(chars), dtype=np.int64)
    decoder = codecs.getincrementaldecoder(encoding)()
    done_chars, at, chunk = 0, start, 4096
    pending = 0
    while pending < len(chars):
        state = decoder.getstate()
        length = len(decoder.decode(raw[at : at + chunk]))
        if done_chars + length < chars[pending] and at < len(raw):
            done_chars, at = done_chars + length, at + chunk
            continue
        decoder.setstate(state)
        here = done_chars
        stop = min(at + chunk, len(raw))
        for position in range(at, stop):
            while pending < len(chars) and chars[pending] <= here:
                found[pending] = position
                pending += 1
            here += len(decoder.decode(raw[position : position + 1]))
        if stop == len(raw):  # the rest ends here
            found[pending:] = stop
            break
        done_chars, at = here, stop
    return found
