from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palimpsest.ingest.batch import Batch, read_batch
from palimpsest.ingest.finding.discover import discover
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.ingest.text.decode import decode_span
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.records.schemas import REJECT_REASONS
from palimpsest.records.settings import ReadSettings
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

FERRY = (
    "The ferry to the island left an hour late on Monday because the harbour master had mislaid the "
    "key to the swing bridge, and forty passengers waited in the rain."
)
KEY = (
    "The port office keeps a second key, but it hangs in the house of the man who has the first one, "
    "and he was at sea."
)
CROWNS = (
    "The company will pay each passenger two crowns and a warm drink, and has promised to keep the "
    "next key near the bridge itself."
)
GERMAN = [
    (
        "Die Fähre zur Insel fuhr am Montag eine Stunde zu spät, weil der Hafenmeister den Schlüssel "
        "zur Drehbrücke verlegt hatte und vierzig Gäste im Regen warteten."
    ),
    "Das Büro hat einen zweiten Schlüssel, aber er hängt im Haus des Mannes, der den ersten hat.",
]

PACKED: dict[str, tuple[list[str], list[tuple[str, str]]]] = {
    # pages
    "page-entities-and-inline-tags.html": (
        [
            FERRY,
            (
                "“We have a second key,” said Mrs Öztürk of Smith & Sons, “but it hangs in the house "
                "of the man who has the first one.”"
            ),
            CROWNS,
        ],
        [],
    ),
    "page-cp1251-by-its-own-word.html": (
        [
            (
                "Паром на остров вышел в понедельник на час позже, потому что начальник порта "
                "потерял ключ от разводного моста, и сорок пассажиров ждали под дождём."
            ),
            (
                "Контора порта хранит второй ключ, но он висит в доме того, у кого первый, а тот "
                "был в море."
            ),
        ],
        [],
    ),
    "page-shift-jis-by-its-own-word.html": (
        [
            "月曜日、島へのフェリーは一時間遅れて出発した。港長が可動橋の鍵をなくし、四十人の乗客が雨の中で待っていたためである。",
            "港の事務所には予備の鍵があるが、それは最初の鍵を持つ男の家に掛けてあり、男は海に出ていた。",
        ],
        [],
    ),
    "page-latin1-that-says-utf8.html": (GERMAN, []),
    "page-utf8-that-says-latin1.html": (GERMAN, []),
    "page-utf16-with-mark.html": ([FERRY, KEY], []),
    "page-of-links-only.html": (["Item Item Item"], []),
    "page-empty-body.html": ([], [("", "no-article")]),
    "page-unclosed-tags.html": ([FERRY, KEY, CROWNS], []),
    "page-5000-deep.html": ([], [("", "no-article")]),
    "page-parted-by-line-breaks.html": ([FERRY, KEY, CROWNS], []),
    "page-tags-in-comment-and-script.html": ([FERRY, KEY], []),
    "page-greater-than-in-attribute.html": ([FERRY, KEY], []),
    "page-cut-off-in-a-tag.html": (
        [FERRY, KEY, "The company will pay each passenger two crowns and a warm drink, and has"],
        [],
    ),
    "page-nul-and-controls.html": ([FERRY, KEY], []),
    "page-50000-entities.html": ([FERRY, KEY, CROWNS, *["&" * 2000] * 25], []),
    # web archives
    "warc-whole.warc.gz": ([FERRY, KEY, CROWNS], []),
    "warc-damaged-record-in-the-middle.warc.gz": ([FERRY, CROWNS], [("offset=487", "damaged")]),
    "warc-cut-off.warc.gz": ([FERRY], [("offset=487", "damaged")]),
    "warc-as-one-gzip.warc.gz": ([FERRY, KEY, CROWNS], []),
    "warc-wrong-digest.warc": ([KEY], [("offset=0", "digest-mismatch")]),
    "warc-length-too-long.warc": ([KEY], [("offset=0", "damaged")]),
    "warc-garbage-between.warc": ([FERRY, KEY], [("offset=745", "damaged")]),
    "warc-header-without-length.warc": ([KEY], [("offset=0", "damaged")]),
    "warc-revisits.warc.gz": ([FERRY], [("offset=786", "revisit-unresolved")]),
    "warc-chunked-and-compressed-body.warc": ([FERRY], []),
    "warc-errors-and-images.warc": (
        [CROWNS],
        [
            ("offset=0", "not-an-article"),
            ("offset=315", "not-an-article"),
            ("offset=608", "not-an-article"),
        ],
    ),
    "warc-plain-text-conversion.warc": ([FERRY, KEY, CROWNS], []),
    # ZIP and tar
    "zip-name-leads-out.zip": (
        [CROWNS],
        [
            ("member=../../etc/passwd", "unsafe-name"),
            ("member=/absolute.txt", "unsafe-name"),
            ("member=C:%5Cwindows.txt", "unsafe-name"),
        ],
    ),
    "zip-same-name-twice.zip": ([FERRY, KEY], []),
    "zip-with-a-password.zip": ([], [("member=secret.txt", "encrypted")]),
    "zip-cut-off.zip": ([], [("", "damaged")]),
    "zip-damaged-member.zip": ([KEY], [("member=a.txt", "damaged")]),
    "zip-bomb-of-zeros.zip": ([FERRY], [("member=zeros.txt", "bomb")]),
    "zip-in-zip-six-deep.zip": (
        [],
        [("member=4.zip&member=3.zip&member=2.zip&member=1.zip", "nested-too-deep")],
    ),
    "zip-that-is-a-docx.docx": ([], [("", "unsupported-format")]),
    "zip-holding-pictures.zip": ([FERRY], [("member=a.png", "unsupported-format")]),
    "tar-with-a-link.tar": ([FERRY], [("member=link.txt", "not-a-file")]),
    "tar-cut-off.tar": ([FERRY], [("", "damaged")]),
    "tar-name-leads-out.tar.gz": ([KEY], [("member=../a.txt", "unsafe-name")]),
    # JSON Lines
    "lines-some-broken.jsonl": (
        [FERRY, KEY],
        [
            ("offset=195", "not-json"),
            ("offset=213", "not-json"),
            ("offset=227", "no-text-field"),
            ("offset=248", "no-text-field"),
            ("offset=388", "not-json"),
        ],
    ),
    "lines-with-escapes.jsonl": (
        ["Mrs Öztürk said:", '"The key 🔑 is \ufffd lost/gone." Yes.'],
        [],
    ),
    "lines-behind-a-mark.jsonl": ([FERRY, KEY], []),
    "lines-same-field-twice.jsonl": (["The last value counts, as for everyone."], []),
    # compressed
    "gzip-cut-off.txt.gz": ([], [("", "damaged")]),
    "gzip-bomb-of-zeros.txt.gz": ([], [("", "bomb")]),
    "gzip-in-two-pieces.txt.gz": ([FERRY, KEY], []),
    "xz-with-something-behind.txt.xz": ([], [("", "damaged")]),
}
"""By file the paragraphs that are in it, and what is refused: where in the file, and why."""


