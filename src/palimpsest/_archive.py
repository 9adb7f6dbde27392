"""An archive as notebooks and scripts see it: one version, and a method for whatever is in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from palimpsest import _arguments, _repr
from palimpsest.records.schemas import REJECT_REASONS, TABLES
from palimpsest.records.settings import PassageSettings, parse_settings
from palimpsest.store.address import open_archive
from palimpsest.store.find import find_text, uris_of
from palimpsest.store.query import read_rows, reader_errors_as_damage, run_query
from palimpsest.store.rebuild import find_document, rebuild_document
from palimpsest.store.versions import list_versions

Name = str | os.PathLike[str]
Report = Callable[[str, int, int], None]

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
"""What a row must meet, by the name of what it is compared with."""


class Archive:
    """One version of an archive, to be read.

    Whatever is published later, an ``Archive`` shows what it showed when it was made, and cleaning
    spares that version while it lives (on an object store, only what has been brought). It holds
    nothing else, neither a connection nor an open table: threads may share one, processes may be
    forked beside it, and it can be pickled; who unpickles it opens the same version.

    Methods that tell of many things return Arrow tables; ``table.to_pandas()`` and
    ``polars.from_arrow(table)`` make data frames of them. Each docstring lists the columns with
    their types. There ``timestamp`` is ``timestamp[us, tz=UTC]``, and ``?`` marks what may be null.
    Conditions are told to what reads the files, so that little is read for few rows, and with
    ``columns`` only these are read.

    A document is named by its id, the first 8 letters of it or more, the URI of one of its sources,
    or a path; a text or paragraph by its id, or the first 8 letters of it or more.

    Args:
        address: the path of an archive, or ``s3://BUCKET/NAME``. What is elsewhere is brought to
            this machine when it is used, table by table, and kept.
        version: as of this version; the newest unless given. ``versions`` lists them.

    Raises:
        SettingsError: there is no archive, or no such version.
        ContractError: it was written by another format of Palimpsest.
    """

    __slots__ = ("__weakref__", "_place", "_shown", "_snapshot")

    def __init__(self, address: str | os.PathLike[str], version: int | None = None) -> None:
        self._shown = os.fspath(address)
        is_address = "://" in self._shown
        self._place = open_archive(self._shown if is_address else Path(self._shown).expanduser())
        self._snapshot = self._place.snapshot(_arguments.number("version", version, least=1))

    def __reduce__(self) -> tuple[Any, ...]:
        return Archive, (self.name, self.version)

    def __repr__(self) -> str:
        return _repr.as_line(self._shown, self._snapshot)

    def _repr_html_(self) -> str:
        return _repr.as_html(self._shown, self._snapshot)

    @property
    def name(self) -> str:
        """Where the archive is: its whole path, or its address."""
        return self._place.name

    @property
    def version(self) -> int:
        """The number of the version that is shown, from 1."""
        return self._snapshot.manifest.version

    @property
    def rows(self) -> dict[str, int]:
        """How many rows each table has; no file is read for it."""
        return {name: self._snapshot.rows(name) for name in TABLES}

    def versions(self) -> pa.Table:
        """Return the versions that are there now, the first one first.

        Columns:
            version int64, published_at timestamp, operation string, run_id string, documents int64,
            paragraphs int64, files int64, bytes int64, path string.
        """
        told = list_versions(self._place)
        for one in told:
            one["published_at"] = datetime.fromisoformat(one["published_at"])
        return pa.Table.from_pylist(told, schema=_repr.VERSIONS)

    def at(self, version: int) -> Archive:
        """Return the archive as of another version.

        Raises:
            SettingsError: there is no such version, or no more.
        """
        return self._opened(version)

    def newest(self) -> Archive:
        """Return the archive as it is now; this one goes on to show what it showed."""
        return self._opened(None)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a table, by its name, in the order of its files.

        Raises:
            SettingsError: there is no such table, or no such column in it.
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
        """Return paragraphs, each once, with the earliest place that it is known from.

        Args:
            containing: only those with this in their text, in large or small letters.
            document: only those whose earliest place is in this document; ``occurrences`` has all
                that stand in it.
            language: only those in this language, an ISO 639-1 code.
            min_words: only those of at least so many words.
            columns: these only.

        Columns:
            paragraph_id string, text string, words int32, language string?, document_id string, uri
            string, title string?, published_at timestamp?, ordinal int32, start_char int64,
            end_char int64, start_byte int64?, end_byte int64?, run_id string.
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
        """Return the texts that were folded into paragraphs which they nearly repeat.

        Args:
            paragraph: only those that were folded into this one.
            columns: these only.

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
        """Return places where texts stand; those that are asked for in the order of the document.

        Args:
            document: only those in this document: all that it holds.
            paragraph: only those of this paragraph and of the texts folded into it.
            text: only those of this text, word for word.
            columns: these only.

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
        """Return passages that two different texts share, as they are stored.

        Args:
            text: only those of this text, on either side.
            relation: only those of texts that are near, contained or partial.
            min_words: only those with at least so many matched words.
            columns: these only.

        Columns:
            left_text_id string, right_text_id string, left_start_char int64, left_end_char int64,
            right_start_char int64, right_end_char int64, left_passage string, right_passage string,
            left_words int32, right_words int32, matched_words int32, resemblance float32, score
            float32, relation string, left_share float32, right_share float32, run_id string.
        """
        if relation is not None:
            _arguments.choice("relation", relation, _RELATIONS)
        least = _arguments.number("min_words", min_words)
        text_id = self._text_id(text)
        sides = [{}] if text_id is None else [{"left": text_id}, {"right": text_id}]
        found = [
            self._rows("overlaps", columns, relation=relation, min_matched=least, **side)
            for side in sides  # one after the other: either condition alone spares most of a file
        ]
        return pa.concat_tables(found)

    def documents(
        self,
        *,
        series: str | None = None,
        language: str | None = None,
        since: date | str | None = None,
        until: date | str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return articles, each once, whatever sources it is known from.

        Args:
            series: only those of this series.
            language: only those in this language, an ISO 639-1 code.
            since: only those published then or later: a date, a time, or either in ISO 8601. A date
                is its midnight, and what names no zone is UTC.
            until: only those published before. With either, documents without a date are left out.
            columns: these only.

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
            document: only those that hold this document.
            columns: these only.

        Columns:
            uri string, bytes int64, modified_at timestamp, document_id string, title string?,
            author string?, site string?, published_at timestamp?, published_from string, series
            string?, language string?, target_uri string?, captured_at timestamp?, run_id string.
        """
        return self._rows("sources", columns, document=self._document_id(document))

    def containers(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the files that hold many sources and were read to their ends.

        Columns:
            uri string, bytes int64, modified_at timestamp, sources int64, rejects int64, run_id
            string.
        """
        return self._rows("containers", columns)

    def rejects(
        self, *, reason: str | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return what was refused, and why.

        Args:
            reason: only those for this reason, by its code.
            columns: these only.

        Columns:
            uri string, bytes int64?, modified_at timestamp?, reason string, detail string, run_id
            string.
        """
        if reason is not None:
            _arguments.choice("reason", reason, REJECT_REASONS)
        return self._rows("rejects", columns, reason=reason)

    def runs(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the runs that brought what there is, with their settings and counts.

        Columns:
            run_id string, version string, settings string, seal string, started_at timestamp,
            finished_at timestamp, flow_run_id string?, sources_found int64, sources_new int64,
            sources_known int64, sources_rejected int64, documents_new int64, bytes_read int64,
            paragraphs_seen int64, paragraphs_unanchored int64, texts_new int64, texts_folded int64,
            candidates int64, crowds int64, overlaps_found int64.
        """
        return self._rows("runs", columns)

    def removals(self, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the documents that were taken down.

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
        """Return what documents share, aligned from the documents as a whole, longest first.

        The earlier document is the left one. Nothing of it is stored: pairs of documents take about
        a millisecond each, and all passages of a large archive minutes, so name a document or a
        limit first. The first call on a machine compiles kernels, for about a minute.

        Args:
            document: only passages of this document, on either side.
            other: only those that it shares with this one, whether an overlap tells of them or not.
            clear: only those that are more than chance gives.
            without_recurring: without text that stands in many documents.
            across_series: without what documents of one series share.
            min_words: only those with at least so many matched words.
            limit: about the longest, at most so many: those of the documents that share most.
            settings: how passages are found, as in ``{"clear_score": 12}``; else as the archive
                was made for. ``palimpsest passages --set`` takes the same.

        Columns:
            left_document_id string, left_uri string, left_published_at timestamp?,
            left_published_from string, left_start_char int64, left_end_char int64, left_words
            int64, left_passage string, right_document_id string, right_uri string,
            right_published_at timestamp?, right_published_from string, right_start_char int64,
            right_end_char int64, right_words int64, right_passage string, matched_words int64,
            resemblance float32, score float32, relation string, is_clear bool, is_recurring bool,
            direction string.

        Raises:
            SettingsError: a name is unknown, or stands for several; a setting cannot be used.
        """
        from palimpsest.evidence.passages import PassageFilter, all_passages, top_passages

        at_most = _arguments.number("limit", limit)
        chosen = self._passage_settings(settings)
        one, another = _arguments.pair(self._document_id(document), self._document_id(other))
        flags = clear, without_recurring, min_words, across_series
        wanted = PassageFilter(one, *flags, another)
        _repr.warn_if_compiling()
        with reader_errors_as_damage(self._snapshot):
            if at_most is None:
                return all_passages(self._snapshot, wanted, chosen)
            return top_passages(self._snapshot, wanted, at_most, chosen)

    def explain(self, name: Name, other: Name | None = None, *, limit: int = 3) -> dict[str, Any]:
        """Return why two texts or documents were matched, or were not, as ``palimpsest explain``.

        Args:
            name: a document or a text: the left side.
            other: the right side; without it all that overlaps with the text ``name`` is told.
            limit: at most so many pairs of texts.

        Returns:
            ``left`` and ``right``, what was named; ``thresholds``; ``pairs_found``, and ``pairs``
            of texts with the buckets they share, their closest windows, their scores and their
            words, aligned; ``passages`` of two documents, null of anything else.

        Raises:
            SettingsError: a name is unknown or stands for several, or both stand for the same.
        """
        from palimpsest.evidence.explain import explain
        from palimpsest.evidence.names import uri_or_id

        names = uri_or_id(name), None if other is None else uri_or_id(other)
        _repr.warn_if_compiling()
        with reader_errors_as_damage(self._snapshot):
            return explain(self._snapshot, *names, _arguments.number("limit", limit) or 0)

    def document(self, name: Name) -> dict[str, Any]:
        """Return a document: its row of ``documents``, and ``uris``, those of all its sources."""
        document_id = self._known_document(name)
        [row] = self._rows("documents", None, document=document_id).to_pylist()
        return {**row, "uris": uris_of(self._snapshot, document_id)}

    def paragraph(self, name: str) -> dict[str, Any]:
        """Return the paragraph that stands for a text: its row of ``paragraphs``."""
        paragraph_id = self._paragraph_id(name)
        [row] = self._rows("paragraphs", None, paragraph=paragraph_id).to_pylist()
        return dict(row)

    def text(self, document: Name) -> str:
        """Return the text of a document, rebuilt from the tables: paragraphs and empty lines.

        Raises:
            SettingsError: the name is unknown, or stands for several documents.
            ContractError: what is rebuilt is not what was read: the archive is damaged.
        """
        document_id = self._known_document(document)
        with reader_errors_as_damage(self._snapshot):
            return rebuild_document(self._snapshot, document_id)

    def raw(self, document: Name) -> bytes:
        """Return the raw bytes of a document, read again from its source and checked.

        ``start_byte`` and ``end_byte`` count in them: in a page without HTTP headers, a line of
        JSON without its end, a member as it is when decompressed.

        Raises:
            SettingsError: the name is unknown, or stands for several documents.
            SourceError: no source has these bytes any more; the detail tells of each.
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
        """Return what a query gives, in DuckDB, over all tables and views of this version.

        The views are ``witnesses`` (occurrences with title, date and URI of their documents),
        ``folds`` (each text with its paragraph), ``recurring`` (texts in many documents),
        ``pieces`` (overlaps and equal texts, placed in documents) and ``passages`` (what documents
        share, text by text). ``"overlaps"`` is written in quotation marks, since it is a word of
        SQL. Times are in UTC. Each query is carried out by itself: what it makes is gone behind it.

        Args:
            query: SQL; of several statements the last one gives the result.
            parameters: a value for each ``?`` in order, or for each ``$name`` by name.
            tables: more tables that the query may name: Arrow tables or data frames.

        Raises:
            SettingsError: it cannot be carried out; what DuckDB says of it is told.
        """
        return run_query(self._snapshot, query, parameters, tables)

    def verify(self, *, tables_only: bool = False, report: Report | None = None) -> dict[str, Any]:
        """Check this version: its files, keys and references, and its texts against the raw files.

        Args:
            tables_only: skip the checks that need the raw files.
            report: called with the name of a step, how many parts of it are done, and of how many.

        Returns:
            ``version``; ``failed``, how many things failed; ``checks``, for each its ``name``, how
            many ``passed``, ``failed`` and were ``not_checked``, and examples of why.
        """
        from palimpsest.pipeline.verify import verify
        from palimpsest.records.progress import by_name

        _repr.warn_if_compiling()
        found = verify(self._place, self._snapshot, tables_only=tables_only, report=by_name(report))
        return found.to_dict()

    def remove(
        self, documents: Name | Iterable[Name], reason: str, *, wait_seconds: float = 3600.0
    ) -> dict[str, Any]:
        """Remove documents from the archive and publish a version without them.

        Every text that only they contain is removed with them; earlier versions still contain them
        until ``clean`` deletes these. This object goes on showing its version; ``newest`` returns
        the new one.

        Args:
            documents: ids, URIs or paths: one, or several; of a URI, each document found there.
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
        """Merge the archive's many small files into a few, and publish that; rows stay the same.

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
        """Return the digest of all tables: equal for equal sources, whatever the order of runs."""
        from palimpsest.store.digest import digest_archive

        with reader_errors_as_damage(self._snapshot):
            return digest_archive(self._snapshot)

    def _opened(self, version: int | None) -> Archive:
        opened = Archive(self.name, version)
        opened._shown = self._shown
        return opened

    def _rows(
        self, table: str, columns: Sequence[str] | None, order: str = "", **compared: Any
    ) -> pa.Table:
        """Return rows of a table that meet all conditions for which there is a value."""
        wanted = _arguments.columns(table, columns)
        values = {name: value for name, value in compared.items() if value is not None}
        where = [_CONDITIONS[name] for name in values]
        with reader_errors_as_damage(self._snapshot):
            return read_rows(self._snapshot, table, wanted, where, values, order)

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
