"""A catalogue answers what the tables do, and its overview is what plain loops over rows give."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from palimpsest.evidence.explain import explain_named
from palimpsest.evidence.lookup import DocumentRows, Lookup, TableLookup
from palimpsest.evidence.passages import align_documents
from palimpsest.inspector.catalogue import Catalogue, CatalogueError, build_catalogue, read
from palimpsest.inspector.catalogue import build as building
from palimpsest.inspector.catalogue.overview import _folders
from palimpsest.inspector.catalogue.read import DocumentQuery
from palimpsest.records.errors import ContractError
from palimpsest.records.settings import MIN_EXACT_WORDS, RECURRING_DOCUMENTS
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.find import DOCUMENT, TEXT, NameMatch
from tests.inspector.sample_archives import NOON, catalogue_of, files_dated, make_random
from tests.pipeline.corpora import (
    ingest,
    make_paragraph,
    make_variants,
    make_words,
    write_articles,
)

Row = dict[str, Any]


@pytest.fixture(scope="module", params=["examples", "mixed", 1])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TableLookup, Catalogue]:
    """The tables of an archive, and a catalogue of it."""
    if isinstance(request.param, str):
        catalogue = request.getfixturevalue(f"{request.param}_catalogue")
    else:
        folder = tmp_path_factory.mktemp("random")
        catalogue = catalogue_of(make_random(folder, request.param), folder)
    return TableLookup(catalogue.snapshot), catalogue


def ids_of(snapshot: Snapshot) -> list[str]:
    return sorted(snapshot.read("documents", ["document_id"]).column(0).to_pylist())


def texts_of(snapshot: Snapshot) -> dict[str, Row]:
    """Return text_id, paragraph_id, text and words of all texts by id."""
    paragraphs = snapshot.read("paragraphs").to_pylist()
    kept = [*snapshot.read("variants").to_pylist(), *paragraphs]
    return {row.get("text_id", row["paragraph_id"]): row for row in kept}


def comparable(loaded: DocumentRows) -> list[Any]:
    """Return rows in a form that can be compared: texts may be in any order."""
    texts = sorted(loaded.texts.to_pylist(), key=lambda row: row["text_id"])
    return [
        loaded.facts.to_pylist(),
        loaded.places.to_pylist(),
        texts,
        sorted(tuple(row.values()) for row in loaded.recurring.to_pylist()),
    ]


def all_passages(lookup: Lookup, pairs: pa.Table) -> list[Row]:
    return [row for part in align_documents(lookup, pairs) for row in part.to_pylist()]


def pairs_of(ids: Sequence[str]) -> pa.Table:
    found = list(combinations(ids, 2))
    return pa.table({"one": [one for one, _ in found], "other": [other for _, other in found]})


def test_documents_equal_those_of_the_tables(both: tuple[TableLookup, Catalogue]) -> None:
    tables, catalogue = both
    ids = ids_of(catalogue.snapshot)
    least = tables.settings().passages.recurring_documents
    for chosen in (ids, ids[::2], ids[:1], []):
        wanted = pa.array(chosen[::-1], pa.string())
        expected = comparable(tables.documents(wanted, least))
        assert comparable(catalogue.documents(wanted, least)) == expected
    with pytest.raises(ContractError, match="recurring_documents = 3"):
        catalogue.documents(pa.array(ids), 3)
    assert tables.settings() == catalogue.settings()


def test_more_documents_than_fit_in_a_query_are_loaded(
    mixed_catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_VALUES_AT_ONCE", 2)
    ids = pa.array(ids_of(mixed_catalogue.snapshot))
    expected = comparable(TableLookup(mixed_catalogue.snapshot).documents(ids, 10))
    assert comparable(mixed_catalogue.documents(ids, 10)) == expected


def test_recurring_stretches_are_those_of_the_tables(tmp_path: Path) -> None:
    notice = " ".join(make_words(1, 30))
    articles = {
        f"{n}.txt": [f"{' '.join(make_words(9 + n, 40))} Ünd {notice}", make_paragraph(70 + n)]
        for n in range(RECURRING_DOCUMENTS)
    }
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "archive")
    catalogue = catalogue_of(tmp_path / "archive", tmp_path)
    ids = pa.array(ids_of(catalogue.snapshot))
    found = catalogue.documents(ids, RECURRING_DOCUMENTS)
    assert comparable(found) == comparable(
        TableLookup(catalogue.snapshot).documents(ids, RECURRING_DOCUMENTS)
    )
    texts = {row["text_id"]: row["text"] for row in found.texts.to_pylist()}
    spans = [
        texts[row["text_id"]][row["start_char"] : row["end_char"]]
        for row in found.recurring.to_pylist()
    ]
    assert spans == [f"Ünd {notice}"] * RECURRING_DOCUMENTS


def test_passages_are_those_of_the_tables(both: tuple[TableLookup, Catalogue]) -> None:
    tables, catalogue = both
    pairs = pairs_of(ids_of(catalogue.snapshot))
    expected = all_passages(tables, pairs)
    assert all_passages(catalogue, pairs) == expected
    assert expected


def test_texts_and_overlaps_equal_those_of_the_tables(both: tuple[TableLookup, Catalogue]) -> None:
    tables, catalogue = both
    rows = catalogue.snapshot.read("overlaps", ["left_text_id", "right_text_id"]).to_pylist()
    [one, other, *_] = sorted(texts_of(catalogue.snapshot))
    left, right = rows[0].values()
    pairs = [(left, right), (right, left), (left, left), (one, other)]
    for one, other in pairs:
        assert catalogue.has_overlap(one, other) == tables.has_overlap(one, other)
        facts = [
            sorted(lookup.text_facts(one, other).to_pylist(), key=lambda row: row["text_id"])
            for lookup in both
        ]
        assert facts[0] == facts[1]
        assert len(facts[0]) == len({one, other})
    assert not catalogue.has_overlap("0" * 32, one)


def test_pairs_of_texts_are_those_of_the_tables(both: tuple[TableLookup, Catalogue]) -> None:
    tables, catalogue = both
    [pair, *_] = catalogue.overview()["pairs"]
    overlap = catalogue.snapshot.read("overlaps").to_pylist()[0]
    one, other = (NameMatch(DOCUMENT, pair[side]["document_id"]) for side in ("left", "right"))
    text, nothing = NameMatch(TEXT, overlap["left_text_id"]), NameMatch(TEXT, "0" * 32)
    asked = [(one, other), (other, one), (text, None), (one, one), (nothing, one)]
    found = [catalogue.text_pairs(*sides) for sides in asked]
    assert found == [tables.text_pairs(*sides) for sides in asked]
    assert [bool(pairs) for pairs in found] == [True, True, True, True, False]


def test_explanations_are_those_of_the_tables(both: tuple[TableLookup, Catalogue]) -> None:
    tables, catalogue = both
    overlaps = catalogue.snapshot.read("overlaps", ["left_text_id", "right_text_id"]).to_pylist()
    asked = [[NameMatch(TEXT, one) for one in row.values()] for row in overlaps[:1]]
    [pair, *_] = catalogue.overview()["pairs"]
    asked.append([NameMatch(DOCUMENT, pair[side]["document_id"]) for side in ("left", "right")])
    asked.append([NameMatch(TEXT, overlaps[0]["left_text_id"])])
    for named in asked:
        assert explain_named(catalogue, named) == explain_named(tables, named)


# Plain loops over rows, from here on the oracle of what the catalogue counts.


class Oracle:
    """What the rows of an archive come to, found by loops."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.texts = texts_of(snapshot)
        self.documents = {row["document_id"]: row for row in snapshot.read("documents").to_pylist()}
        self.uris: dict[str, str] = {}
        for row in snapshot.read("sources").to_pylist():
            uri = self.uris.get(row["document_id"], row["uri"])
            self.uris[row["document_id"]] = min(uri, row["uri"])
        self.places = snapshot.read("occurrences").to_pylist()
        self.overlaps = snapshot.read("overlaps").to_pylist()
        self.standing: dict[str, set[str]] = defaultdict(set)
        for row in self.places:
            self.standing[row["text_id"]].add(row["document_id"])
        self.recurring = snapshot.settings().passages.recurring_documents

    def order(self) -> list[str]:
        """Return documents by date, undated last, then by URI."""
        return sorted(
            self.documents,
            key=lambda one: (
                self.documents[one]["published_at"] is None,
                self.documents[one]["published_at"] or NOON,
                self.uris[one],
            ),
        )

    def alike(self) -> dict[str, int]:
        """Return in how many documents each text stands, or shares a passage."""
        others: dict[str, set[str]] = {one: {one} for one in self.texts}
        for one, other in product(self.texts, self.texts):
            if self.texts[one]["paragraph_id"] == self.texts[other]["paragraph_id"]:
                others[one].add(other)
        for row in self.overlaps:
            others[row["left_text_id"]].add(row["right_text_id"])
            others[row["right_text_id"]].add(row["left_text_id"])
        return {
            one: len(set().union(*(self.standing[other] for other in mine)))
            for one, mine in others.items()
        }

    def pairs(self, crowd: int = 200) -> dict[tuple[str, str], list[int]]:
        """Return words shared by documents, the earlier first: in all, and in what does not recur."""
        rank = {one: at for at, one in enumerate(self.order())}
        alike = self.alike()
        shared: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

        def meet(one: Row, other: Row, words: int) -> None:
            documents = one["document_id"], other["document_id"]
            texts = one["text_id"], other["text_id"]
            if documents[0] != documents[1] and all(len(self.standing[t]) <= crowd for t in texts):
                first, last = sorted(documents, key=rank.__getitem__)
                shared[first, last][0] += words
                if all(alike[text] < self.recurring for text in texts):
                    shared[first, last][1] += words

        of: dict[str, list[Row]] = defaultdict(list)
        for row in self.places:
            of[row["text_id"]].append(row)
        for row in self.overlaps:
            for one, other in product(of[row["left_text_id"]], of[row["right_text_id"]]):
                meet(one, other, row["matched_words"])
        for one, other in combinations(self.places, 2):
            words = self.texts[one["text_id"]]["words"]
            if one["text_id"] == other["text_id"] and words >= MIN_EXACT_WORDS:
                meet(one, other, words)
        return dict(shared)

    def reused(self) -> dict[str, int]:
        """Return how many words of each document stand, or are aligned, elsewhere too."""
        shares: dict[str, float] = defaultdict(float)
        for row in self.overlaps:
            for side in ("left", "right"):
                one = row[f"{side}_text_id"]
                shares[one] = max(shares[one], row[f"{side}_share"])
        for one, standing in self.standing.items():
            if len(standing) > 1:
                shares[one] = 1.0
        words: dict[str, float] = defaultdict(float)
        for row in self.places:
            text = row["text_id"]
            words[row["document_id"]] += self.texts[text]["words"] * shares[text]
        return {one: min(round(words[one]), row["words"]) for one, row in self.documents.items()}

    def reach(self) -> dict[str, int]:
        """Return in how many documents each paragraph stands, as it is or as a variant."""
        found: dict[str, set[str]] = defaultdict(set)
        for text, standing in self.standing.items():
            found[self.texts[text]["paragraph_id"]] |= standing
        return {one: len(standing) for one, standing in found.items()}