@pytest.fixture(scope="module")
def extractors() -> Iterator[Extractors]:
    with Extractors(1, 30.0) as pool:
        yield pool


def _read(name: str, extractors: Extractors | None = None) -> Batch:
    return read_batch(discover([str(SPECIMENS / name)]).files, ReadSettings(), extractors)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_unreadable_specimen_is_refused_with_its_reason(name, reason):
    batch = _read(name)
    assert batch.rejects["reason"].to_pylist() == [reason]
    assert batch.documents.num_rows == 0


@pytest.mark.parametrize(("name", "paragraphs"), READ.items())
def test_readable_specimen_gives_its_paragraphs_and_their_spans(name, paragraphs):
    batch = _read(name)
    assert batch.rejects.num_rows == 0
    assert texts_of(batch) == paragraphs
    raw = (SPECIMENS / name).read_bytes()
    encoding = batch.documents["encoding"][0].as_py()
    cuts = [raw[row["start_byte"] : row["end_byte"]] for row in batch.occurrences.to_pylist()]
    assert [normalise_text(decode_span(cut, encoding)) for cut in cuts] == paragraphs


@pytest.mark.parametrize(("name", "paragraphs", "refused"), [(k, *v) for k, v in PACKED.items()])
def test_page_or_container_gives_its_paragraphs_and_its_rejects(
    name, paragraphs, refused, extractors
):
    batch = _read(name, extractors)
    assert texts_of(batch) == paragraphs
    rejects = batch.rejects.to_pylist()
    assert [(row["uri"].partition("#")[2], row["reason"]) for row in rejects] == refused
    assert all(row["reason"] in REJECT_REASONS for row in rejects)
    assert sum(batch.documents["unanchored"].to_pylist()) == 0


def test_every_specimen_has_an_expectation():
    names = {path.name for path in SPECIMENS.iterdir() if path.suffix not in {".py", ""}}
    assert names == {*REFUSED, *READ, *PACKED}


def test_specimens_give_the_same_in_one_batch_as_one_by_one(extractors):
    found = discover([str(SPECIMENS / name) for name in (*REFUSED, *READ, *PACKED)]).files
    batch = read_batch(found, ReadSettings(), extractors)
    refused = len(REFUSED) + sum(len(rejects) for _, rejects in PACKED.values())
    assert batch.rejects.num_rows == refused
    expected = [t for texts in READ.values() for t in texts] + [
        t for texts, _ in PACKED.values() for t in texts
    ]
    assert set(texts_of(batch)) == set(expected)
