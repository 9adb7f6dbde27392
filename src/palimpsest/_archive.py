"""The class ``Archive``: one version of an archive, for notebooks and scripts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from palimpsest import _arguments, _repr
from palimpsest._types import Name, Report
from palimpsest.records.progress import by_name
from palimpsest.records.schemas import REJECT_REASONS, TABLES
from palimpsest.records.settings import PassageSettings, parse_settings
from palimpsest.store.address import open_archive
from palimpsest.store.find import find_text, uris_of
from palimpsest.store.query import read_rows, reader_errors_as_damage, run_query
from palimpsest.store.rebuild import find_document, rebuild_document
from palimpsest.store.versions import list_versions

_RELATIONS = ("near", "contained", "partial")
_CONDITIONS = {
    "containing": "regexp_matches(text, regexp_escape($containing), 'i')",  # faster than lower()
    "document": "document_id = $document",
    "language": "language = $language",
    "left": "left_text_id = $left",
    "min_matched": "matched_words >= $min_matched",
    "min_words": "words >= $min_words",
    "paragraph": "paragraph_id = $paragraph",
    "reason": "reason = $reason",
    "relation": "relation = $relation",
    "right": "right_text_id = $right",
    "series": "series = $series",
    "since": "published_at >= $since",
    "text": "text_id = $text",
    "texts": "text_id IN (SELECT unnest($texts))",
    "until": "published_at < $until",
}
"""Conditions in SQL, by the name of the parameter in each."""


class Archive:
    """One version of an archive.

    An ``Archive`` always shows the version that it was opened at, whatever is published later, and
    ``clean`` keeps that version while the object exists (on an object store, only the tables that
    have been downloaded are safe). It has neither a connection nor an open file: threads may share
    it, processes may be forked beside it, and it can be pickled; the process that unpickles it
    opens the same version. ``verify``, ``remove``, ``compact``, ``clean`` and ``reindex`` maintain
    the archive; ``newest`` then returns its new version.

    Methods with many results return Arrow tables; ``table.to_pandas()`` and
    ``polars.from_arrow(table)`` make data frames of them. Each docstring lists the columns with
    their types. There ``timestamp`` is ``timestamp[us, tz=UTC]``, and ``?`` marks nullable columns.
    Conditions are applied while files are read, so that few rows need little reading, and with
    ``columns`` only these are read.

    A document is named by its id, at least the first 8 letters of it, the URI of one of its
    sources, or a path; a text or paragraph by its id, or at least the first 8 letters of it.

    Args:
        address: the path of an archive, or ``s3://BUCKET/NAME``. Tables of a remote archive are
            downloaded when they are first used, and cached.
        version: the version to read; the newest by default. ``versions`` lists them.

    Raises:
        SettingsError: there is no archive, or no such version.
        ContractError: the archive was written in another format of Palimpsest.
    """

    __slots__ = ("__weakref__", "_address", "_place", "_snapshot")

    def __init__(self, address: Name, version: int | None = None) -> None:
        self._address = os.fspath(address)
        is_remote = "://" in self._address
        self._place = open_archive(self._address if is_remote else Path(self._address).expanduser())
        self._snapshot = self._place.snapshot(_arguments.number("version", version, least=1))

    def __reduce__(self) -> tuple[Any, ...]:
        return Archive, (self.name, self.version)

    def __repr__(self) -> str:
        return _repr.as_line(self._address, self._snapshot)

    def _repr_html_(self) -> str:
        return _repr.as_html(self._address, self._snapshot)

    @property
    def name(self) -> str:
        """The absolute path of the archive, or its address."""
        return self._place.name

    @property
    def version(self) -> int:
        """The number of this version, from 1."""
        return self._snapshot.manifest.version

    @property
    def rows(self) -> dict[str, int]:
        """The number of rows of each table; no file is read for it."""
        return {name: self._snapshot.rows(name) for name in TABLES}

    def versions(self) -> pa.Table:
        """Return the versions that exist now, oldest first.

        Columns:
            version int64, published_at timestamp, operation string, run_id string, documents int64,
            paragraphs int64, files int64, bytes int64, path string.
        """
        versions = list_versions(self._place)
        for version in versions:
            version["published_at"] = datetime.fromisoformat(version["published_at"])
        return pa.Table.from_pylist(versions, schema=_repr.VERSIONS)

    def at(self, version: int) -> Archive:
        """Return the archive as of another version.

        Raises:
            SettingsError: there is no such version, or it has been deleted.
        """
        return self._opened(version)

    def newest(self) -> Archive:
        """Return the archive at its newest version; this object stays at its own."""
        return self._opened(None)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a table by its name, with its rows in the order of the files.

        Raises:
            SettingsError: there is no such table, or it has no such column.
        """
        return self._rows(_arguments.choice("table", name, TABLES), columns)

    def paragraphs(
        self,
        *,
        containing: str | None = None,
        document: Name | None = None,
        language: str | None = None,
        min_words: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return paragraphs, each once, with its earliest known occurrence.

        Args:
            containing: only those whose text contains this, in upper or lower case.
            document: only those whose earliest occurrence is in this document; ``occurrences``
                returns all that occur in it.
            language: only those in this language, an ISO 639-1 code.
            min_words: only those of at least this many words.
            columns: only these columns.

        Columns:
            paragraph_id string, text string, words int32, is_header bool, language string?,
            document_id string, uri string, title string?, published_at timestamp?, ordinal int32,
            start_char int64, end_char int64, start_byte int64?, end_byte int64?, run_id string.
        """
        return self._rows(
            "paragraphs",
            columns,
            containing=_arguments.normalised(containing),
            document=self._document_id(document),
            language=language,
            min_words=_arguments.number("min_words", min_words),
        )

    def variants(
        self, *, paragraph: str | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the near-duplicate texts that were folded into paragraphs.

        Args:
            paragraph: only those that were folded into this one.
            columns: only these columns.

        Columns:
            text_id string, paragraph_id string, text string, words int32, matched_words int32,
            resemblance float32, run_id string.
        """
        return self._rows("variants", columns, paragraph=self._paragraph_id(paragraph))

    def occurrences(
        self,
        *,
        document: Name | None = None,
        paragraph: str | None = None,
        text: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return the places where texts occur; with a condition, in the order of each document.

        Args:
            document: only those in this document.
            paragraph: only those of this paragraph and of the texts folded into it.
            text: only those of exactly this text.
            columns: only these columns.

        Columns:
            document_id string, ordinal int32, text_id string, start_char int64, end_char int64,
            start_byte int64?, end_byte int64?, shift_at list<int32>, shift_by list<int32>,
            stretch_start list<int32>, stretch_end list<int32>.
        """
        return self._rows(
            "occurrences",
            columns,
            "document_id, ordinal",
            document=self._document_id(document),
            texts=self._texts_of(paragraph),
            text=self._text_id(text),
        )

    def overlaps(
        self,
        *,
        text: str | None = None,
        relation: str | None = None,
        min_words: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return the stored overlaps: passages that two different texts share.

        Args:
            text: only those of this text, on either side.
            relation: only those of this relation: ``near``, ``contained`` or ``partial``.
            min_words: only those with at least this many matched words.
            columns: only these columns.

        Columns:
            left_text_id string, right_text_id string, left_start_char int64, left_end_char int64,
            right_start_char int64, right_end_char int64, left_passage string, right_passage string,
            left_words int32, right_words int32, matched_words int32, resemblance float32, score
            float32, relation string, says_same bool, left_share float32, right_share float32,
            run_id string.
        """
        if relation is not None:
            _arguments.choice("relation", relation, _RELATIONS)
        least = _arguments.number("min_words", min_words)
        text_id = self._text_id(text)
        sides = [{}] if text_id is None else [{"left": text_id}, {"right": text_id}]
        tables = [
            self._rows("overlaps", columns, relation=relation, min_matched=least, **side)
            for side in sides  # one by one: either condition alone skips most of a file
        ]
        return pa.concat_tables(tables)

    def documents(
        self,
        *,
        series: str | None = None,
        language: str | None = None,
        since: date | str | None = None,
        until: date | str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return articles, each once, however many sources it has.

        Args:
            series: only those of this series.
            language: only those in this language, an ISO 639-1 code.
            since: only those published then or later: a date, a time, or either in ISO 8601. A date
                means its midnight; without a time zone, UTC is assumed.
            until: only those published earlier. With either, documents without a date are left out.
            columns: only these columns.

        Columns:
            document_id string, sha256 string, media_type string, encoding string, encoding_from
            string, decode_errors int32, title string?, author string?, site string?, published_at
            timestamp?, published_from string, series string?, language string?, extractor string,
            extractor_version string, bytes int64, characters int64, paragraphs int32, unanchored
            int32, words int64, text_sha256 string, run_id string.
        """
        return self._rows(
            "documents",
            columns,
            series=series,
            language=language,
            since=_arguments.moment("since", since),
            until=_arguments.moment("until", until),
        )

    def sources(
        self, *, document: Name | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the files, and members of files, that documents were read from.

        Args:
            document: only those that contain this document.
            columns: only these columns.

        Columns:
            uri string, bytes int64, modified_at timestamp, document_id string, title string?,
            author string?, site string?, published_at timestamp?, published_from string, series
            string?, language string?, target_uri string?, captured_at timestamp?, run_id string.
        """
        return self._rows("sources", columns, document=self._document_id(document))

    def containers(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the files that contain several sources and were read to the end.

        Columns:
            uri string, bytes int64, modified_at timestamp, sources int64, rejects int64, run_id
            string.
        """
        return self._rows("containers", columns)

    def rejects(
        self, *, reason: str | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the sources that were rejected, with the reason.

        Args:
            reason: only those with this reason code.
            columns: only these columns.

        Columns:
            uri string, bytes int64?, modified_at timestamp?, reason string, detail string, run_id
            string.
        """
        if reason is not None:
            _arguments.choice("reason", reason, REJECT_REASONS)
        return self._rows("rejects", columns, reason=reason)

    def runs(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the runs that wrote the archive, with their settings and counts.

        Columns:
            run_id string, version string, settings string, seal string, started_at timestamp,
            finished_at timestamp, flow_run_id string?, sources_found int64, sources_new int64,
            sources_known int64, sources_rejected int64, documents_new int64, bytes_read int64,
            paragraphs_seen int64, paragraphs_unanchored int64, texts_new int64, texts_folded int64,
            candidates int64, crowds int64, overlaps_found int64.
        """
        return self._rows("runs", columns)

    def removals(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the documents that were removed on request.

        Columns:
            document_id string, reason string, removed_at timestamp, run_id string.
        """
        return self._rows("removals", columns)

    def passages(
        self,
        document: Name | None = None,
        other: Name | None = None,
        *,
        clear: bool = False,
        without_recurring: bool = False,
        across_series: bool = False,
        min_words: int = 0,
        limit: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> pa.Table:
        """Return the passages that documents share, longest first.

        Whole documents are aligned; the earlier one is on the left. Passages are not stored: each
        pair of documents takes about a millisecond, and all passages of a large archive take
        minutes, so start with a document or a limit. The first call on a machine compiles kernels,
        for two or three minutes.

        Args:
            document: only passages of this document, on either side.
            other: only those that it shares with this one, even if there is no overlap of the two.
            clear: only passages too long or too alike to be chance.
            without_recurring: leave out text that occurs in many documents.
            across_series: leave out passages within one series.
            min_words: only those with at least this many matched words.
            limit: at most this many, from the documents that share most: nearly the longest.
            settings: how passages are found, as in ``{"clear_score": 12}``; by default as the
                archive was created for. ``palimpsest passages --set`` takes the same.

        Columns:
            left_document_id string, left_uri string, left_published_at timestamp?,
            left_published_from string, left_start_char int64, left_end_char int64, left_words
            int64, left_passage string, right_document_id string, right_uri string,
            right_published_at timestamp?, right_published_from string, right_start_char int64,
            right_end_char int64, right_words int64, right_passage string, matched_words int64,
            resemblance float32, score float32, relation string, is_clear bool, is_recurring bool,
            direction string, document_resemblance float32.

        Raises:
            SettingsError: a name is unknown or ambiguous; a setting cannot be used.
        """
        from palimpsest.evidence.passages import PassageFilter, all_passages, top_passages

        row_limit = _arguments.number("limit", limit)
        chosen = self._passage_settings(settings)
        document_id, other_id = _arguments.pair(
            self._document_id(document), self._document_id(other)
        )
        conditions = PassageFilter(
            document_id=document_id,
            other_id=other_id,
            clear=clear,
            without_recurring=without_recurring,
            across_series=across_series,
            min_words=min_words,
        )
        _repr.warn_if_compiling()
        with reader_errors_as_damage(self._snapshot):
            if row_limit is None:
                return all_passages(self._snapshot, conditions, chosen)
            return top_passages(self._snapshot, conditions, row_limit, chosen)

    def explain(self, name: Name, other: Name | None = None, *, limit: int = 3) -> dict[str, Any]:
        """Return why two texts or documents match, or do not, like ``palimpsest explain``.

        Args:
            name: a document or a text: the left side.
            other: the right side; without it, everything that overlaps with the text ``name``.
            limit: at most this many pairs of texts.

        Returns:
            ``left`` and ``right``, the two sides; ``thresholds``; ``pairs_found``, and ``pairs``
            of texts with the buckets they share, their closest windows, their scores and their
            aligned words; ``passages`` of two documents, else None.

        Raises:
            SettingsError: a name is unknown or ambiguous, or both name the same.
        """
        from palimpsest.evidence.explain import explain
        from palimpsest.evidence.names import uri_or_id

        names = uri_or_id(name), None if other is None else uri_or_id(other)
        _repr.warn_if_compiling()
        with reader_errors_as_damage(self._snapshot):
            return explain(self._snapshot, *names, _arguments.number("limit", limit) or 0)

    def document(self, name: Name) -> dict[str, Any]:
        """Return a document: its row in ``documents``, and ``uris``, those of all its sources."""
        document_id = self._known_document(name)
        [row] = self._rows("documents", None, document=document_id).to_pylist()
        return {**row, "uris": uris_of(self._snapshot, document_id)}

    def paragraph(self, name: str) -> dict[str, Any]:
        """Return the paragraph that a text is, or is folded into: its row in ``paragraphs``."""
        paragraph_id = self._paragraph_id(name)
        [row] = self._rows("paragraphs", None, paragraph=paragraph_id).to_pylist()
        return dict(row)

    def text(self, document: Name) -> str:
        """Return the text of a document, rebuilt from the tables: paragraphs and empty lines.

        Raises:
            SettingsError: the name is unknown or ambiguous.
            ContractError: the text differs from the one that was read: the archive is damaged.
        """
        document_id = self._known_document(document)
        with reader_errors_as_damage(self._snapshot):
            return rebuild_document(self._snapshot, document_id)

    def raw(self, document: Name) -> bytes:
        """Return the raw bytes of a document, read again from its source and checked.

        ``start_byte`` and ``end_byte`` are offsets into them: into a page without HTTP headers, a
        line of JSON without its line end, a decompressed member.

        Raises:
            SettingsError: the name is unknown or ambiguous.
            SourceError: no source has these bytes any more; the detail says why for each.
        """
        from palimpsest.evidence.raw import read_raw

        document_id = self._known_document(document)
        uris = uris_of(self._snapshot, document_id)
        return read_raw(document_id, uris, self._snapshot.settings().read).content

    def sql(
        self,
        query: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        tables: Mapping[str, Any] | None = None,
    ) -> pa.Table:
        """Return the result of a DuckDB query over all tables and views of this version.

        The views are ``witnesses`` (occurrences with title, date and URI of their documents),
        ``folds`` (each text with its paragraph), ``recurring`` (texts in many documents),
        ``pieces`` (overlaps and equal texts, placed in documents) and ``passages`` (what documents
        share, text by text). Write ``"overlaps"`` in quotation marks, since it is a keyword of SQL.
        Times are in UTC. Each query has a database of its own: tables that it creates last until it
        ends. It can read other files, and write them with ``COPY ... TO``; do not let it write into
        the archive.

        Args:
            query: SQL; of several statements the last one gives the result.
            parameters: a value for each ``?`` in order, or for each ``$name`` by name.
            tables: more tables that the query may name: Arrow tables or data frames.

        Raises:
            SettingsError: the query fails; the message is DuckDB's.
        """
        return run_query(self._snapshot, query, parameters, tables)

    def verify(self, *, tables_only: bool = False, report: Report | None = None) -> dict[str, Any]:
        """Check this version: its files, keys and references, and its texts against the raw files.

        Args:
            tables_only: skip the checks that need the raw files.
            report: called with the name of a step, how many of its parts are done, and their
                number.

        Returns:
            ``version``; ``failed``, the number of failures; ``checks``, each with its ``name``, how
            many items ``passed``, ``failed`` and were ``not_checked``, and examples of why.
        """
        from palimpsest.pipeline.verify import verify

        _repr.warn_if_compiling()
        verification = verify(
            self._place, self._snapshot, tables_only=tables_only, report=by_name(report)
        )
        return verification.to_dict()

    def remove(
        self, documents: Name | Iterable[Name], reason: str, *, wait_seconds: float = 3600.0
    ) -> dict[str, Any]:
        """Remove documents from the archive and publish a version without them.

        Every text that only they contain is removed with them. Earlier versions still contain them
        until ``clean`` deletes these versions. ``newest`` returns the new version.

        Args:
            documents: one or several ids, URIs or paths; a URI removes each document found there.
            reason: recorded with the removal.
            wait_seconds: how long to wait while a run is writing.

        Returns:
            ``version``, the new one; ``documents``, the ids that were removed; ``paragraphs``,
            ``texts`` and ``overlaps``, the numbers of rows removed; ``run_id`` and ``archive``.

        Raises:
            SettingsError: a document is unknown, or the reason is empty.
            TransientError: a run has been writing to the archive for too long.
        """
        from palimpsest.evidence.names import uri_or_id
        from palimpsest.pipeline.remove import remove

        names = _arguments.names(documents)
        _repr.warn_if_compiling()
        return remove(
            self.name, [uri_or_id(name) for name in names], reason, wait_seconds
        ).to_dict()

    def compact(self, *, wait_seconds: float = 3600.0) -> dict[str, Any]:
        """Merge the archive's many small files into a few, and publish a version with these.

        The rows stay the same.

        Returns:
            ``version``, the new one; ``files_before`` and ``files_after``.

        Raises:
            TransientError: a run has been writing to the archive for too long.
        """
        from palimpsest.pipeline.compact import compact

        return compact(self.name, wait_seconds)

    def clean(self, keep: int = 1, *, wait_seconds: float = 3600.0) -> dict[str, Any]:
        """Delete old versions, and the leftovers of interrupted runs.

        Args:
            keep: how many versions to keep, including the newest one.
            wait_seconds: how long to wait while a run is writing.

        Returns:
            What was deleted, as ``palimpsest clean --json`` prints it.

        Raises:
            TransientError: a run has been writing to the archive for too long.
        """
        from palimpsest.store.versions import clean

        return clean(self._place, _arguments.number("keep", keep, least=1) or 1, wait_seconds)

    def reindex(self, *, wait_seconds: float = 3600.0) -> dict[str, Any]:
        """Rebuild the index from the tables if it is lost or damaged.

        Returns:
            ``version``, the new one, and ``texts``, how many texts are in the index.

        Raises:
            TransientError: a run has been writing to the archive for too long.
        """
        from palimpsest.pipeline.index_upkeep import reindex

        _repr.warn_if_compiling()
        return reindex(self.name, wait_seconds)

    def digest(self) -> str:
        """Return the digest of all tables; the order of sources and runs makes no difference."""
        from palimpsest.store.digest import digest_archive

        with reader_errors_as_damage(self._snapshot):
            return digest_archive(self._snapshot)

    def _opened(self, version: int | None) -> Archive:
        opened = Archive(self.name, version)
        opened._address = self._address
        return opened

    def _rows(
        self, table: str, columns: Sequence[str] | None, order: str = "", **conditions: Any
    ) -> pa.Table:
        """Return rows of a table that meet all ``_CONDITIONS`` for which there is a value."""
        names = _arguments.columns(table, columns)
        values = {name: value for name, value in conditions.items() if value is not None}
        where = [_CONDITIONS[name] for name in values]
        with reader_errors_as_damage(self._snapshot):
            return read_rows(
                self._snapshot, table, names, where=where, parameters=values, order=order
            )

    def _document_id(self, name: Name | None) -> str | None:
        return None if name is None else self._known_document(name)

    def _known_document(self, name: Name) -> str:
        from palimpsest.evidence.names import uri_or_id

        with reader_errors_as_damage(self._snapshot):
            return find_document(self._snapshot, uri_or_id(name))

    def _text_id(self, name: str | None) -> str | None:
        if name is None:
            return None
        with reader_errors_as_damage(self._snapshot):
            return find_text(self._snapshot, name)

    def _paragraph_id(self, name: str | None) -> str | None:
        text_id = self._text_id(name)
        if text_id is None:
            return None
        folded = self._rows("variants", ["paragraph_id"], text=text_id)
        return next(iter(folded.column("paragraph_id").to_pylist()), text_id)

    def _texts_of(self, paragraph: str | None) -> list[str] | None:
        paragraph_id = self._paragraph_id(paragraph)
        if paragraph_id is None:
            return None
        folded = self._rows("variants", ["text_id"], paragraph=paragraph_id)
        return [paragraph_id, *folded.column("text_id").to_pylist()]

    def _passage_settings(self, settings: Mapping[str, Any] | None) -> PassageSettings:
        level = self._snapshot.settings().sensitivity
        return parse_settings({"sensitivity": level, "passages": dict(settings or {})}).passages
