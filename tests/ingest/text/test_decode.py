from __future__ import annotations

import codecs
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from palimpsest.ingest.text.decode import Decoded, decode, decode_span, is_html
from palimpsest.records.errors import SourceError
from tests.strategies import max_examples

heavy = max_examples(60)

VISIBLE = st.characters(exclude_categories=("Cs", "Cc", "Cn"))
TEXTS = st.text(st.one_of(VISIBLE, st.sampled_from(" \n\tabcéäß漢字😀")), max_size=200)

FRENCH = (
    "Le maire a déclaré hier que les travaux de la gare seraient terminés avant l'été prochain. "
    "Les habitants du quartier, gênés depuis des années par le bruit, espèrent être enfin écoutés. "
)
GERMAN = (
    "Die Bürger der Stadt ärgern sich über die höheren Gebühren für das Schwimmbad. "
    "Der Oberbürgermeister erklärte, größere Rücklagen könne man dafür nicht auflösen. "
)
RUSSIAN = (
    "Вчера в городе открылась новая библиотека, и жители пришли посмотреть на её залы. "
    "Директор сказал, что книги собирали по всей области несколько лет подряд. "
)
POLISH = (
    "Wczoraj mieszkańcy miasta świętowali otwarcie nowej ścieżki wzdłuż rzeki. "
    "Burmistrz powiedział, że następne będą gotowe już wiosną, jeśli pogoda pozwoli. "
    "Dzieci przyszły ze swoimi rodzicami i zjadły dużo słodkich pączków. "
)
JAPANESE = (
    "昨日、市役所の前で新しい図書館の開館式が行われました。市長は「子どもたちが本を好きになる場所に"
    "したい」と話しました。午後からは多くの人が集まり、にぎやかな一日になりました。"
)
CHINESE = (
    "昨天上午，市政府举行了新图书馆的开馆仪式。市长表示，希望这里能够成为孩子们喜欢的地方。"
    "许多居民带着家人前来参观，现场十分热闹，大家都说这是一件好事。"
)
TAIWANESE = (
    "昨天上午，市政府舉行了新圖書館的開館儀式。市長表示，希望這裡能夠成為孩子們喜歡的地方。"
    "許多居民帶著家人前來參觀，現場十分熱鬧，大家都說這是一件好事。"
)
KOREAN = (
    "어제 오전 시청 앞에서 새 도서관의 개관식이 열렸습니다. 시장은 아이들이 책을 좋아하게 되는 "
    "곳이 되기를 바란다고 말했습니다. 많은 주민들이 가족과 함께 찾아와 즐거운 하루를 보냈습니다. "
)


def _reason(raw: bytes, encoding: str | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        decode(raw, encoding)
    return caught.value.reason


def _boundaries(decoded: Decoded) -> list[int]:
    """Return where each character begins in the raw bytes, and where the last one ends."""
    text = decoded.utf8.decode()
    utf8 = np.cumsum([0, *(len(character.encode()) for character in text)], dtype=np.int64)
    chars = np.arange(len(text) + 1, dtype=np.int64)
    return decoded.to_bytes(utf8, chars).tolist()


def _expected_boundaries(text: str, encoding: str, mark: int) -> list[int]:
    sizes = (len(character.encode(encoding)) for character in text)
    return np.cumsum([mark, *sizes]).tolist()


def _assert_exact(decoded: Decoded, text: str, encoding: str, mark: int = 0) -> None:
    assert decoded.utf8.decode() == text
    assert _boundaries(decoded) == _expected_boundaries(text, encoding, mark)
    assert decoded.errors == 0


MARKS = [
    ("utf-8", codecs.BOM_UTF8),
    ("utf-16-le", codecs.BOM_UTF16_LE),
    ("utf-16-be", codecs.BOM_UTF16_BE),
    ("utf-32-le", codecs.BOM_UTF32_LE),
    ("utf-32-be", codecs.BOM_UTF32_BE),
]


@pytest.mark.parametrize(("encoding", "mark"), MARKS)
def test_byte_order_mark_decides_and_is_removed(encoding, mark):
    text = "Grüße, 漢字 und 😀.\n\nNoch etwas."
    decoded = decode(mark + text.encode(encoding))
    assert (decoded.encoding, decoded.encoding_from) == (encoding, "bom")
    _assert_exact(decoded, text, encoding, len(mark))


@pytest.mark.parametrize(("encoding", "mark"), MARKS)
@heavy
@given(text=TEXTS)
def test_every_marked_text_is_decoded_with_exact_positions(encoding, mark, text):
    assume(any(character.isascii() for character in text))
    _assert_exact(decode(mark + text.encode(encoding)), text, encoding, len(mark))


@pytest.mark.parametrize(("encoding", "mark"), MARKS)
@pytest.mark.parametrize("text", ["漢字", "慢", "東京、大阪。", "漢字　漢字"])
def test_short_marked_text_of_ideographs_is_not_read_as_ascii(encoding, mark, text):
    _assert_exact(decode(mark + text.encode(encoding)), text, encoding, len(mark))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [FRENCH, RUSSIAN, "ASCII only, and short.\n"])
