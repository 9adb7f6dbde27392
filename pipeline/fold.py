"""Fourth step: fold near-duplicates that say the same, and build the rows of the run.

What becomes of a text depends on the texts within two links of it (``dedup.clusters``). So the run
considers again the texts that it can have changed, and those within two links of them: new texts,
texts that get or lose a link, and texts that occur in a new document, under a new URI, or in a
removed document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.clusters import aligned_words, choose_representatives, first_occurrences
from palimpsest.dedup.headers import are_headers
from palimpsest.dedup.index.segments import empty_keys
from palimpsest.dedup.texts import Texts, merge_texts
from palimpsest.dedup.words import find_words
from palimpsest.kernels.arrays import Bytes, Flags, Positions
from palimpsest.kernels.columns import bytes_of, digests_of
from palimpsest.kernels.sorting import distinct, find_digests, sortable
from palimpsest.pipeline.matching import MatchedTexts, load_texts
from palimpsest.pipeline.new_rows import NewRows
from palimpsest.pipeline.run_texts import RunTexts
from palimpsest.records.document_facts import FACT_NAMES
from palimpsest.records.errors import ContractError
from palimpsest.records.ids import hex_strings
from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import AlignSettings
from palimpsest.store.archive import Snapshot
from palimpsest.store.row_keys import row_keys
from palimpsest.store.views import connect

_NO_DATE = np.iinfo(np.int64).max
_FACTS = [name for name in FACT_NAMES if name in TABLES["paragraphs"].names]
"""Facts of the document that a row of ``paragraphs`` repeats."""
_COMPARED = {
    "paragraphs": ["paragraph_id", "document_id", "ordinal", "uri", *_FACTS],
    "variants": ["text_id", "paragraph_id"],
}
"""Columns whose values decide whether a stored row is still right; the first is its key."""
_PLACE = ["document_id", "ordinal"]
_SPANS = ["start_char", "end_char", "start_byte", "end_byte"]


@dataclass(frozen=True, slots=True)
class Deletions:
    """What a run removes from the archive.

    Attributes:
        documents: ids of removed documents.
        texts: uint8, shape (texts, 16): digests of texts that occur in no other document.
        pairs: table of left_text_id and right_text_id: pairs of texts that stay, but whose overlaps
            are removed because a crowd no longer pairs them.
    """

    documents: pa.Array
    texts: Bytes
    pairs: pa.Table

    @classmethod
    def none(cls) -> Deletions:
        """Return an empty set of deletions."""
        ids = pa.array([], pa.string())
        return cls(ids, empty_keys(), pa.table({"left_text_id": ids, "right_text_id": ids}))


@dataclass(frozen=True, slots=True)
class FoldResult:
    """The rows that folding adds, and the keys of those that it removes.

    Attributes:
        added: paragraphs and variants, without ``run_id``.
        withdrawn: by table, key columns of the rows to remove.
        documents: number of new documents.
        paragraphs: number of their occurrences.
        texts_folded: number of new texts that are folded into another.
        superseded: number of paragraphs that an earlier occurrence has replaced.
    """

    added: dict[str, pa.Table]
    withdrawn: dict[str, pa.Table]
    documents: int
    paragraphs: int
    texts_folded: int
    superseded: int


def fold(
    base: Snapshot | None,
    matched: MatchedTexts,
    new_rows: NewRows,
    deletions: Deletions,
    settings: AlignSettings,
) -> FoldResult:
    """Return the rows of paragraphs and variants to add, and the rows to remove.

    Reads the staged links and texts, and rows of the archive; writes nothing. The cost grows with
    the new texts, the texts within four links of what has changed, and the occurrences of these;
    and with the links of the archive, which are read once.
    """
    touched = _touched_texts(matched, new_rows, deletions, base)
    members = _members(matched, touched)
    witnesses = _witnesses(members, new_rows, touched)
    firsts = _first_of_texts(witnesses)
    into = _representatives(members, matched, touched, witnesses, firsts)
    is_folded = into != np.arange(len(into))
    folded = np.flatnonzero(is_folded & members.is_decided)
    firsts = firsts[(members.is_decided & ~is_folded)[witnesses.number[firsts]]]
    firsts = firsts[np.argsort(witnesses.rank[firsts])]
    _check(new_rows, len(firsts) + len(folded), int(members.is_decided.sum()))
    changes = _changes(
        members, witnesses, firsts=firsts, folded=folded, into=into[folded], touched=touched
    )
    texts, place = _texts_to_write(
        members, witnesses.number[changes.firsts], changes, matched, base
    )
    added = {
        "paragraphs": _paragraph_rows(members, witnesses, changes.firsts, texts, place),
        "variants": _variant_rows(members, changes, texts, place, settings),
    }
    withdrawn = dict(changes.withdrawn)
    if new_rows.changed.num_rows:
        withdrawn["documents"] = new_rows.changed.select(["document_id"])
    if touched is not None and touched.lost_overlaps.num_rows:
        withdrawn["overlaps"] = touched.lost_overlaps
    if len(deletions.documents):
        ids = pa.table({"document_id": deletions.documents})
        withdrawn |= {"documents": ids, "occurrences": ids, "sources": ids}
    return FoldResult(
        added,
        withdrawn,
        new_rows.documents.num_rows,
        new_rows.occurrences.num_rows,
        int(members.is_new[folded].sum()),
        changes.superseded,
    )


@dataclass(frozen=True, slots=True)
class _Touched:
    """Rows of the texts in the archive that the run may change, without removed texts.

    Attributes:
        texts: ``text_id`` and ``words`` of these texts and of those within two links of them, and
            ``is_decided``, which is true for the first.
        paragraphs, variants: rows of the texts that may change, without the text itself.
        witnesses: occurrences of all these texts in documents that stay.
        uris: the first URI of each of these documents.
        links: pairs of these texts that are linked and stay so.
        lost_overlaps: pairs of texts whose overlaps are removed.
    """

    texts: pa.Table
    paragraphs: pa.Table
    variants: pa.Table
    witnesses: pa.Table
    uris: pa.Table
    links: pa.Table
    lost_overlaps: pa.Table


@dataclass(frozen=True, slots=True)
class _Witnesses:
    """Occurrences of the members, with what decides which one is the earliest.

    Attributes:
        rows: document_id, ordinal, spans, title, published_at, language, uri.
        number: int64, the member that each row is an occurrence of.
        published_us, rank: int64, arguments of ``first_occurrences``.
    """

    rows: pa.Table
    number: Positions
    published_us: Positions
    rank: Positions


_TOUCHED_TABLES = """
CREATE TEMP TABLE moved AS
SELECT document_id FROM found UNION SELECT document_id FROM removed_documents;
CREATE TEMP TABLE links AS
SELECT DISTINCT left_text_id, right_text_id FROM "overlaps"
    ANTI JOIN lost USING (left_text_id, right_text_id) WHERE says_same;
