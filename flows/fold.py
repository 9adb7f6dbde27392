"""Last step: near-duplicates are folded, representatives chosen, and the rows of the run made.

Only clusters that the run can have changed are looked at: those of new texts, of old texts that a
new one is a near-duplicate of, and of old texts that stand in a new document or under a new URI.
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
from flows.overlaps import staged_overlaps
from flows.read import staged_tables
from flows.texts import Positions, Texts, merge_texts, numbers_of, take_texts, texts_of
from records.columns import digests_of
from records.errors import ContractError
from records.ids import hex_strings
from records.settings import AlignSettings
from store.archive import Snapshot
from store.views import connect

_NO_DATE = np.iinfo(np.int64).max
_SPANS = ["start_char", "end_char", "start_byte", "end_byte"]


@dataclass(frozen=True, slots=True)
class Folded:
    """The rows that a run adds, and the keys of rows that go.

    Attributes:
        added: by table, without ``run_id``, ``runs`` and ``rejects``.
        withdrawn: by table, a key column and the keys.
        documents: documents not seen before.
        paragraphs: occurrences in them.
        texts_folded: new texts that are not the representative of their cluster.
    """

    added: dict[str, pa.Table]
    withdrawn: dict[str, tuple[str, pa.Array]]
    documents: int
    paragraphs: int
    texts_folded: int


def fold(folder: Path, base: Snapshot | None, matched: Matched, settings: AlignSettings) -> Folded:
    """Make the rows of a run from what was staged."""
    sources = _joined(folder, "sources")
    documents, occurrences = _new_documents(folder, base)
    touched = _touched_texts(matched, occurrences, sources, base)
    members, words, is_new = _members(matched, touched)
    cluster = _clusters(members, matched, touched)
    witnesses = _witnesses(members, occurrences, documents, sources, touched)
    firsts = _first_of_clusters(witnesses, cluster)
    representative = np.empty(len(cluster), dtype=np.int64)  # by cluster
    chosen = witnesses.number[firsts]
    representative[cluster[chosen]] = chosen
    paragraphs = _paragraph_rows(members, words, witnesses.rows.take(pa.array(firsts)), chosen)
    folded = np.flatnonzero(representative[cluster] != np.arange(len(cluster)))
    variants = _variant_rows(members, folded, representative[cluster[folded]], settings)
    _check(documents, occurrences, paragraphs, variants, members)
    added, withdrawn = _changed(paragraphs, variants, touched)
    added |= {"documents": documents, "occurrences": occurrences, "sources": sources}
    added["overlaps"] = staged_overlaps(folder)
    return Folded(
        added, withdrawn, documents.num_rows, occurrences.num_rows, int(is_new[folded].sum())
    )


@dataclass(frozen=True, slots=True)
class _Touched:
    """Rows of the archive that the run may change: folds, paragraphs, variants, witnesses."""

    folds: pa.Table
    paragraphs: pa.Table
    variants: pa.Table
    witnesses: pa.Table
    uris: pa.Table


@dataclass(frozen=True, slots=True)
class _Witnesses:
    """Occurrences of the members, with what the choice of a representative rests on.

    Attributes:
        rows: document_id, ordinal, spans, title, published_at, language, uri.
        number: int64, the member that each is of.
        published_us, seen_by_run, rank: int64, as ``first_occurrences`` takes them.
    """

    rows: pa.Table
    number: Positions
    published_us: Positions
    seen_by_run: Positions
    rank: Positions


def _joined(folder: Path, name: str) -> pa.Table:
    return pa.concat_tables(staged_tables(folder, name))


def _new_documents(folder: Path, base: Snapshot | None) -> tuple[pa.Table, pa.Table]:
    """Return the documents and occurrences of all batches, without documents seen before."""
    documents, occurrences = [], []
    seen = pa.array([], pa.string())
    if base is not None:
        seen = base.read("documents", ["document_id"]).column("document_id").combine_chunks()
    for batch, placed in zip(
        staged_tables(folder, "documents"), staged_tables(folder, "occurrences"), strict=True
    ):
        repeated = pc.is_in(batch.column("document_id"), value_set=seen)
        if pc.any(repeated, min_count=0).as_py():
            again = batch.filter(repeated).column("document_id").combine_chunks()
            batch = batch.filter(pc.invert(repeated))
            placed = placed.filter(
                pc.invert(pc.is_in(placed.column("document_id"), value_set=again))
            )
        documents.append(batch)
        occurrences.append(placed)
        seen = pa.concat_arrays([seen, batch.column("document_id").combine_chunks()])
    return pa.concat_tables(documents), pa.concat_tables(occurrences)


def _touched_texts(
    matched: Matched,
    occurrences: pa.Table,
    sources: pa.Table,
    base: Snapshot | None,
) -> _Touched | None:
    """Return the rows of all clusters of the archive that the run may change, if there are any."""
    if base is None:
        return None
    edges = np.concatenate((matched.left, matched.right))
    old = np.unique(edges[~matched.is_new[edges]])
    texts = pa.table({"text_id": hex_strings(np.array(matched.texts.digests[old]))})
    placed = occurrences.select(["text_id"])
    with connect(base) as connection:
        connection.register("linked", texts)
        connection.register("placed", placed)
        connection.register("found", sources.select(["document_id", "uri"]))
        connection.execute("""
            CREATE TEMP TABLE clusters AS
            SELECT DISTINCT paragraph_id FROM folds WHERE text_id IN (
                SELECT text_id FROM linked UNION ALL SELECT text_id FROM placed
                UNION ALL SELECT o.text_id FROM occurrences o SEMI JOIN found USING (document_id)
            )
        """)
        folds = "folds SEMI JOIN clusters USING (paragraph_id)"
        tables = [
            connection.sql(query).to_arrow_table()
            for query in (
                f"SELECT * FROM {folds}",
                "FROM paragraphs SEMI JOIN clusters USING (paragraph_id)",
                "FROM variants SEMI JOIN clusters USING (paragraph_id)",
                f"""SELECT o.*, d.title, d.published_at, d.language, d.run_id
                    FROM occurrences o JOIN documents d USING (document_id)
                    SEMI JOIN (SELECT text_id FROM {folds}) f USING (text_id)""",
                """SELECT document_id, uri FROM sources""",
            )
        ]
    return _Touched(*tables)


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
        texts = numbers_of(members, digests_of(touched.folds.column("text_id")))
        folded = numbers_of(members, digests_of(touched.folds.column("paragraph_id")))
        left, right = np.concatenate((left, texts)), np.concatenate((right, folded))
    return join_clusters(len(members.digests), left, right)


def _witnesses(
    members: Texts,
    occurrences: pa.Table,
    documents: pa.Table,
    sources: pa.Table,
    touched: _Touched | None,
) -> _Witnesses:
    facts = documents.select(["document_id", "title", "published_at", "language"])
    place = pc.index_in(
        occurrences.column("document_id"), value_set=facts.column("document_id").combine_chunks()
    )
    rows = occurrences.select(["document_id", "ordinal", "text_id", *_SPANS])
    for name in ("title", "published_at", "language"):
        rows = rows.append_column(name, facts.column(name).take(place))
    rows = rows.append_column("run_id", pa.array(["~"] * rows.num_rows, pa.string()))
    if touched is not None:
        old = touched.witnesses.select(rows.column_names).cast(rows.schema)
        rows = pa.concat_tables([rows, old])
        sources = pa.concat_tables(
            [
                sources.select(["document_id", "uri"]),
                touched.uris.cast(sources.select(["document_id", "uri"]).schema),
            ]
        )
    uris = sources.group_by("document_id").aggregate([("uri", "min")])
    ranked = uris.sort_by([("uri_min", "ascending"), ("document_id", "ascending")])
    of_document = pc.index_in(
        rows.column("document_id"), value_set=ranked.column("document_id").combine_chunks()
    )
    ordinal = rows.column("ordinal").to_numpy().astype(np.int64)
    rank = of_document.to_numpy().astype(np.int64) << 32 | ordinal
    _, seen_by_run = np.unique(
        rows.column("run_id").to_numpy(zero_copy_only=False), return_inverse=True
    )
    published = pc.fill_null(rows.column("published_at").cast(pa.int64()), int(_NO_DATE))
    rows = rows.append_column("uri", ranked.column("uri_min").take(of_document))
    return _Witnesses(
        rows,
        numbers_of(members, digests_of(rows.column("text_id"))),
        published.to_numpy(),
        seen_by_run.astype(np.int64),
        rank,
    )


def _first_of_clusters(witnesses: _Witnesses, cluster: Positions) -> Positions:
    """Return the earliest occurrence of each cluster, by URI and place in the document."""
    if len(witnesses.number) and witnesses.number.min() < 0:
        raise ContractError("an occurrence has a text that is neither new nor in the archive")
    firsts = first_occurrences(
        cluster[witnesses.number], witnesses.published_us, witnesses.seen_by_run, witnesses.rank
    )
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
) -> tuple[dict[str, pa.Table], dict[str, tuple[str, pa.Array]]]:
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
            withdrawn[name] = (key, gone.column(key).combine_chunks())
    return added, withdrawn


def _row_keys(rows: pa.Table, names: list[str]) -> pa.Array:
    columns = [rows.column(name).cast(pa.string()) for name in names]
    keys = pc.binary_join_element_wise(*columns, "\x1f")
    return keys.combine_chunks()


def _check(
    documents: pa.Table,
    occurrences: pa.Table,
    paragraphs: pa.Table,
    variants: pa.Table,
    members: Texts,
) -> None:
    """Check conservation: every paragraph has an occurrence, every text a row that keeps it.

    Raises:
        ContractError: with the counts that differ.
    """
    expected = pc.sum(documents.column("paragraphs"), min_count=0).as_py()
    if expected != occurrences.num_rows:
        raise ContractError(
            f"occurrences: {occurrences.num_rows} rows; expected {expected}, as many as the "
            "documents have paragraphs"
        )
    kept = paragraphs.num_rows + variants.num_rows
    if kept != len(members.digests):
        raise ContractError(
            f"paragraphs and variants: {kept} rows; expected {len(members.digests)}, one a text"
        )
