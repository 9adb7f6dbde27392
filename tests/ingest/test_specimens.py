from __future__ import annotations

from pathlib import Path

import pytest

from ingest.batch import Batch, read_batch
from ingest.decode import decode_span
from ingest.discover import discover
from ingest.normalise import normalise_text
from records.settings import ReadSettings
from tests.ingest.paragraphs import texts_of

SPECIMENS = Path(__file__).parents[1] / "specimens"

REFUSED = {
    "empty.txt": "empty",
    "only-blanks.txt": "no-text",
    "only-a-byte-order-mark.txt": "no-text",
    "binary.bin": "binary",
    "pdf-named-txt.txt": "unsupported-format",
}
READ = {
    "truncated-utf8.txt": ["The mill was sold.", "Its owner left for Orléans with his s\ufffd"],
    "utf16le-bom-before-ascii.txt": ["The mark is wrong.", "The words are plain."],
    "utf8-bom-before-cp1252.txt": [
        (
            "Die Gemeinde hat beschlossen, die Brücke über den Fluß zu erneuern. Die Kosten trägt zur "
            "Hälfte der Kreis, zur Hälfte müssen die Bürger sie aufbringen."
        ),
        (
            "Die Arbeiten sollen im Frühjahr beginnen und über den Sommer andauern, wie der "
            "Bürgermeister erklärte."
        ),
    ],
    "utf16be-without-bom.txt": ["Wide words.", "No mark before them."],
    "nul-in-the-middle.txt": ["The telegram broke off here and went on.", "Nothing else was lost."],
    "cr-only.txt": ["From an old Macintosh.", "Its lines end in one character."],
    "mixed-line-ends.txt": ["One.", "Two.", "Three.", "Four.", "Five.", "Six."],
    "nbsp-only-lines.txt": ["Pasted from a page.", "The empty line is not empty."],
    "decomposed-letters.txt": ["Résumé of the schönste days.", "Ångström."],
    "soft-hyphens-and-zero-width.txt": ["The settlement of the claim."],
    "mojibake-kept-as-it-is.txt": ["The cafÃ© was already broken when it came."],
    "few-broken-sequences.txt": [
        "Zwölf Brüder übten fröhlich Flöte, während Jürgen gähnte.",
        "Müde \ufffdrgerte sich Günther.",
    ],
    "cesu8-surrogates.txt": [
        (
            "Zwölf Brüder übten fröhlich Flöte, während Jürgen müde gähnte und Käthe nähte; "
            "Öl für Löwen, Möwen, Bären: "
        )
        * 4
        + "\ufffd" * 6
        + " end."
    ],
    "wrapped-at-40-with-hyphenated-name.txt": [
        (
            "The road from Stoke to the Newcastle- under-Lyme boundary has been closed by order of "
            "the council until the bridge is safe."
        ),
        (
            "Carts must go by the canal, where a toll of twopence is asked of every driver and no "
            "change is given."
        ),
    ],
    "no-newline-at-end.txt": ["One line without an end."],
    "form-feeds-between-pages.txt": ["Page one ends here.", "Page two begins here."],
}


def _read(name: str) -> Batch:
    return read_batch(discover([str(SPECIMENS / name)]).files, ReadSettings())


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_specimen_that_cannot_be_read_is_refused_with_its_reason(name, reason):
    batch = _read(name)
    assert batch.rejects["reason"].to_pylist() == [reason]
    assert batch.documents.num_rows == 0


@pytest.mark.parametrize(("name", "paragraphs"), READ.items())
def test_a_specimen_that_can_be_read_gives_its_paragraphs_and_their_spans(name, paragraphs):
    batch = _read(name)
    assert batch.rejects.num_rows == 0
    assert texts_of(batch) == paragraphs
    raw = (SPECIMENS / name).read_bytes()
    encoding = batch.documents["encoding"][0].as_py()
    cuts = [raw[row["start_byte"] : row["end_byte"]] for row in batch.occurrences.to_pylist()]
    assert [normalise_text(decode_span(cut, encoding)) for cut in cuts] == paragraphs


def test_every_specimen_has_an_expectation_and_all_are_read_in_one_batch():
    names = {path.name for path in SPECIMENS.iterdir() if path.suffix in {".txt", ".bin"}}
    assert names == {*REFUSED, *READ}
    found = discover([str(SPECIMENS / name) for name in names]).files
    batch = read_batch(found, ReadSettings())
    assert batch.rejects.num_rows == len(REFUSED)
    assert batch.documents.num_rows == len(READ)
    assert texts_of(batch) == [text for name in sorted(READ) for text in READ[name]]