CREATE TEMP TABLE sides AS
SELECT left_text_id AS text_id, right_text_id AS other FROM (FROM links UNION ALL FROM new_links)
UNION ALL
SELECT right_text_id, left_text_id FROM (FROM links UNION ALL FROM new_links);
CREATE TEMP TABLE seeds AS
SELECT text_id FROM linked UNION SELECT text_id FROM placed UNION SELECT text_id FROM unlinked
    UNION SELECT o.text_id FROM occurrences o SEMI JOIN moved USING (document_id);
CREATE TEMP TABLE one_away AS
SELECT text_id FROM seeds UNION SELECT other FROM sides SEMI JOIN seeds USING (text_id);
CREATE TEMP TABLE decided AS
SELECT text_id FROM one_away UNION SELECT other FROM sides SEMI JOIN one_away USING (text_id);
CREATE TEMP TABLE three_away AS
SELECT text_id FROM decided UNION SELECT other FROM sides SEMI JOIN decided USING (text_id);
CREATE TEMP TABLE around AS
SELECT text_id FROM three_away UNION SELECT other FROM sides SEMI JOIN three_away USING (text_id);
CREATE TEMP TABLE touched AS
SELECT text_id, words, d.text_id IS NOT NULL AS is_decided
    FROM folds SEMI JOIN around USING (text_id) ANTI JOIN removed_texts USING (text_id)
    LEFT JOIN decided d USING (text_id);
CREATE TEMP TABLE rewritten AS FROM decided UNION FROM removed_texts;
CREATE TEMP TABLE witnessed AS
SELECT o.*, d.title, d.published_at, d.language
    FROM occurrences o SEMI JOIN touched USING (text_id)
    JOIN (FROM changed UNION ALL
        SELECT document_id, title, published_at, language
        FROM documents ANTI JOIN changed USING (document_id)
    ) d USING (document_id)
    ANTI JOIN removed_documents USING (document_id)
