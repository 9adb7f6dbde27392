"""Settings, a model per stage, and a fingerprint of those that can change the rows."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from palimpsest.records.document_facts import READABLE_FACTS
from palimpsest.records.errors import SettingsError
from palimpsest.records.setting_fields import expected_values, fields_of, similar_names

MERGE_GAP_CHARS = 40
"""Passages of two documents that are at most this far apart on both sides are merged."""
MIN_EXACT_WORDS = 5
"""Identical texts of fewer words are not a passage; such a text is still stored only once."""

RECURRING_DOCUMENTS = 10
"""A text that recurs in at least this many documents is boilerplate, or news of several days."""

LEAST_MEMORY = 400 * 10**6
"""Least memory with which a run makes progress: the program itself and a few articles."""
_PROGRAM_BYTES = 300 * 10**6
"""Memory of the program with Prefect before it has read anything."""
_BYTES_PER_PORTION_BYTE = 25
"""Memory for each raw byte of a portion, with the old texts that it may be paired with."""

MAY_DIFFER = ("encoding", "metadata_fields", "date_from_path", "series", "page_seconds")
"""Settings of ``read`` that belong to the sources of a run, not to the archive."""

_YEAR, _LITERAL_PERCENT = re.compile("%[Yy]"), re.compile("%%")
SERIES_RULES = ("@folder", "@site")
"""Series that take their name from each source."""
_IS_STORED = "is_stored"
_NOT_CHARSETS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
"""Text encodings of Python that no file of articles is written in."""

CLUSTER_RUNNERS = ("dask", "ray")
"""Runners on a cluster, which need its address."""

Share = Annotated[float, Field(gt=0.0, le=1.0)]


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReadSettings(_Stage):
    """How raw bytes become paragraphs."""

    encoding: str | None = Field(
        default=None, description="encoding of all sources; detected for each source if not set"
    )
    max_document_bytes: int = Field(
        default=512 * 2**20,
        ge=1,
        description="largest source that is read, in bytes; larger ones are rejected",
    )
    max_paragraph_chars: int = Field(
        default=2000,
        ge=200,
        description="longest paragraph, in characters; longer blocks are split at sentence ends",
    )
    text_fields: tuple[str, ...] = Field(
        default=("text", "body", "content"),
        min_length=1,
        description="fields with the text of a JSON line, of which the first present is used",
    )
    metadata_fields: tuple[str, ...] = Field(
        default=(),
        description="fields of JSON lines and sidecars under other names than the usual ones, such "
        "as title=headline; for " + ", ".join(READABLE_FACTS),
    )
    date_from_path: str | None = Field(
        default=None,
        description="format of dates in the paths of sources, such as %Y%m%d; used if a source "
        "itself has no date",
    )
    series: str | None = Field(
        default=None,
        min_length=1,
        description="series of all sources; @folder or @site names it after each source's own",
    )
    page_seconds: float = Field(
        default=30.0, gt=0.0, description="time limit for extracting a page, in seconds"
    )

    @field_validator("text_fields", "metadata_fields", mode="before")
    @classmethod
    def _is_listed(cls, names: Any) -> Any:
        return [name.strip() for name in names.split(",")] if isinstance(names, str) else names

    @field_validator("metadata_fields")
    @classmethod
    def _names_facts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            fact, _, field = name.partition("=")
            if fact not in READABLE_FACTS or not field:
                raise ValueError(
                    f"metadata_fields: found {name!r}; expected FACT=FIELD, where FACT is one of "
                    + ", ".join(READABLE_FACTS)
                )
        return names

    @field_validator("date_from_path")
    @classmethod
    def _has_year(cls, pattern: str | None) -> str | None:
        if pattern is not None and not _YEAR.search(_LITERAL_PERCENT.sub("", pattern)):
            raise ValueError(
                f"date_from_path {pattern!r} has no year; expected a pattern with %Y or %y, as in "
                "%Y%m%d or %Y/%m/%d"
            )
        return pattern

    @field_validator("series")
    @classmethod
    def _is_name_or_rule(cls, series: str | None, info: ValidationInfo) -> str | None:
        is_stored = (info.context or {}).get(_IS_STORED, False)
        if series and series[0] == "@" and series not in SERIES_RULES and not is_stored:
            raise ValueError(f"expected a name, or one of {', '.join(SERIES_RULES)}")
        return series

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        if encoding is None:
            return None
        try:
            found = codecs.lookup(encoding)
        except LookupError:
            raise ValueError(
                f"encoding {encoding!r} is unknown; expected a name such as utf-8 or cp1252"
            ) from None
        # There is no public test for a text encoding.
        if not found._is_text_encoding or found.name in _NOT_CHARSETS:  # noqa: SLF001
            raise ValueError(
                f"encoding {encoding!r} is not a text encoding; "
                "expected a name such as utf-8 or cp1252"
            )
        return found.name


class SignSettings(_Stage):
    """How texts are cut into windows, and windows signed (MinHash, scheme affine32)."""

    window_words: int = Field(default=20, ge=2, description="length of a window, in content words")
    stride_words: int = Field(
        default=10, ge=1, description="distance from one window to the next, in content words"
    )
    permutations: int = Field(default=57, ge=1, description="components of a signature")
    seed: int = Field(default=1, ge=0, lt=2**32, description="seed of the permutations")
    bands: int = Field(default=19, ge=1, description="number of bands of a signature")
    rows: int = Field(default=3, ge=1, description="components in each band")
    crowd_texts: int = Field(
        default=64,
        ge=1,
        description="largest bucket of which all texts are paired; a larger one is a crowd",
    )
    crowd_heads: int = Field(
        default=4,
        ge=1,
        description="texts of a crowd that are paired with all others in it, about; up to four times "
        "as many in larger crowds",
    )
    min_shared_shingles: int = Field(
        default=5,
        ge=1,
        description="minimum shingles that two windows in a bucket share to be a candidate",
    )
    min_shared_share: Share = Field(
        default=0.45, description="minimum share of the shorter window's shingles that they share"
    )
    fingerprint_shingles: int = Field(
        default=4,
        ge=0,
        description="consecutive shingles in a fingerprint, by which short quotations are found; 0 "
        "for no fingerprints",
    )
    fingerprint_window: int = Field(
        default=2, ge=1, description="consecutive fingerprints of which one is kept"
    )
    fingerprint_texts: int = Field(
        default=12, ge=2, description="maximum texts with one fingerprint that it pairs"
    )
    fingerprint_shared: int = Field(
        default=5,
        ge=1,
        description="minimum shingles that two windows with one fingerprint share to be a candidate",
    )

    @property
    def all_bands(self) -> int:
        """Number of bands, with that of the fingerprints, the last one."""
        return self.bands + (self.fingerprint_shingles > 0)

    def of_band(self, band: int) -> SignSettings:
        """Return the settings by which a band pairs texts."""
        if band < self.bands:
            return self
        limits = {
            "crowd_texts": self.fingerprint_texts,
            "crowd_heads": 0,
            "min_shared_shingles": self.fingerprint_shared,
            "min_shared_share": 0.0,
        }
        return self.model_copy(update=limits)

    @model_validator(mode="after")
    def _fits(self) -> SignSettings:
        faults = []
        used = self.bands * self.rows
        if used > self.permutations:
            faults.append(
                f"bands x rows = {self.bands} x {self.rows} = {used} exceeds permutations = "
                f"{self.permutations}; lower one, or raise permutations to {used}"
            )
        if self.window_words % self.stride_words:
            faults.append(
                f"window_words = {self.window_words} is not a multiple of stride_words = "
                f"{self.stride_words}; choose a multiple, since windows consist of whole strides"
            )
        if self.crowd_heads > self.crowd_texts:
            faults.append(
                f"crowd_heads = {self.crowd_heads} exceeds crowd_texts = {self.crowd_texts}; "
                "lower crowd_heads, or raise crowd_texts"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self


class AlignSettings(_Stage):
    """How candidates are aligned, and which passages are kept. A matched content word scores 1."""

    number_score: float = Field(
        default=0.3, ge=0.0, le=1.0, description="score of a matched number"
    )
    character_score: float = Field(
        default=0.4,
        ge=0.0,
        le=1.0,
        description="score of a matched character or syllable that is less than a word",
    )
    gap_cost: float = Field(
        default=0.15,
        ge=0.01,
        description="cost of each content word skipped, on the side where more are skipped",
    )
    max_gap_words: int = Field(
        default=12, ge=0, description="maximum content words skipped between two matches"
    )
    min_score: float = Field(default=4.5, gt=0.0, description="minimum score of a passage")
    min_resemblance: Share = Field(
        default=0.35, description="minimum resemblance of the two sides of a passage"
    )
    max_passages: int = Field(default=8, ge=1, description="maximum passages of one pair of texts")
    fold_share: Share = Field(
        default=0.8,
        description="minimum share of words aligned: of both texts for near-duplicates, of one for "
        "contained texts",
    )


class PassageSettings(_Stage):
    """How the passages of two documents are found on request.

    They are computed from the documents themselves, so these settings do not affect the archive.
    """

    gap_cost: float = Field(default=0.25, ge=0.01, description="as in align, for documents")
    max_gap_words: int = Field(default=12, ge=0, description="as in align, for documents")
    chain_score: float = Field(
        default=1.2, gt=0.0, description="minimum score of a chain that may be joined to others"
    )
    max_chains: int = Field(
        default=60,
        ge=1,
        description="maximum chains of two documents; of long ones, for each 1,024 content words",
    )
    merge_words: int = Field(
        default=60,
        ge=0,
        description="maximum words between two chains of one passage, on each side",
    )
    merge_reach: float = Field(
        default=8.0,
        gt=0.0,
        description="words between two chains of one passage, at most, for each point of the weaker "
        "chain's score",
    )
    unshared_cost: float = Field(
        default=0.15, ge=0.0, description="cost of a content word that is on one side only"
    )
    repeat_power: float = Field(
        default=0.12,
        ge=0.0,
        description="weight of repeated words: one that occurs m and n times counts (m n)^-power",
    )
    clear_score: float = Field(default=5.0, ge=0.0, description="minimum score of a clear passage")
    clear_share: Share = Field(
        default=0.3, description="its minimum share of the best score of the two documents"
    )
    enough_score: float = Field(
        default=10.0, ge=0.0, description="score that is clear whatever the best one is"
    )
    clear_strength: float = Field(
        default=3.2, ge=0.0, description="its minimum score times its resemblance"
    )
    clear_resemblance: float = Field(
        default=0.35,
        ge=0.0,
        le=1.0,
        description="minimum resemblance of its content words, in any order",
    )
    clear_numbers: float = Field(
        default=0.45,
        ge=0.0,
        le=1.0,
        description="minimum share of its numbers that are on both sides, if there is one for every "
        "40 words",
    )
    clear_words: int = Field(default=20, ge=1, description="its minimum words on each side")
    strong_score: float = Field(
        default=0.0,
        ge=0.0,
        description="score of a passage that makes a search for summaries unnecessary; 0 for no "
        "search at all",
    )
    summary_share: float = Field(
        default=0.6,
        gt=0.2,
        lt=1.0,
        description="minimum share of a summary's words that are in the other text",
    )
    summary_score: float = Field(
        default=25.0, gt=0.0, description="minimum log-likelihood ratio of a summary, in nats"
    )
    summary_numbers: float = Field(
        default=0.6,
        ge=0.0,
        le=1.0,
        description="minimum share of the numbers of each part of a summary that are on both sides",
    )
    condensed_words: int = Field(
        default=0,
        ge=0,
        description="words between two clear passages, at most, that together are a summary",
    )
    condensed_ratio: float = Field(
        default=3.0, gt=0.0, description="how many times longer the other text of a summary is"
    )
    condensed_share: float = Field(
        default=0.35,
        ge=0.0,
        le=1.0,
        description="minimum share of the words of the shorter side of a summary that match",
    )
    condensed_most: int = Field(default=40, ge=0, description="matched words of each, at most")
    stem_letters: int = Field(
        default=0,
        ge=0,
        description="number of first letters by which content words are compared; 0 for all",
    )
    sentence_words: int = Field(
        default=0,
        ge=0,
        description="maximum words by which a clear passage is extended to the end of its sentence",
    )
    recurring_documents: int = Field(
        default=RECURRING_DOCUMENTS,
        ge=2,
        description="minimum documents in which a recurring text occurs or shares a passage",
    )


class RunSettings(_Stage):
    """How a run is executed. None of these settings may change its result."""

    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="number of concurrent tasks"
    )
    runner: Literal["threads", "processes", "dask", "ray"] = Field(
        default="threads", description="where tasks run"
    )
    cluster: str | None = Field(
        default=None,
        min_length=1,
        description="address of a Dask or Ray cluster; if not set, one is started on this machine",
    )
    memory: ByteSize | None = Field(
        default=None,
        ge=LEAST_MEMORY,
        description="memory limit of a run in this process, such as 512MB; sets batch_bytes and "
        "portion_bytes unless they are set, and lower limits are slower",
    )
    batch_bytes: int = Field(default=16 * 2**20, ge=1, description="size of a batch, in raw bytes")
    portion_bytes: int = Field(
        default=128 * 2**20,
        ge=1,
        description="raw bytes of new files that are matched and committed together",
    )
    wait_seconds: float = Field(
        default=3600.0, ge=0.0, description="how long to wait for another run, in seconds"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_what_memory_allows(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("memory") is None:
            return values
        try:
            memory = TypeAdapter(ByteSize).validate_python(values["memory"])
        except ValidationError:
            return values  # the field itself reports it
        portion = max(1, (memory - _PROGRAM_BYTES) // _BYTES_PER_PORTION_BYTE)
        return {"batch_bytes": max(1, portion // 4), "portion_bytes": portion} | values

    @model_validator(mode="after")
    def _can_be_reached(self) -> RunSettings:
        if self.cluster is not None and self.runner not in CLUSTER_RUNNERS:
            raise ValueError(
                f"cluster = {self.cluster!r} has no effect with runner = {self.runner}; expected "
                f"runner = {' or '.join(CLUSTER_RUNNERS)}; set one of them, or remove cluster"
            )
        return self


SENSITIVITIES: dict[str, dict[str, dict[str, Any]]] = {
    "verbatim": {
        "sign": {
            "bands": 14,
            "rows": 4,
            "permutations": 56,
        },
        "align": {"min_score": 7.0, "min_resemblance": 0.5},
    },
    "edited": {},
    "reworded": {
        "sign": {
            "bands": 64,
            "rows": 2,
            "permutations": 128,
            "min_shared_shingles": 3,
            "min_shared_share": 0.2,
        },
        "align": {"min_score": 2.5, "min_resemblance": 0.15, "max_gap_words": 20},
        "passages": {
            "stem_letters": 6,
            "gap_cost": 0.18,
            "merge_reach": 12.0,
            "sentence_words": 6,
            "summary_score": 30.0,
            "clear_strength": 1.0,
            "clear_resemblance": 0.0,
            "clear_numbers": 0.0,
            "strong_score": 30.0,
            "condensed_words": 60,
            "condensed_ratio": 2.0,
            "condensed_most": 30,
        },
    },
}
"""Settings of each level that differ from the defaults; see docs/PASSAGES.md."""


class Settings(_Stage):
    """All settings of a run.

    ``sensitivity`` names a level: defaults of ``sign``, ``align`` and ``passages``, which explicit
    settings override.
    """

    sensitivity: Literal["verbatim", "edited", "reworded"] = Field(
        default="edited", description="how much of a passage may have been changed"
    )
    read: ReadSettings = Field(default_factory=ReadSettings)
    sign: SignSettings = Field(default_factory=SignSettings)
    align: AlignSettings = Field(default_factory=AlignSettings)
    passages: PassageSettings = Field(default_factory=PassageSettings)
    run: RunSettings = Field(default_factory=RunSettings)

    @model_validator(mode="before")
    @classmethod
    def _at_level(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        level = SENSITIVITIES.get(values.get("sensitivity", "edited"), {})
        stages = {
            stage: {**defaults, **values.get(stage, {})}
            for stage, defaults in level.items()
            if isinstance(values.get(stage, {}), Mapping)
        }
        return {**values, **stages}

    def overrides(self) -> dict[str, Any]:
        """Return as plain values what differs from the defaults of the level.

        ``parse_settings`` makes the same settings of them. What follows from ``run.memory`` is left
        out, and ``run.workers`` is kept if it was given, since its default varies by machine.
        """
        same = {"sensitivity": self.sensitivity, "run": {"memory": self.run.memory}}
        defaults = Settings.model_validate(same).model_dump(mode="json")
        defaults["sensitivity"], defaults["run"]["memory"] = "edited", None
        if "workers" in self.run.model_fields_set:
            defaults["run"]["workers"] = None
        chosen: dict[str, Any] = {}
        for stage, values in self.model_dump(mode="json").items():
            if not isinstance(values, dict):
                differing = values if values != defaults[stage] else None
            else:
                differing = {n: one for n, one in values.items() if one != defaults[stage][n]}
            if differing:
                chosen[stage] = differing
        return chosen

    def decisive(self) -> str:
        """Return as JSON the settings that determine the rows of an archive, and the level.

        Those of ``run`` and ``passages`` are left out: they may change at any time.
        """
        values = self.model_dump(mode="json", include={"sensitivity", "read", "sign", "align"})
        return json.dumps(values, sort_keys=True)

    def fingerprint(self, stage_versions: Mapping[str, int]) -> str:
        """Return a fingerprint of the decisive settings and each stage's version, in hex."""
        parts = json.dumps([self.decisive(), dict(stage_versions)], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()


def parse_settings(values: Mapping[str, Any], *, is_stored: bool = False) -> Settings:
    """Return settings from plain values, stage by stage.

    Args:
        values: by stage.
        is_stored: whether they come from an archive, which may be older than some checks.

    Raises:
        SettingsError: with every fault, each as ``stage.name = value: what is wrong``.

    Example:
        >>> parse_settings({"sign": {"bands": 16, "rows": 9}})
        Traceback (most recent call last):
        ...
        palimpsest.errors.SettingsError: sign: bands x rows = 16 x 9 = 144 exceeds permutations = 57; \
lower one, or raise permutations to 144
    """
    try:
        return Settings.model_validate(values, context={_IS_STORED: is_stored})
    except ValidationError as error:
        raise SettingsError([_fault_text(fault) for fault in error.errors()]) from error


def _fault_text(fault: Any) -> str:
    """Return the message for a fault that pydantic found, with the values expected."""
    names, value = [str(part) for part in fault["loc"]], fault["input"]
    shown = f" = {value!r}" if isinstance(value, str | int | float) else ""
    field = dict(fields_of(Settings)).get(".".join(names))
    if fault["type"] == "extra_forbidden":
        kind, known = similar_names(Settings, names)
        message = f"unknown {kind}; expected one of {', '.join(known)}"
    elif fault["type"] == "value_error" or field is None:
        message = fault["msg"].removeprefix("Value error, ")
    else:
        message = f"expected {expected_values('.'.join(names), field)}"
    return f"{'.'.join(names)}{shown}: {message}"
