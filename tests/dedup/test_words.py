import numpy as np
import pytest
from hypothesis import assume, given

from palimpsest.dedup.words import (
    CHARACTER,
    CONTENT,
    FUNCTION,
    HEADER,
    HEADER_HASH,
    NUMBER,
    find_numbers,
    find_sentences,
    find_words,
    hash_words,
    stem_words,
)
from tests import oracles
from tests.strategies import max_examples, mixed_texts, pack_texts, words_of

_KINDS = {"content": CONTENT, "function": FUNCTION, "character": CHARACTER, "number": NUMBER}
_quick = max_examples(300)


def spellings(text):
    words = words_of([text])
    encoded = text.encode()
    return [encoded[s:e].decode() for s, e in zip(words.starts, words.ends, strict=True)]


def kinds(text):
    return words_of([text]).kinds.tolist()


@_quick
@given(mixed_texts)
def test_words_are_the_oracles(text):
    words = words_of([text])
    expected = oracles.find_words(text)
    first, stop = (len(text[:at].encode()) for at in oracles.find_body(text))
    kinds = [_KINDS[w.kind] if first <= w.start < stop else HEADER for w in expected]
    found = list(zip(words.starts, words.ends, words.kinds, strict=True))
    assert found == [(w.start, w.end, k) for w, k in zip(expected, kinds, strict=True)]
    assert np.array_equal(words.hashes == HEADER_HASH, words.kinds == HEADER)


@_quick
@given(mixed_texts, mixed_texts)
def test_hashes_are_equal_where_folded_forms_are_and_nowhere_else(left, right):
    expected = oracles.find_words(left) + oracles.find_words(right)
    words = words_of([left, right])
    assume(HEADER not in words.kinds)
    hashes = words.hashes.tolist()
    for folded, hashed in zip([w.folded for w in expected], hashes, strict=True):
        equal = [w.folded == folded for w in expected]
        assert [other == hashed for other in hashes] == equal


@_quick
@given(mixed_texts)
def test_words_ascend_within_the_text_and_hold_a_letter_or_digit(text):
    words = words_of([text])
    assert np.all(words.starts < words.ends)
    assert np.all(words.ends[:-1] <= words.starts[1:])
    assert not len(words.ends) or (words.starts[0] >= 0 and words.ends[-1] <= len(text.encode()))
    assert all(any(c.isalnum() for c in spelling) for spelling in spellings(text))
    assert np.all(words.hashes > (0 if HEADER in words.kinds else 1))


@_quick
@given(mixed_texts, mixed_texts, mixed_texts)
def test_words_of_a_text_do_not_depend_on_its_neighbours(before, text, behind):
    alone = words_of([text])
    among = words_of([before, text, behind])
    mine = slice(among.offsets[1], among.offsets[2])
    for name in ("hashes", "starts", "ends", "kinds"):
        assert getattr(among, name)[mine].tolist() == getattr(alone, name).tolist()


def test_texts_may_be_read_from_the_middle_of_a_buffer():
    packed = pack_texts(["one don", "'t stop"])
    words = find_words(packed.buffer, packed.starts[1:], packed.ends[1:])
    assert words.offsets.tolist() == [0, 2]
    assert words.starts.tolist() == [1, 3]


def test_no_texts_and_empty_texts_have_no_words():
    assert words_of([]).offsets.tolist() == [0]
    assert words_of(["", " ", "…!"]).offsets.tolist() == [0, 0, 0, 0]