def test_wide_text_without_a_mark_is_detected_by_its_zero_bytes(encoding, text):
    decoded = decode(text.encode(encoding))
    assert (decoded.encoding, decoded.encoding_from) == (encoding, "detected")
    _assert_exact(decoded, text, encoding)


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "gb18030"],
)
@heavy
@given(text=TEXTS)
def test_every_text_is_decoded_in_the_encoding_that_is_set(encoding, text):
    assume(not text.startswith("\ufeff"))
    plain = "utf-8" if encoding == "utf-8-sig" else encoding
    decoded = decode(text.encode(plain), encoding)
    assert decoded.encoding_from == "setting"
    _assert_exact(decoded, text, plain)


@pytest.mark.parametrize(
    ("encoding", "marked", "mark"),
    [
        ("utf-8", "utf-8", codecs.BOM_UTF8),
        ("utf-8-sig", "utf-8", codecs.BOM_UTF8),
        ("utf-16", "utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16", "utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", "utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-32", "utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32", "utf-32-be", codecs.BOM_UTF32_BE),
        ("utf-32-be", "utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
def test_mark_that_agrees_with_the_setting_is_removed(encoding, marked, mark):
    text = "Grüße, 漢字 und 😀."
    decoded = decode(mark + text.encode(marked), encoding)
    assert (decoded.encoding, decoded.encoding_from) == (marked, "setting")
    _assert_exact(decoded, text, marked, len(mark))


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251", "koi8-r", "iso8859-2", "mac-roman"])
@heavy
@given(raw=st.binary(min_size=1, max_size=200))
def test_every_single_byte_text_is_decoded_with_exact_positions(encoding, raw):
    text = raw.decode(encoding, "ignore")
    _assert_exact(decode(text.encode(encoding) or b"x", encoding), text or "x", encoding)


@pytest.mark.parametrize("encoding", ["shift_jis", "cp932", "big5", "euc_jp", "cp949", "gb2312"])
@heavy
@given(data=st.data())
def test_every_double_byte_text_is_decoded_with_exact_positions(encoding, data):
    source = CHINESE if encoding == "gb2312" else TAIWANESE if encoding == "big5" else JAPANESE
    letters = [c for c in source if _can_hold(encoding, c)]
    text = data.draw(st.text(st.sampled_from([*letters, "a", " ", "\n", "~"]), min_size=1))
    _assert_exact(decode(text.encode(encoding), encoding), text, encoding)


def _can_hold(encoding: str, character: str) -> bool:
    try:
        return bool(character.encode(encoding))
    except UnicodeEncodeError:
        return False


def test_positions_are_exact_beyond_the_first_chunks_of_a_double_byte_text():
    text = "a" + "漢字かな。\n" * 3000
    _assert_exact(decode(text.encode("cp932"), "cp932"), text, "cp932")


def test_encoding_with_pending_bytes_at_the_end_does_not_hang():
    decoded = decode(b"plain +AGE", "utf-7")
    assert decoded.utf8 == b"plain a"
    assert _boundaries(decoded)[-1] == len(b"plain +AGE")


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        ("é".encode("cp1252"), "utf-8"),
        (b"\x81 is not in it", "cp1252"),
        (b"odd", "utf-16"),
        (b"\xff\xff", "shift_jis"),
        (b"a\xc3", "ascii"),
        (b"\xfe\xff\0a", "utf-8"),
    ],
)
def test_setting_that_the_bytes_contradict_is_a_mismatch(raw, encoding):
    assert _reason(raw, encoding) == "encoding-mismatch"


def test_mismatch_names_the_byte():
    with pytest.raises(SourceError, match=r"byte 4 does not decode as utf-8 \(setting\)"):
        decode(b"Gr\xc3\xbc\xdfe", "utf-8")


def test_plain_utf8_needs_no_mark():
    decoded = decode(FRENCH.encode())
    assert (decoded.encoding, decoded.encoding_from) == ("utf-8", "utf-8")
    _assert_exact(decoded, FRENCH, "utf-8")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_text_cut_off_in_a_character_keeps_all_others(cut):
    raw = ("All of it is here " + "😀").encode()[:-cut]
    decoded = decode(raw)
    assert decoded.utf8.decode() == "All of it is here \ufffd"
    assert (decoded.encoding, decoded.errors) == ("utf-8", 1)
    assert _boundaries(decoded)[-2:] == [len("All of it is here "), len(raw)]


def test_few_broken_sequences_are_replaced_and_counted():
    raw = "é".encode() * 50 + b"\xff" + "ü".encode() * 50 + b"\xe2\x82" + b" end"
    decoded = decode(raw)
    assert decoded.errors == 2
    assert decoded.utf8.decode() == "é" * 50 + "\ufffd" + "ü" * 50 + "\ufffd end"


@heavy
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["é", "漢", "😀", " ", "a\n"]).map(str.encode),
            st.sampled_from([b"\xff", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xc3", b"\xed\xa0"]),
        ),
        max_size=40,
    )
)
def test_broken_utf8_is_replaced_as_python_does_and_positions_are_right(pieces):
    raw = "ä".encode() * 450 + b"".join(pieces) + b"."
    decoded = decode(raw)
    text = raw.decode("utf-8", "replace")
    assert decoded.utf8.decode() == text
    assert decoded.errors == text.count("\ufffd")
    bounds = _boundaries(decoded)
    assert (bounds[0], bounds[-1]) == (0, len(raw))
    spans = [raw[begin:end] for begin, end in pairwise(bounds)]
    assert [decode_span(span, decoded.encoding) for span in spans] == list(text)


