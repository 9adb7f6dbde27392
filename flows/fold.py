"""Last step: near-duplicates are folded, representatives chosen, and the rows of the run made.

Only clusters that the run can have changed are looked at: those of new texts, of old texts that a
new one is a near-duplicate of, and of old texts that stand in a new document, under a new URI, or
in a document that is taken down. A cluster can also fall apart, where an overlap goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.alignment import align_pairs, rank_words
from dedup.clusters import aligned_words, first_occurrences, join_clusters
from dedup.words import find_words
from flows.match import Matched
from flows.news import News
from flows.overlaps import staged_overlaps
from flows.texts import Bytes, Positions, Texts, merge_texts, numbers_of, take_texts, texts_of
from records.columns import digests_of, distinct
from records.errors import ContractError
from records.ids import hex_strings
from records.settings import AlignSettings
from store.archive import Snapshot
from store.segments import empty_keys
from store.views import connect

_NO_DATE = np.iinfo(np.int64).max
_SPANS = ["start_char", "end_char", "start_byte", "end_byte"]


@dataclass(frozen=True, slots=True)
class Gone:
    """What a run takes out of the archive.

    Attributes:
        documents: ids of documents that are taken down.
        texts: uint8, shape (texts, 16): digests of the texts that only they had.
        pairs: table of left_text_id and right_text_id: pairs of texts that stay, and whose overlaps
            go because a crowd gave them up.
    """

    documents: pa.Array
    texts: Bytes
    pairs: pa.Table

    @classmethod
    def nothing(cls) -> Gone:
        """Return that nothing goes."""
        ids = pa.array([], pa.string())
        return cls(ids, empty_keys(), pa.table({"left_text_id": ids, "right_text_id": ids}))


@dataclass(frozen=True, slots=True)
class Folded:
    """The rows that a run adds, and the keys of rows that go.

    Attributes:
        added: by table, without ``run_id``, ``runs`` and ``rejects``.
        withdrawn: by table, rows of key columns.
        documents: documents not seen before.
        paragraphs: occurrences in them.
        texts_folded: new texts that are not the representative of their cluster.
    """

    added: dict[str, pa.Table]
    withdrawn: dict[str, pa.Table]
    documents: int
    paragraphs: int
    texts_folded: int


def fold(
    folder: Path,
    base: Snapshot | None,
    matched: Matched,
    news: News,
    gone: Gone,
    settings: AlignSettings,
) -> Folded:
    """Make the rows of a run from what was staged, and tell the rows that go."""
    touched = _touched_texts(matched, news, gone, base)
    members, words, is_new = _members(matched, touched)
    cluster = _clusters(members, matched, touched)
    witnesses = _witnesses(members, news, touched)
    firsts = _first_of_clusters(witnesses, cluster)
    representative = np.empty(len(cluster), dtype=np.int64)  # by cluster
    chosen = witnesses.number[firsts]
    representative[cluster[chosen]] = chosen
    paragraphs = _paragraph_rows(members, words, witnesses.rows.take(pa.array(firsts)), chosen)
    folded = np.flatnonzero(representative[cluster] != np.arange(len(cluster)))
    variants = _variant_rows(members, folded, representative[cluster[folded]], settings)
    _check(news, paragraphs, variants, members)
    added, withdrawn = _changed(paragraphs, variants, touched)
    added |= {"documents": news.documents, "occurrences": news.occurrences}
    added |= {"sources": news.sources, "overlaps": staged_overlaps(folder)}
    if touched is not None and touched.lost_overlaps.num_rows:
        withdrawn["overlaps"] = touched.lost_overlaps
    if len(gone.documents):
        ids = pa.table({"document_id": gone.documents})
        withdrawn |= {"documents": ids, "occurrences": ids, "sources": ids}
    return Folded(
        added,
        withdrawn,
        news.documents.num_rows,
        news.occurrences.num_rows,
        int(is_new[folded].sum()),
    )


@dataclass(frozen=True, slots=True)
class _Touched:
    """Rows of the archive that the run may change, without what goes.

    Attributes:
        folds, paragraphs, variants: of all clusters that the run may change.
        witnesses: occurrences of their texts that stay.
        uris: the first URI of each document in ``witnesses`` that stays.
        near: pairs of near-duplicates among the texts; None if no such pair goes, and ``folds``
            tell the clusters as well.
        lost_overlaps: pairs of texts whose overlaps go.
    """

    folds: pa.Table
    paragraphs: pa.Table
    variants: pa.Table
    witnesses: pa.Table
    uris: pa.Table
    near: pa.Table | None
    lost_overlaps: pa.Table


@dataclass(frozen=True, slots=True)
class _Witnesses:
    """Occurrences of the members, with what the choice of a representative rests on.

    Attributes:
        rows: document_id, ordinal, spans, title, published_at, language, uri.
        number: int64, the member that each is of.
        published_us, rank: int64, as ``first_occurrences`` takes them.
    """

    rows: pa.Table
    number: Positions
    published_us: Positions
    rank: Positions


def _touched_texts(
    matched: Matched, news: News, gone: Gone, base: Snapshot | None
) -> _Touched | None:
    """Return the rows of all clusters of the archive that the run may change, if there are any."""
    if base is None:
        return None
    edges = np.concatenate((matched.left, matched.right))
    old = distinct(edges[~matched.is_new[edges]])
    with connect(base) as connection:
        for name, table in (
            ("linked", pa.table({"text_id": hex_strings(np.array(matched.texts.digests[old]))})),
            ("placed", news.occurrences.select(["text_id"])),
            ("found", news.sources.select(["document_id"])),
            ("gone_documents", pa.table({"document_id": gone.documents})),
            ("gone_texts", pa.table({"text_id": hex_strings(gone.texts)})),
            ("gone_pairs", gone.pairs),
        ):
            connection.register(name, table)
        lost, breaks = _lost_overlaps(connection, gone)
        connection.execute("""
            CREATE TEMP TABLE moved AS
            SELECT document_id FROM found UNION SELECT document_id FROM gone_documents;
            CREATE TEMP TABLE clusters AS
            SELECT DISTINCT paragraph_id FROM folds WHERE text_id IN (
                SELECT text_id FROM linked UNION ALL SELECT text_id FROM placed
                UNION ALL SELECT text_id FROM unlinked
                UNION ALL SELECT o.text_id FROM occurrences o SEMI JOIN moved USING (document_id)
            );
            CREATE TEMP TABLE touched AS
            SELECT * FROM folds SEMI JOIN clusters USING (paragraph_id)
                ANTI JOIN gone_texts USING (text_id);
            CREATE TEMP TABLE witnessed AS
            SELECT o.*, d.title, d.published_at, d.language
                FROM occurrences o SEMI JOIN touched USING (text_id)
                JOIN documents d USING (document_id)
                ANTI JOIN gone_documents USING (document_id)
        """)
        near = """SELECT DISTINCT left_text_id, right_text_id FROM "overlaps"
            SEMI JOIN touched ON left_text_id = text_id
            ANTI JOIN lost USING (left_text_id, right_text_id) WHERE relation = 'near'"""
        uris = """SELECT document_id, min(uri) AS uri FROM sources
            SEMI JOIN witnessed USING (document_id) GROUP BY ALL"""

        def rows(query: str) -> pa.Table:
            return connection.sql(query).to_arrow_table()

        return _Touched(
            rows("FROM touched"),
            rows("FROM paragraphs SEMI JOIN clusters USING (paragraph_id)"),
            rows("FROM variants SEMI JOIN clusters USING (paragraph_id)"),
            rows("FROM witnessed"),
            rows(uris),
            rows(near) if breaks else None,
            lost,
        )


def _lost_overlaps(connection: Any, gone: Gone) -> tuple[pa.Table, bool]:
    """Return the pairs of texts whose overlaps go, and whether one of them were near-duplicates.

    Makes the tables ``lost``, and ``unlinked`` of texts that lose a near-duplicate.
    """
    pairs = 'SELECT left_text_id, right_text_id, relation FROM "overlaps"'
    going = [f"{pairs} SEMI JOIN gone_pairs USING (left_text_id, right_text_id)"]
    for side in ("left", "right"):
        going.append(f"{pairs} SEMI JOIN gone_texts ON {side}_text_id = text_id")
    query = " UNION ".join(going) if len(gone.texts) or gone.pairs.num_rows else f"{pairs} LIMIT 0"
    connection.execute(f"""
        CREATE TEMP TABLE lost AS {query};
        CREATE TEMP TABLE unlinked AS
        SELECT left_text_id AS text_id FROM lost WHERE relation = 'near'
        UNION SELECT right_text_id FROM lost WHERE relation = 'near'
    """)
    lost = connection.sql("SELECT DISTINCT left_text_id, right_text_id FROM lost").to_arrow_table()
    [count] = connection.sql("SELECT count(*) AS n FROM unlinked").to_arrow_table()["n"]
    return lost, count.as_py() > 0


def _members(
    matched: Matched, touched: _Touched | None
) -> tuple[Texts, npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return all texts whose cluster the run decides, their words, and which of them are new."""
    new = np.flatnonzero(matched.is_new)
    sizes = np.diff(matched.words.offsets)[new].astype(np.int32)
    if touched is None:
        return matched.texts, sizes, matched.is_new
    folds = touched.folds.sort_by("text_id")  # as digests sort
    old = texts_of(folds.column("text_id"), folds.column("text"))
    texts, came_from = merge_texts([take_texts(matched.texts, new), old])
    sizes = np.concatenate((sizes, folds.column("words").to_numpy()))
    return texts, sizes[came_from], came_from < len(new)