"""
_LINKS = "FROM links SEMI JOIN touched ON left_text_id = text_id"
_FIRST_URIS = """
SELECT document_id, min(uri) AS uri FROM sources
    SEMI JOIN witnessed USING (document_id) GROUP BY ALL
"""


def _touched_texts(
    matched: MatchedTexts, new_rows: NewRows, deletions: Deletions, base: Snapshot | None
) -> _Touched | None:
    """Return the rows of all texts in the archive that the run may change; None if it is new."""
    if base is None:
        return None
    with connect(base) as connection:
        for name, table in _tables_of_run(matched, new_rows, deletions).items():
            connection.register(name, table)
        lost = _lost_overlaps(connection, deletions)
        connection.execute(_TOUCHED_TABLES)

        def rows(query: str) -> pa.Table:
            return connection.sql(query).to_arrow_table()

        def rows_of(name: str) -> pa.Table:
            columns = ", ".join(_COMPARED[name])
            key = _COMPARED[name][0]
            return rows(
                f"SELECT {columns} FROM {name} SEMI JOIN rewritten r ON {name}.{key} = r.text_id"
            )

        return _Touched(
            texts=rows("FROM touched"),
            paragraphs=rows_of("paragraphs"),
            variants=rows_of("variants"),
            witnesses=rows("FROM witnessed"),
            uris=rows(_FIRST_URIS),
            links=rows(_LINKS),
            lost_overlaps=lost,
        )


def _tables_of_run(
    matched: MatchedTexts, new_rows: NewRows, deletions: Deletions
) -> dict[str, pa.Table]:
    """Return what the run adds, changes and removes, as the queries above name it."""
    edges = np.concatenate((matched.left, matched.right))
    old = distinct(edges[~matched.is_new[edges]])
    left, right = (
        hex_strings(np.array(matched.texts.digests[side])) for side in (matched.left, matched.right)
    )
    return {
        "new_links": pa.table({"left_text_id": left, "right_text_id": right}),
        "linked": pa.table({"text_id": hex_strings(np.array(matched.texts.digests[old]))}),
        "placed": new_rows.occurrences.select(["text_id"]),
        "found": new_rows.sources.select(["document_id"]),
        "changed": new_rows.changed.select(["document_id", *_FACTS]),
        "removed_documents": pa.table({"document_id": deletions.documents}),
        "removed_texts": pa.table({"text_id": hex_strings(deletions.texts)}),
        "removed_pairs": deletions.pairs,
    }


def _lost_overlaps(connection: Any, deletions: Deletions) -> pa.Table:
    """Return pairs of texts whose overlaps are removed.

    Creates the tables ``lost`` (these pairs) and ``unlinked`` (texts that lose a link).
    """
    pairs = 'SELECT left_text_id, right_text_id, says_same FROM "overlaps"'
    removed = [f"{pairs} SEMI JOIN removed_pairs USING (left_text_id, right_text_id)"]
    for side in ("left", "right"):
        removed.append(f"{pairs} SEMI JOIN removed_texts ON {side}_text_id = text_id")
    query = (
        " UNION ".join(removed)
        if len(deletions.texts) or deletions.pairs.num_rows
        else f"{pairs} LIMIT 0"
    )
    connection.execute(f"""
        CREATE TEMP TABLE lost AS {query};
        CREATE TEMP TABLE unlinked AS
        SELECT left_text_id AS text_id FROM lost WHERE says_same
        UNION SELECT right_text_id FROM lost WHERE says_same
    """)
    query = "SELECT DISTINCT left_text_id, right_text_id FROM lost"
    lost: pa.Table = connection.sql(query).to_arrow_table()
    return lost


class _Members(NamedTuple):
    """Texts that this run considers.

    Attributes:
        digests: uint8, shape (members, 16), sorted.
        words: int32, number of words.
        is_new: bool.
        is_decided: bool: the run decides what becomes of it; the others are only linked to such.
    """

    digests: Bytes
    words: npt.NDArray[np.int32]
    is_new: Flags
    is_decided: Flags


def _members(matched: MatchedTexts, touched: _Touched | None) -> _Members:
    new = np.flatnonzero(matched.is_new)
    digests = matched.texts.digests[new]
    words = matched.texts.sizes(new).astype(np.int32)
    is_decided = np.ones(len(new), dtype=np.bool_)
    if touched is None:
        return _Members(digests, words, is_decided, is_decided)
    digests = np.concatenate((digests, digests_of(touched.texts.column("text_id"))))
    words = np.concatenate((words, touched.texts.column("words").to_numpy()))
    decided = touched.texts.column("is_decided").to_numpy(zero_copy_only=False)
    is_decided = np.concatenate((is_decided, decided))
    order = np.argsort(sortable(digests))
    return _Members(digests[order], words[order], order < len(new), is_decided[order])


def _representatives(
    members: _Members,
    matched: MatchedTexts,
    touched: _Touched | None,
    witnesses: _Witnesses,
    firsts: Positions,
) -> Positions:
    """Return the member that each member is folded into, or itself."""
    linked = (matched.texts.digests[side] for side in (matched.left, matched.right))
    left, right = (find_digests(members.digests, digests) for digests in linked)
    if touched is not None:
        sides = [
            find_digests(members.digests, digests_of(column)) for column in touched.links.columns
        ]
        left, right = np.concatenate((left, sides[0])), np.concatenate((right, sides[1]))
        is_inside = (left >= 0) & (right >= 0)
        left, right = left[is_inside], right[is_inside]
    rank = np.empty(len(members.digests), dtype=np.int64)
    order = np.lexsort((witnesses.rank[firsts], witnesses.published_us[firsts]))
    rank[witnesses.number[firsts[order]]] = np.arange(len(firsts))
    return choose_representatives(rank, left, right)


def _witnesses(members: _Members, new_rows: NewRows, touched: _Touched | None) -> _Witnesses:
    facts = new_rows.documents.select(["document_id", *_FACTS])
    place = pc.index_in(
        new_rows.occurrences.column("document_id"),
        value_set=facts.column("document_id").combine_chunks(),
    )
    rows = new_rows.occurrences.select(["document_id", "ordinal", "text_id", *_SPANS])
    for name in _FACTS:
        rows = rows.append_column(name, facts.column(name).take(place))
    sources = new_rows.sources.select(["document_id", "uri"])
    if touched is not None:
        rows = pa.concat_tables(
            [rows, touched.witnesses.select(rows.column_names).cast(rows.schema)]
        )
        sources = pa.concat_tables([sources, touched.uris.cast(sources.schema)])
    uris = sources.group_by("document_id").aggregate([("uri", "min")])
    ranked = uris.sort_by([("uri_min", "ascending"), ("document_id", "ascending")])
    of_document = pc.index_in(
        rows.column("document_id"), value_set=ranked.column("document_id").combine_chunks()
    )
    ordinal = rows.column("ordinal").to_numpy().astype(np.int64)
    rank = of_document.to_numpy().astype(np.int64) << 32 | ordinal
    published = pc.fill_null(rows.column("published_at").cast(pa.int64()), int(_NO_DATE))
    rows = rows.append_column("uri", ranked.column("uri_min").take(of_document))
    number = find_digests(members.digests, digests_of(rows.column("text_id")))
    return _Witnesses(rows, number, published.to_numpy(), rank)


def _first_of_texts(witnesses: _Witnesses) -> Positions:
    """Return the earliest occurrence of each member, in the order of members."""
    if len(witnesses.number) and witnesses.number.min() < 0:
        raise ContractError("an occurrence has a text that is neither new nor in the archive")
    return first_occurrences(witnesses.number, witnesses.published_us, witnesses.rank)


class _Changes(NamedTuple):
    """Which rows of paragraphs and variants to write, and which to remove.

    Attributes:
        firsts: numbers of the witnesses that become rows of paragraphs.
        folded, into: numbers of the members that become rows of variants.
        withdrawn: by table, keys of stored rows that are no longer right.
        superseded: number of removed paragraphs that another place has replaced.
    """

    firsts: Positions
    folded: Positions
    into: Positions
    withdrawn: dict[str, pa.Table]
    superseded: int


def _changes(
    members: _Members,
    witnesses: _Witnesses,
    *,
    firsts: Positions,
    folded: Positions,
    into: Positions,
    touched: _Touched | None,
) -> _Changes:
    """Return the rows that the archive does not have in exactly this form."""
    if touched is None:
        return _Changes(firsts, folded, into, {}, 0)
    chosen = witnesses.rows.take(pa.array(firsts))
    ids = hex_strings(members.digests)
    right = {
        "paragraphs": chosen.append_column("paragraph_id", ids.take(witnesses.number[firsts])),
        "variants": pa.table({"text_id": ids.take(folded), "paragraph_id": ids.take(into)}),
    }
    is_missing, withdrawn, superseded = {}, {}, 0
    for name, old in (("paragraphs", touched.paragraphs), ("variants", touched.variants)):
        names = _COMPARED[name]
        new_keys, old_keys = row_keys(right[name].select(names)), row_keys(old.select(names))
        is_missing[name] = pc.invert(pc.is_in(new_keys, value_set=old_keys)).to_numpy(
            zero_copy_only=False
        )
        outdated = old.filter(pc.invert(pc.is_in(old_keys, value_set=new_keys)))
        if outdated.num_rows:
            withdrawn[name] = outdated.select(names[:1])
        if name == "paragraphs":  # a row of which only the URI differs is the same place
            places = [row_keys(rows.select(_PLACE)) for rows in (outdated, right[name])]
            superseded = pc.sum(pc.invert(pc.is_in(places[0], value_set=places[1]))).as_py() or 0
    firsts, missing = firsts[is_missing["paragraphs"]], is_missing["variants"]
    return _Changes(firsts, folded[missing], into[missing], withdrawn, superseded)


def _texts_to_write(
    members: _Members,
    chosen: Positions,
    changes: _Changes,
    matched: MatchedTexts,
    base: Snapshot | None,
) -> tuple[Texts | RunTexts, Positions]:
    """Return the texts of the rows to write, from this run or else from the archive.

    Returns:
        the texts; and int64, shape (members,), the number of each member's text, or -1.
    """
    place = find_digests(matched.texts.digests, members.digests)
    wanted = distinct(np.concatenate((chosen, changes.folded, changes.into)))
    is_old = place[wanted] < 0
    if base is None or not is_old.any():
        return matched.texts, place
    new, old = place[wanted[~is_old]], members.digests[wanted[is_old]]
    texts = merge_texts([matched.texts.take(new), load_texts(base, old)])[0]
    return texts, find_digests(texts.digests, members.digests)


def _paragraph_rows(
    members: _Members,
    witnesses: _Witnesses,
    firsts: Positions,
    texts: Texts | RunTexts,
    place: Positions,
) -> pa.Table:
    """Return rows of paragraphs, without ``run_id``; ``place`` numbers the members' texts."""
    chosen = witnesses.number[firsts]
    rows = witnesses.rows.take(pa.array(firsts))
    strings = texts.strings(place[chosen])
    buffer, offsets = bytes_of(strings)
    columns: dict[str, Any] = {
        "paragraph_id": hex_strings(members.digests[chosen]),
        "text": strings,
        "words": members.words[chosen],
        "is_header": are_headers(buffer, offsets[:-1], offsets[1:]),
    }
    for name in ("language", "document_id", "uri", "title", "published_at", "ordinal", *_SPANS):
        columns[name] = rows.column(name)
    return pa.table(columns)