@pytest.fixture(scope="module")
def oracle(both: tuple[TableLookup, Catalogue]) -> Oracle:
    return Oracle(both[1].snapshot)


def rows_of(catalogue: Catalogue) -> list[Row]:
    return catalogue.search(DocumentQuery(), 1000)[1]


def test_documents_are_sorted_and_have_their_reused_words(
    both: tuple[TableLookup, Catalogue], oracle: Oracle
) -> None:
    rows = rows_of(both[1])
    assert [row["document_id"] for row in rows] == oracle.order()
    reused = oracle.reused()
    for row in rows:
        facts = oracle.documents[row["document_id"]]
        assert row["uri"] == oracle.uris[row["document_id"]]
        assert abs(row["reused_words"] - reused[row["document_id"]]) <= 1  # rounding of halves
        for name in ("title", "author", "site", "series", "language", "paragraphs", "words"):
            assert row[name] == facts[name]
        date = facts["published_at"]
        assert row["published_at"] == (date and f"{date:%Y-%m-%dT%H:%M:%SZ}")


def test_pairs_of_documents_are_those_of_the_oracle(
    both: tuple[TableLookup, Catalogue], oracle: Oracle
) -> None:
    catalogue, expected = both[1], oracle.pairs()
    numbers = {row["document_id"]: row for row in rows_of(catalogue)}
    found = {}
    for one, row in numbers.items():
        partners = catalogue.partners_of(row["number"], 1000)
        assert row["partners"] == len(partners)
        shown = [(-other["own"], -other["matched"], other["number"]) for other in partners]
        assert shown == sorted(shown)
        for other in partners:
            forward = row["number"] < other["number"]
            key = (one, other["document_id"]) if forward else (other["document_id"], one)
            found.setdefault(key, []).append([other["matched"], other["own"]])
    assert found == {key: [words, words] for key, words in expected.items()}