def _clusters(members: Texts, matched: Matched, touched: _Touched | None) -> Positions:
    """Return the cluster of each member: the least member of it."""
    number = numbers_of(members, matched.texts.digests)
    left, right = number[matched.left], number[matched.right]
    if touched is not None:
        near = touched.near
        if near is None:
            near = touched.folds.select(["text_id", "paragraph_id"])
        sides = [numbers_of(members, digests_of(column)) for column in near.columns]
        left, right = np.concatenate((left, sides[0])), np.concatenate((right, sides[1]))
    return join_clusters(len(members.digests), left, right)


def _witnesses(members: Texts, news: News, touched: _Touched | None) -> _Witnesses:
    facts = news.documents.select(["document_id", "title", "published_at", "language"])
    place = pc.index_in(
        news.occurrences.column("document_id"),
        value_set=facts.column("document_id").combine_chunks(),
    )
    rows = news.occurrences.select(["document_id", "ordinal", "text_id", *_SPANS])
    for name in ("title", "published_at", "language"):
        rows = rows.append_column(name, facts.column(name).take(place))
    sources = news.sources.select(["document_id", "uri"])
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
    number = numbers_of(members, digests_of(rows.column("text_id")))
    return _Witnesses(rows, number, published.to_numpy(), rank)


def _first_of_clusters(witnesses: _Witnesses, cluster: Positions) -> Positions:
    """Return the earliest occurrence of each cluster, by URI and place in the document."""
    if len(witnesses.number) and witnesses.number.min() < 0:
        raise ContractError("an occurrence has a text that is neither new nor in the archive")
    firsts = first_occurrences(cluster[witnesses.number], witnesses.published_us, witnesses.rank)
    return firsts[np.argsort(witnesses.rank[firsts])]