def test_utf16_mark_before_ascii_is_ignored():
    for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        decoded = decode(mark + b"Plain words, wrongly marked.\n")
        assert (decoded.encoding, decoded.encoding_from) == ("utf-8", "utf-8")
        _assert_exact(decoded, "Plain words, wrongly marked.\n", "utf-8", 2)


def test_utf8_mark_before_a_code_page_is_ignored():
    decoded = decode(codecs.BOM_UTF8 + GERMAN.encode("cp1252") * 4)
    assert (decoded.encoding, decoded.encoding_from) == ("cp1252", "detected")
    _assert_exact(decoded, GERMAN * 4, "cp1252", 3)


def test_lone_zero_byte_is_an_ordinary_character():
    for at in range(4):
        text = "One half" + "." * at + "\0and the other half of this line, which goes on.\n"
        decoded = decode(text.encode())
        assert decoded.encoding == "utf-8"
        _assert_exact(decoded, text, "utf-8")


def test_many_zero_bytes_are_binary():
    assert _reason(b"fields\0of\0a\0record\0" * 40) == "binary"


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_binary(seed):
    assert _reason(random.Random(seed).randbytes(5000)) == "binary"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "PDF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"PK\x03\x04\x14\0\0\0", "EPUB"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"{\\rtf1\\ansi words}", "RTF"),
    ],
)
def test_known_formats_are_refused_by_name(raw, name):
    with pytest.raises(SourceError, match=name) as caught:
        decode(raw)
    assert caught.value.reason == "unsupported-format"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (GERMAN, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (POLISH, "iso8859-2"),
        (POLISH, "cp1250"),
        (JAPANESE, "cp932"),
        (CHINESE, "gb18030"),
        (TAIWANESE, "big5"),
        (KOREAN, "cp949"),
        (JAPANESE, "euc_jp"),
    ],
)
@pytest.mark.parametrize("times", [1, 5])
def test_code_page_is_detected_by_the_language(text, encoding, times):
    decoded = decode(text.encode(encoding) * times)
    assert decoded.encoding_from == "detected"
    _assert_exact(decoded, text * times, encoding)
    assert _can_hold(decoded.encoding, text)


@pytest.mark.parametrize(
    ("text", "encoding"), [(FRENCH, "cp1252"), (GERMAN, "cp1252"), (RUSSIAN, "cp1251")]
)
def test_most_frequent_of_equivalent_code_pages_is_recorded(text, encoding):
    decoded = decode(text.encode(encoding) * 3)
    assert decoded.encoding == encoding
    assert decode(text.encode(encoding) * 3).encoding == decoded.encoding


def test_sample_that_ends_inside_a_character_does_no_harm():
    for text, encoding in ((CHINESE, "gb18030"), (JAPANESE, "cp932"), (KOREAN, "cp949")):
        for shift in ("", "x"):
            raw = (shift + (text + "\n") * 2200).encode(encoding)
            assert len(raw) > 256 * 1024
            assert decode(raw).utf8.decode() == raw.decode(encoding)


def test_bytes_that_fit_no_code_page_are_refused_not_guessed():
    raw = bytes(random.Random(7).choices(range(0x80, 0x100), k=3000))
    assert _reason(raw) in {"encoding-unknown", "binary"}


@pytest.mark.parametrize("mark", [mark for _, mark in MARKS])
def test_byte_order_mark_alone_is_an_empty_text(mark):
    assert decode(mark).utf8 == b""


@pytest.mark.parametrize("encoding", ["iso2022_jp", "hz", "utf-7"])
def test_spans_of_a_stateful_encoding_never_count_as_exact(encoding):
    assert not decode(b"as many letters as bytes", encoding).is_exact


@pytest.mark.parametrize(
    "raw",
    [
        b"<!DOCTYPE html>\n<title>Ferry</title><p>It left on time.",
        b"  \r\n<html lang=en><body>It left on time.</body></html>",
        b"\xef\xbb\xbf<!-- saved --><!doctype HTML PUBLIC ''><p>It left.",
        b'<?xml version="1.0"?>\n<html xmlns="x"><body>It left.</body></html>',
    ],
)
def test_page_is_recognised_by_its_beginning(raw):
    assert is_html(raw)


@pytest.mark.parametrize("raw", [b"The <html> tag opens a page.", b"<!-- a note -->\nText.", b""])
def test_text_about_html_is_text(raw):
    assert not is_html(raw)