def _variant_rows(
    members: _Members,
    changes: _Changes,
    texts: Texts | RunTexts,
    place: Positions,
    settings: AlignSettings,
) -> pa.Table:
    """Return rows of variants, without ``run_id``; each is aligned with its paragraph."""
    folded, into = changes.folded, changes.into
    concerned, numbers = np.unique(np.concatenate((folded, into)), return_inverse=True)
    texts_to_align = texts.take(place[concerned])
    words = find_words(
        texts_to_align.buffer, texts_to_align.offsets[:-1], texts_to_align.offsets[1:]
    )
    left, right = numbers[: len(folded)], numbers[len(folded) :]
    passages = align_pairs(words, score_words(words, settings), left, right, settings)
    matched = aligned_words(passages, len(folded))
    sizes = np.diff(words.offsets)
    together = sizes[left] + sizes[right] - matched
    columns: dict[str, Any] = {
        "text_id": hex_strings(members.digests[folded]),
        "paragraph_id": hex_strings(members.digests[into]),
        "text": texts_to_align.strings(left),
        "words": sizes[left].astype(np.int32),
        "matched_words": matched.astype(np.int32),
        "resemblance": (matched / np.maximum(1, together)).astype(np.float32),
    }
    return pa.table(columns)


def _check(new_rows: NewRows, kept: int, decided: int) -> None:
    """Check conservation: every paragraph has an occurrence, every text is in one row.

    Raises:
        ContractError: with the counts that differ.
    """
    expected = pc.sum(new_rows.documents.column("paragraphs"), min_count=0).as_py()
    if expected != new_rows.occurrences.num_rows:
        raise ContractError(
            f"occurrences: {new_rows.occurrences.num_rows} rows; expected {expected}, the number "
            "of paragraphs of the documents"
        )
    if kept != decided:
        raise ContractError(f"paragraphs and variants: {kept} rows; expected {decided}, one a text")