def test_counts_are_those_of_the_rows(both: tuple[TableLookup, Catalogue], oracle: Oracle) -> None:
    snapshot, counts = both[1].snapshot, both[1].overview()["counts"]
    for name in ("sources", "documents", "occurrences", "paragraphs", "variants", "overlaps"):
        assert counts[name] == snapshot.rows(name)
    assert counts["rejects"] == snapshot.rows("rejects")
    assert counts["removals"] == snapshot.rows("removals")
    assert counts["pairs"] == len(oracle.pairs())
    assert counts["words"] == sum(row["words"] for row in oracle.documents.values())
    assert counts["bytes"] == sum(row["bytes"] for row in oracle.documents.values())
    assert counts["distinct_words"] == sum(row["words"] for row in oracle.texts.values())
    kept = [row for one, row in oracle.texts.items() if one == row["paragraph_id"]]
    assert counts["kept_words"] == sum(row["words"] for row in kept)


def test_paragraphs_of_most_documents_come_first(
    both: tuple[TableLookup, Catalogue], oracle: Oracle
) -> None:
    overview, reach = both[1].overview(), oracle.reach()
    for name, is_formula in (("reused", False), ("formulas", True)):
        least = RECURRING_DOCUMENTS if is_formula else 2
        expected = sorted(
            (-reach[one], -oracle.texts[one]["words"], one)
            for one in reach
            if reach[one] >= least
            and oracle.texts[one]["words"] in (range(2, 20) if is_formula else range(20, 10**9))
        )
        found = [(-one["documents"], -one["words"], one["text_id"]) for one in overview[name]]
        assert found == expected[:12]
        assert all(one["text"] == oracle.texts[one["text_id"]]["text"] for one in overview[name])