def _paragraph_rows(
    members: Texts, words: npt.NDArray[np.int32], rows: pa.Table, chosen: Positions
) -> pa.Table:
    """Return the rows of paragraphs, without ``run_id``."""
    columns: dict[str, Any] = {
        "paragraph_id": hex_strings(members.digests[chosen]),
        "text": members.strings(chosen),
        "words": words[chosen],
    }
    for name in ("language", "document_id", "uri", "title", "published_at", "ordinal", *_SPANS):
        columns[name] = rows.column(name)
    return pa.table(columns)


def _variant_rows(
    members: Texts, folded: Positions, into: Positions, settings: AlignSettings
) -> pa.Table:
    """Return the rows of variants, without ``run_id``; each is aligned with its paragraph."""
    concerned, numbers = np.unique(np.concatenate((folded, into)), return_inverse=True)
    starts, ends = members.offsets[:-1][concerned], members.offsets[1:][concerned]
    words = find_words(members.buffer, starts, ends)
    left, right = numbers[: len(folded)], numbers[len(folded) :]
    passages = align_pairs(words, rank_words(words, settings), left, right, settings)
    matched = aligned_words(passages, len(folded))
    sizes = np.diff(words.offsets)
    together = sizes[left] + sizes[right] - matched
    columns: dict[str, Any] = {
        "text_id": hex_strings(members.digests[folded]),
        "paragraph_id": hex_strings(members.digests[into]),
        "text": members.strings(folded),
        "words": sizes[left].astype(np.int32),
        "matched_words": matched.astype(np.int32),
        "resemblance": (matched / np.maximum(1, together)).astype(np.float32),
    }
    return pa.table(columns)


def _changed(
    paragraphs: pa.Table, variants: pa.Table, touched: _Touched | None
) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """Return the rows that are not in the archive yet, and the keys of those that go."""
    if touched is None:
        return {"paragraphs": paragraphs, "variants": variants}, {}
    added, withdrawn = {}, {}
    for name, rows, old, key, alike in (
        ("paragraphs", paragraphs, touched.paragraphs, "paragraph_id",
         ["paragraph_id", "document_id", "ordinal", "uri"]),
        ("variants", variants, touched.variants, "text_id", ["text_id", "paragraph_id"]),
    ):  # fmt: skip
        new_keys, old_keys = _row_keys(rows, alike), _row_keys(old, alike)
        added[name] = rows.filter(pc.invert(pc.is_in(new_keys, value_set=old_keys)))
        gone = old.filter(pc.invert(pc.is_in(old_keys, value_set=new_keys)))
        if gone.num_rows:
            withdrawn[name] = gone.select([key])
    return added, withdrawn


def _row_keys(rows: pa.Table, names: list[str]) -> pa.Array:
    columns = [rows.column(name).cast(pa.string()) for name in names]
    keys = pc.binary_join_element_wise(*columns, "\x1f")
    return keys.combine_chunks()


def _check(news: News, paragraphs: pa.Table, variants: pa.Table, members: Texts) -> None:
    """Check conservation: every paragraph has an occurrence, every text a row that keeps it.

    Raises:
        ContractError: with the counts that differ.
    """
    expected = pc.sum(news.documents.column("paragraphs"), min_count=0).as_py()
    if expected != news.occurrences.num_rows:
        raise ContractError(
            f"occurrences: {news.occurrences.num_rows} rows; expected {expected}, as many as the "
            "documents have paragraphs"
        )
    kept = paragraphs.num_rows + variants.num_rows
    if kept != len(members.digests):
        raise ContractError(
            f"paragraphs and variants: {kept} rows; expected {len(members.digests)}, one a text"
        )
