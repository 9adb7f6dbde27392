"""The same text in composed and in decomposed letters is the same text, in every script."""

from __future__ import annotations

import unicodedata

import pytest

from palimpsest.ingest.text.normalise import normalise_text
from tests.ingest.paragraphs import batch_of, texts_of

SCRIPTS = {
    "Cyrillic": "Й чайка над морем; ёлка у дома.",
    "Kazakh": "Өзен бойындағы йодтың иісі.",
    "Arabic": "آمن أهل القرية بما رآه إبراهيم، وسؤال المؤذن.",
    "Persian": "می‌خواهم آب بیاورم و به خانۀ مادر بروم.",
    "Hebrew": "שָׁלוֹם לכל בּאי הנמל.",
    "Devanagari": "क़लम और ज़मीन, बड़ा पेड़।",
    "Thai": "น้ำท่วมที่ท่าเรือเก่า",
    "Chinese": "港口的鑰匙不見了。",
    "Japanese": "ガラスのドアがバタンと閉まった。",
    "Korean": "어부들은 새벽에 항구로 돌아왔다.",
    "Latin": "Ångström rösti naïve São Vietnamese Việt.",
    "Greek": "Ἡ θάλασσα ᾤκει πρὸς ἀνατολάς.",
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_composed_and_decomposed_are_one_text_with_spans_of_their_own(script, encoding, tmp_path):
    composed, decomposed = (
        "\n\n".join(["First.", unicodedata.normalize(form, SCRIPTS[script]), "Last."])
        for form in ("NFC", "NFD")
    )
    files = {"a.txt": composed.encode(encoding), "b.txt": decomposed.encode(encoding)}
    batch = batch_of(tmp_path, files)
    texts = texts_of(batch)
    assert texts[:3] == texts[-3:]  # where the forms are the same bytes, there is one document
    assert texts[1] == normalise_text(SCRIPTS[script])
    ids = batch.occurrences["text_id"].to_pylist()
    assert ids[:3] == ids[-3:]
    plain = {"utf-8": "utf-8", "utf-16": "utf-16-le"}[encoding]
    raws = ([files["a.txt"]] * 3 + [files["b.txt"]] * 3)[: len(texts)]
    for row, raw, text in zip(batch.occurrences.to_pylist(), raws, texts, strict=True):
        assert normalise_text(raw[row["start_byte"] : row["end_byte"]].decode(plain)) == text


@pytest.mark.parametrize("script", SCRIPTS)
def test_composed_and_decomposed_pages_are_one_text(script, tmp_path):
    filler = "The ferry to the island left an hour late on Monday, and forty passengers waited in the rain."
    pages = {
        f"{form}.html": (
            "<html><head><title>x</title></head><body><article>"
            f"<p>{filler}</p><p>{unicodedata.normalize(form, SCRIPTS[script])}</p><p>{filler} Again.</p>"
            "</article></body></html>"
        ).encode()
        for form in ("NFC", "NFD")
    }
    batch = batch_of(tmp_path, pages)
    texts = texts_of(batch)
    assert texts[:3] == texts[-3:]
    assert normalise_text(SCRIPTS[script]) in texts
    assert sum(batch.documents["unanchored"].to_pylist()) == 0