def test_cells_are_words_between_origins(
    both: tuple[TableLookup, Catalogue], oracle: Oracle
) -> None:
    overview = both[1].overview()
    shown = overview["origins"]["names"]
    origin = {
        row["document_id"]: row["origin"] if row["origin"] in shown else None
        for row in rows_of(both[1])
    }
    assert len(shown) > 1
    words: Counter[tuple[str, str]] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for (one, other), (_, own) in oracle.pairs().items():
        if own and origin[one] is not None and origin[other] is not None:
            words[origin[one], origin[other]] += own
            pairs[origin[one], origin[other]] += 1
    found = {(cell["earlier"], cell["later"]): cell for cell in overview["origins"]["cells"]}
    assert {key: cell["words"] for key, cell in found.items()} == dict(words)
    assert {key: cell["pairs"] for key, cell in found.items()} == dict(pairs)


def test_top_pairs_share_the_most_text_that_does_not_recur(
    both: tuple[TableLookup, Catalogue], oracle: Oracle
) -> None:
    expected = sorted((own for _, own in oracle.pairs().values() if own), reverse=True)[:12]
    found = both[1].overview()["pairs"]
    assert [pair["words"] for pair in found] == expected
    pairs = oracle.pairs()
    for pair in found:
        key = pair["left"]["document_id"], pair["right"]["document_id"]
        assert pairs[key][1] == pair["words"]