def test_array_of_words_grows_for_texts_of_single_letters():
    words = words_of(["a b " * 1000, "c " * 5000])
    assert np.diff(words.offsets).tolist() == [2000, 5000]
    assert len(set(words.hashes.tolist())) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't and l’État", ["don't", "and", "l’État"]),
        ("'quoted' ’words’ rock'", ["quoted", "words", "rock"]),
        ("it''s", ["it", "s"]),
        ("O'Neill's", ["O'Neill's"]),
        ("well-known, up/down", ["well", "known", "up", "down"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("مُحَمَّد هنا", ["مُحَمَّد", "هنا"]),
        ("שָׁלוֹם לך", ["שָׁלוֹם", "לך"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("क\u200d्ष x\u200d y", ["क\u200d्ष", "x", "y"]),
        ("東京へ行く", ["東京", "へ", "行く"]),
        ("サーバー", ["サーバー"]),
        ("東京2020年", ["東京", "2020", "年"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("แม่น้ำสายใหญ่", ["แม่น้ำ", "สาย", "ใหญ่"]),
        ("我们的河流很长", ["我们", "的", "河流", "很", "长"]),
        ("ខ្ញុំស្រលាញ់ទន្លេ", ["ខ្ញុំ", "ស្រលាញ់", "ទន្លេ"]),
        ("ແມ່ນ້ຳໃຫຍ່", ["ແມ່", "ນ້ຳ", "ໃຫຍ່"]),
        ("မြစ်ကြီး", ["မြစ်", "ကြီး"]),
        ("ꆈꌠ", ["ꆈ", "ꌠ"]),
        ("dòng sông chảy", ["dòng", "sông", "chảy"]),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", ["Ｆｕｌｌ", "ｗｉｄｔｈ"]),
        ("대한민국 만세", ["대한민국", "만세"]),
        ("Қазақ елінің ғылымы", ["Қазақ", "елінің", "ғылымы"]),
        ("see https://a.b/c?d now", ["see", "https://a.b/c?d", "now"]),
        ("note: ftp://x", ["note", "ftp://x"]),
        ("a:b http:/x", ["a", "b", "http", "x"]),
    ],
)
def test_words_begin_and_end_where_readers_see_it(text, expected):
    assert spellings(text) == expected


@pytest.mark.parametrize(
    "same",
    [
        ["Straße", "STRASSE", "strasse", "STRAẞE"],
        ["ﬁnal", "FINAL", "final"],
        ["İstanbul", "i\u0307stanbul"],
        ["ΣΊΣΥΦΟΣ", "σίσυφος", "σίσυφοσ"],
        ["don't", "don’t", "DON'T"],
        ["Ｆｕｌｌ", "full"],
        ["ЖЁЛТЫЙ", "жёлтый"],
        ["ӘЛЕМ", "әлем"],
        ["می\u200cخواهم", "میخواهم"],
        ["co\u00adoperate", "cooperate"],
        ["５", "5"],
    ],
)
def test_spellings_of_one_word_have_one_hash(same):
    assert len(set(hash_words(same).tolist())) == 1


@pytest.mark.parametrize(
    "different", [["İ", "i"], ["ı", "i"], ["ё", "е"], ["é", "e"], ["can't", "cant"]]
)
def test_different_words_have_different_hashes(different):
    assert len(set(hash_words(different).tolist())) == len(different)


def test_words_have_the_right_kinds():
    assert kinds("The river und 3rd 1914 橋 don’t") == [
        FUNCTION,
        CONTENT,
        FUNCTION,
        NUMBER,
        NUMBER,
        CHARACTER,
        FUNCTION,
    ]


def test_part_of_a_word_has_a_kind_of_its_own():
    assert kinds("東京の橋") == [CONTENT, FUNCTION, CHARACTER]
    assert kinds("dòng sông và những cây cầu mới") == [
        *[CHARACTER, CHARACTER, FUNCTION, FUNCTION],
        *[CHARACTER, CHARACTER, CHARACTER],
    ]
    assert set(
        kinds("the river Hậu and the river Tiền in the south of the country, near the sea")
    ) == {
        CONTENT,
        FUNCTION,
    }
    assert kinds("བོད་ཡིག") == [CHARACTER, CHARACTER]


def test_long_words_of_a_syllabic_text_are_whole_words():
    assert kinds("cây cầu mới ở Frankfurt") == [CHARACTER, CHARACTER, CHARACTER, FUNCTION, CONTENT]


@pytest.mark.parametrize("number", ["1914", "１９１４", "١٩١٤", "१९१४", "๑๙๑๔", "۱۹۱۴"])
def test_digits_of_any_script_make_a_number(number):
    assert kinds(number) == [NUMBER]


def test_numbers_end_where_readers_see_it():
    text = "In 2009, 1,000 boats; 2.5 or 12/10 for 1.000.000 and 3, 4"
    packed = pack_texts([text])
    words = find_words(*packed)
    numbers = find_numbers(words, packed.buffer, packed.starts)
    found = np.array(spellings(text))[numbers.is_number].tolist()
    assert found == ["2009", "000", "5", "12", "10", "000", "3", "4"]
    hashes = numbers.hashes[numbers.is_number]
    assert len(set(hashes[[1, 5]].tolist())) == 2
    assert hashes[0] == hash_words(["2009"])[0]


@pytest.mark.parametrize("words", [["two words"], ["!"], ["a", ""]])
def test_hash_words_rejects_entries_of_several_words(words):
    with pytest.raises(ValueError, match="single word"):
        hash_words(words)


def stems(text, letters):
    """Return the hashes of words by their first letters."""
    packed = pack_texts([text])
    words = find_words(*packed)
    return stem_words(words, packed.buffer, packed.starts, letters).hashes.tolist()


@pytest.mark.parametrize(
    ("same", "different"),
    [
        ("translated TRANSLATION", "traffic"),
        ("Straßenbahn straßenrand", "Strauch"),
        ("переводчик переводной", "переезд"),
        ("co\u00adoperate COOPERATION", "coordinate"),
    ],
)
def test_stems_are_equal_where_first_letters_are(same, different):
    assert len(set(stems(same, 5))) == 1
    assert len(set(stems(f"{same} {different}", 5))) == 2


@pytest.mark.parametrize(
    ("text", "is_cut"),
    [
        ("https://a.b/c https://a.b/d", [False, False]),
        ("1914188 1914187", [False, False]),
        ("because becoming", [False, True]),
        ("コンピューター 東京", [False, False]),
    ],
)
def test_only_content_words_of_letters_are_cut(text, is_cut):
    words = words_of([text])
    pairs = zip(stems(text, 4), words.hashes, strict=True)
    assert [one != other for one, other in pairs] == is_cut


@_quick
@given(mixed_texts)
def test_stems_of_all_letters_are_the_words(text):
    assert stems(text, 10_000) == words_of([text]).hashes.tolist()


@pytest.mark.parametrize(
    ("text", "firsts"),
    [
        ("One stop. Two, three! Four? Five", ["One", "Two", "Four", "Five"]),
        ('He said "stop." Then (it ended.) So', ["He", "Then", "So"]),
        ("at 3.5 per cent, a.b and so on … end", ["at", "end"]),
        ("東京。大阪、京都", ["東京", "大阪"]),
        ("यह है। वह था", ["यह", "वह"]),
        ("no end", ["no"]),
    ],
)
def test_sentences_begin_behind_an_end_and_a_blank(text, firsts):
    packed = pack_texts([text, text])
    words = find_words(*packed)
    is_first = find_sentences(words, packed.buffer, packed.starts)
    assert len(is_first) == len(words.hashes)
    for number in range(2):
        mine = slice(*words.offsets[number : number + 2])
        names = np.array(spellings(text))[is_first[mine]]
        assert names.tolist() == firsts


def test_no_texts_have_no_sentences():
    packed = pack_texts(["", ""])
    words = find_words(*packed)
    assert find_sentences(words, packed.buffer, packed.starts).tolist() == []