def test_texts_are_alike_in_as_many_documents_as_the_oracle_finds(
    both: tuple[TableLookup, Catalogue], oracle: Oracle
) -> None:
    alike = oracle.alike()
    for row in rows_of(both[1]):
        for paragraph in both[1].paragraphs_of(row["number"]):
            assert paragraph["documents"] == alike[paragraph["text_id"]]
            text = oracle.texts[paragraph["text_id"]]
            assert (paragraph["text"], paragraph["words"]) == (text["text"], text["words"])
            assert paragraph["paragraph_id"] == text["paragraph_id"]


def test_texts_in_very_many_documents_produce_no_pairs(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_PAIRS", building._PAIRS.replace("<= 200", "<= 1"))
    catalogue = catalogue_of(mixed, tmp_path)
    few = Oracle(catalogue.snapshot).pairs(crowd=1)
    assert catalogue.overview()["counts"]["pairs"] == len(few)
    assert len(few) < len(Oracle(catalogue.snapshot).pairs())


@pytest.mark.parametrize(
    ("days", "by", "periods", "undated"),
    [
        ([0, 0, 1, 3, None], "day", {"2024-11-12": 2, "2024-11-13": 1, "2024-11-15": 1}, 1),
        (range(0, 900, 40), "month", None, 0),
        (range(0, 120 * 366, 2000), "decade", None, 0),
        (range(0, 30 * 366, 500), "year", None, 0),
        ([None], "day", {}, 1),
    ],
    ids=["day", "month", "decade", "year", "undated"],
)
def test_periods_are_chosen_to_limit_the_number_of_bars(
    tmp_path: Path, days: list[int | None], by: str, periods: dict[str, int] | None, undated: int
) -> None:
    names = [f"{number}.txt" for number in range(len(days))]
    folder = write_articles(tmp_path / "in", {name: [f"Piece {name} here"] for name in names})
    published = {
        name: None if day is None else NOON + timedelta(days=day)
        for name, day in zip(names, days, strict=True)
    }
    with files_dated(folder, published):
        ingest(folder, tmp_path / "press")
    catalogue = catalogue_of(tmp_path / "press", tmp_path)
    dates = catalogue.overview()["dates"]
    assert len(dates["bars"]) <= 60
    letters = {"day": 10, "month": 7, "year": 4, "decade": 3}[by]
    counted = Counter(f"{date:%Y-%m-%d}"[:letters] for date in published.values() if date)
    if by == "decade":
        counted = Counter({f"{period}0s": count for period, count in counted.items()})
    found = {bar["period"]: bar["documents"] for bar in dates["bars"] if bar["documents"]}
    assert (dates["by"], found, dates["undated"]) == (by, dict(counted), undated)
    if periods is not None:
        assert found == periods
    for bar in dates["bars"]:  # a bar leads to its documents
        asked = DocumentQuery(since=bar["since"], until=bar["until"])
        assert catalogue.search(asked, 1)[0] == bar["documents"]


def test_periods_without_documents_are_bars_of_no_height(tmp_path: Path) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": ["One piece"], "b.txt": ["Two pieces"]})
    with files_dated(folder, {"a.txt": NOON, "b.txt": NOON + timedelta(days=3)}):
        ingest(folder, tmp_path / "press")
    dates = catalogue_of(tmp_path / "press", tmp_path).overview()["dates"]
    assert [(bar["period"], bar["documents"]) for bar in dates["bars"]] == [
        ("2024-11-12", 1),
        ("2024-11-13", 0),
        ("2024-11-14", 0),
        ("2024-11-15", 1),
    ]


def test_empty_archive_has_an_overview(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"")
    ingest(tmp_path / "in", tmp_path / "press")
    overview = catalogue_of(tmp_path / "press", tmp_path).overview()
    assert overview["counts"]["documents"] == 0
    assert overview["rejects"] == [
        {"reason": "empty", "sources": 1, "uri": (tmp_path / "in/a.txt").as_uri()}
    ]
    assert overview["pairs"] == overview["reused"] == overview["origins"]["cells"] == []


def test_previous_version_has_its_own_catalogue(mixed: Path, tmp_path: Path) -> None:
    catalogue = catalogue_of(mixed, tmp_path, version=1)
    snapshot = StoredArchive(mixed).snapshot(1)
    assert catalogue.overview()["counts"]["documents"] == snapshot.rows("documents")
    assert len(catalogue.overview()["runs"]) == 1


def test_origins_are_folders_below_the_common_folder() -> None:
    assert _folders(["file:///a/x/1.txt", "file:///a/y/z/2.txt", "file:///a/3.txt"]) == [
        "x",
        "y",
        ".",
    ]
    assert _folders(["s3://b/in/x/1.txt", "https://[::1]/in/y/2.txt"])


def test_unwritable_catalogue_reports_its_path(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CatalogueError, match="PALIMPSEST_STATE"):
        build_catalogue(StoredArchive(mixed).snapshot(), tmp_path / "file" / "catalogue.sqlite")


def test_catalogue_is_a_plain_sqlite_file(mixed_catalogue: Catalogue) -> None:
    with sqlite3.connect(f"{mixed_catalogue._path.as_uri()}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_witnesses_and_clusters_are_those_of_the_rows(
    both: tuple[TableLookup, Catalogue], oracle: Oracle
) -> None:
    rank = {one: at for at, one in enumerate(oracle.order())}
    clusters: dict[str, list[str]] = defaultdict(list)
    for one, row in oracle.texts.items():
        clusters[row["paragraph_id"]].append(one)
    for paragraph, texts in clusters.items():
        cluster = both[1].cluster(texts[-1], 1000)
        assert cluster[0]["text_id"] == paragraph
        assert {one["text_id"] for one in cluster} == set(texts)
        assert [one["documents"] for one in cluster] == [
            len(oracle.standing[one["text_id"]]) for one in cluster
        ]
        expected = sorted(
            (rank[row["document_id"]], row["ordinal"], row["text_id"])
            for row in oracle.places
            if row["text_id"] in texts
        )
        found = [
            (rank[one["document_id"]], one["ordinal"], one["text_id"])
            for one in both[1].witnesses(paragraph, 1000)
        ]
        assert found == expected
        assert found[:2] == [
            (rank[one["document_id"]], one["ordinal"], one["text_id"])
            for one in both[1].witnesses(paragraph, 2)
        ]
        assert both[1].sizes(paragraph) == {"texts": len(texts), "places": len(expected)}


def test_neighbours_are_texts_of_other_paragraphs_with_an_overlap(
    both: tuple[TableLookup, Catalogue], oracle: Oracle
) -> None:
    matched: Counter[tuple[str, str]] = Counter()
    for row in oracle.overlaps:
        for side, other in (("left", "right"), ("right", "left")):
            matched[row[f"{side}_text_id"], row[f"{other}_text_id"]] += row["matched_words"]
    for one in oracle.texts:
        expected = sorted(
            (-words, other)
            for (mine, other), words in matched.items()
            if mine == one
            and oracle.texts[one]["paragraph_id"] != oracle.texts[other]["paragraph_id"]
        )
        found = both[1].neighbours(one, 1000)
        assert [(-row["matched"], row["text_id"]) for row in found] == expected


def test_rejects_are_counted_by_reason(mixed_catalogue: Catalogue) -> None:
    rows = mixed_catalogue.snapshot.read("rejects").to_pylist()
    for reason in {"", *(row["reason"] for row in rows)}:
        expected = sorted(
            (row["reason"], row["uri"]) for row in rows if reason in ("", row["reason"])
        )
        found, shown = mixed_catalogue.rejects(reason, 100)
        assert found == len(expected)
        assert [(row["reason"], row["uri"]) for row in shown] == expected
    assert mixed_catalogue.rejects("nothing-of-the-kind", 100) == (0, [])


def test_more_variants_than_query_parameters_are_one_paragraph(tmp_path: Path) -> None:
    texts = make_variants(1, 40)
    ingest(write_articles(tmp_path / "in", {"a.txt": texts}), tmp_path / "press")
    catalogue = catalogue_of(tmp_path / "press", tmp_path)
    [first] = catalogue.snapshot.read("paragraphs", ["paragraph_id"]).to_pylist()
    assert catalogue.sizes(first["paragraph_id"]) == {"texts": 40, "places": 40}
    connection = catalogue._connection()
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 5)
    assert len(catalogue.cluster(first["paragraph_id"], 10)) == 10
    assert len(catalogue.witnesses(first["paragraph_id"], 12)) == 12
