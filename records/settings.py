"""Settings, a model per stage, with a digest of all that can change what comes out."""

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
"""Passages of two documents that are no farther apart on both sides are told as one."""
MIN_EXACT_WORDS = 5
"""An identical text of fewer words is no passage by itself; it is stored once all the same."""

RECURRING_DOCUMENTS = 10
"""A text that stands, or shares a passage, in so many documents is a formula, or news of days."""

LEAST_MEMORY = 400 * 10**6
"""With less no run is of use: so much is held for the program alone, and some articles."""
_HELD_ANYWAY = 300 * 10**6
"""Bytes that a run holds for the program, with Prefect, before it has read anything."""
_HELD_FOR_A_BYTE = 25
"""Bytes that it holds for each of a portion, and for the old texts that those may pair with."""

MAY_DIFFER = ("encoding", "metadata_fields", "date_from_path", "series", "page_seconds")
"""Settings of ``read`` that are of the sources of a run, not of the archive."""

_DAY, _LITERAL_PERCENT = re.compile("%[Yy]"), re.compile("%%")
SERIES_RULES = ("@folder", "@site")
"""Series that are named after each source."""
_IS_STORED = "is_stored"
_NO_CHARSETS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
"""What Python lists as encodings of text, but no file of articles is written in."""

CLUSTER_RUNNERS = ("dask", "ray")
"""What carries out tasks on a cluster, and so takes its address."""

Share = Annotated[float, Field(gt=0.0, le=1.0)]


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReadSettings(_Stage):
    """How raw bytes become paragraphs."""

    encoding: str | None = Field(
        default=None, description="encoding of all sources; found for each where not given"
    )
    max_document_bytes: int = Field(
        default=512 * 2**20, ge=1, description="a larger source is rejected, in bytes"
    )
    max_paragraph_chars: int = Field(
        default=2000, ge=200, description="a longer block is cut at sentence ends, in characters"
    )
    text_fields: tuple[str, ...] = Field(
        default=("text", "body", "content"),
        min_length=1,
        description="where the text of a JSON line is: the first of these fields that it has",
    )
    metadata_fields: tuple[str, ...] = Field(
        default=(),
        description="which fields of JSON lines and sidecars tell what, where their names are not "
        "the usual ones: title=headline, with " + ", ".join(READABLE_FACTS),
    )
    date_from_path: str | None = Field(
        default=None,
        description="how a date stands in the paths of sources, such as %Y%m%d; it counts where "
        "a source tells none itself",
    )
    series: str | None = Field(
        default=None,
        min_length=1,
        description="the series of all sources, or @folder or @site: what each is named after",
    )
    page_seconds: float = Field(
        default=30.0, gt=0.0, description="how long one page may take to be extracted"
    )

    @field_validator("text_fields", "metadata_fields", mode="before")
    @classmethod
    def _is_listed(cls, names: Any) -> Any:
        return [name.strip() for name in names.split(",")] if isinstance(names, str) else names

    @field_validator("metadata_fields")
    @classmethod
    def _names_facts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            fact, _, told_by = name.partition("=")
            if fact not in READABLE_FACTS or not told_by:
                raise ValueError(
                    f"metadata_fields: found {name!r}; expected FACT=FIELD, where FACT is one of "
                    + ", ".join(READABLE_FACTS)
                )
        return names

    @field_validator("date_from_path")
    @classmethod
    def _tells_dates(cls, pattern: str | None) -> str | None:
        if pattern is not None and not _DAY.search(_LITERAL_PERCENT.sub("", pattern)):
            raise ValueError(
                f"date_from_path {pattern!r} tells no year; expected one with %Y or %y, as in "
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
                f"encoding {encoding!r} is not known to Python; use a name such as utf-8 or cp1252"
            ) from None
        # No public test exists.
        if not found._is_text_encoding or found.name in _NO_CHARSETS:  # noqa: SLF001
            raise ValueError(f"encoding {encoding!r} does not encode text")
        return found.name


class SignSettings(_Stage):
    """How texts are cut into windows, and windows signed (MinHash, scheme affine32)."""

    window_words: int = Field(default=20, ge=2, description="content words in a window")
    stride_words: int = Field(
        default=10, ge=1, description="content words from one window to the next"
    )
    permutations: int = Field(default=57, ge=1, description="components of a signature")
    seed: int = Field(default=1, ge=0, lt=2**32, description="seed of the permutations")
    bands: int = Field(default=19, ge=1, description="bands that a signature is cut into")
    rows: int = Field(default=3, ge=1, description="components in a band")
    crowd_texts: int = Field(
        default=64, ge=1, description="a bucket of more texts than this is a crowd"
    )
    crowd_heads: int = Field(
        default=4,
        ge=1,
        description="texts of a crowd that are paired with all others in it, to four times as many",
    )
    min_shared_shingles: int = Field(
        default=5,
        ge=1,
        description="shingles that two windows in a bucket must share to be a candidate",
    )
    min_shared_share: Share = Field(
        default=0.45, description="and the share of the shingles of the shorter window"
    )

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
                f"{self.stride_words}; windows are made of whole strides"
            )
        if self.crowd_heads > self.crowd_texts:
            faults.append(
                f"crowd_heads = {self.crowd_heads} exceeds crowd_texts = {self.crowd_texts}; "
                "a crowd has fewer heads than texts"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self


class AlignSettings(_Stage):
    """How candidates are aligned word by word, and what is kept. One content word scores 1."""

    number_score: float = Field(default=0.3, ge=0.0, le=1.0, description="score of a number")
    character_score: float = Field(
        default=0.4, ge=0.0, le=1.0, description="score of a character of a script without blanks"
    )
    gap_cost: float = Field(
        default=0.15,
        ge=0.01,
        description="cost of a content word that is passed over, on the longer side",
    )
    max_gap_words: int = Field(
        default=12, ge=0, description="content words that may be passed over between two matches"
    )
    min_score: float = Field(default=4.5, gt=0.0, description="the least score of a passage")
    min_resemblance: Share = Field(
        default=0.35, description="the least share of matched words in a passage"
    )
    max_passages: int = Field(default=8, ge=1, description="passages taken from one pair of texts")
    fold_share: Share = Field(
        default=0.8,
        description="near-duplicate: this share of both texts is aligned; contained: of one",
    )


class PassageSettings(_Stage):
    """How the passages of two documents are found when somebody asks for them.

    They are made from the documents themselves, so these settings decide nothing that is stored.
    """

    gap_cost: float = Field(default=0.18, ge=0.01, description="as in align, for documents")
    max_gap_words: int = Field(default=12, ge=0, description="as in align, for documents")
    chain_score: float = Field(
        default=1.5, gt=0.0, description="the least score of a chain that may be joined to others"
    )
    max_chains: int = Field(default=60, ge=1, description="chains taken from two documents")
    merge_words: int = Field(
        default=40, ge=0, description="words that may part two chains of a passage, on both sides"
    )
    unshared_cost: float = Field(
        default=0.15, ge=0.0, description="cost of a content word that stands on one side only"
    )
    repeat_power: float = Field(
        default=0.15,
        ge=0.0,
        description="a shared word that stands m and n times counts (m n) to minus this power",
    )
    clear_score: float = Field(default=5.0, ge=0.0, description="the least score of what is clear")
    clear_share: Share = Field(
        default=0.3, description="and the least share of the best score of the two documents"
    )
    clear_words: int = Field(default=15, ge=1, description="and the least words on each side")
    strong_score: float = Field(
        default=30.0, ge=0.0, description="summaries are looked for where nothing reaches this"
    )
    summary_share: float = Field(
        default=0.6, gt=0.2, lt=1.0, description="share of a summary's words that are in the other"
    )
    summary_score: float = Field(
        default=25.0, gt=0.0, description="the least log-likelihood ratio of a summary, in nats"
    )
    stem_letters: int = Field(
        default=0, ge=0, description="letters by which content words are told apart; 0 for all"
    )
    sentence_words: int = Field(
        default=0,
        ge=0,
        description="words from the end of a clear passage to that of a sentence that are added",
    )
    recurring_documents: int = Field(
        default=RECURRING_DOCUMENTS,
        ge=2,
        description="a text that stands, or shares a passage, in so many documents is recurring",
    )


class RunSettings(_Stage):
    """How a run is carried out; nothing here may change what comes out."""

    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="tasks at a time"
    )
    runner: Literal["threads", "processes", "dask", "ray"] = Field(
        default="threads", description="what carries out the tasks"
    )
    cluster: str | None = Field(
        default=None,
        min_length=1,
        description="address of a cluster of dask or ray; one on this machine where not given",
    )
    memory: ByteSize | None = Field(
        default=None,
        ge=LEAST_MEMORY,
        description="what a run in this process may hold, such as 512MB: from it follow "
        "batch_bytes and portion_bytes where these are not given",
    )
    batch_bytes: int = Field(default=16 * 2**20, ge=1, description="raw bytes in a batch")
    portion_bytes: int = Field(
        default=128 * 2**20,
        ge=1,
        description="raw bytes of new files that are matched and committed together",
    )
    wait_seconds: float = Field(
        default=3600.0, ge=0.0, description="how long to wait while another run is writing"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_what_memory_allows(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("memory") is None:
            return values
        try:
            memory = TypeAdapter(ByteSize).validate_python(values["memory"])
        except ValidationError:
            return values  # told by the field itself
        portion = max(1, (memory - _HELD_ANYWAY) // _HELD_FOR_A_BYTE)
        return {"batch_bytes": max(1, portion // 4), "portion_bytes": portion} | values

    @model_validator(mode="after")
    def _can_be_reached(self) -> RunSettings:
        if self.cluster is not None and self.runner not in CLUSTER_RUNNERS:
            raise ValueError(
                f"cluster = {self.cluster!r} is of no use to runner = {self.runner}; expected "
                f"runner = {' or '.join(CLUSTER_RUNNERS)}; name one, or leave the cluster out"
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
        "passages": {"stem_letters": 6, "sentence_words": 6, "summary_score": 30.0},
    },
}
"""By level, where it differs from the defaults; docs/PASSAGES.md tells what each level finds."""


class Settings(_Stage):
    """All settings of a run.

    ``sensitivity`` names a level: defaults of ``sign``, ``align`` and ``passages``. What is given
    for these besides goes before it.
    """

    sensitivity: Literal["verbatim", "edited", "reworded"] = Field(
        default="edited", description="how much may have been changed in a passage"
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
        told = {
            stage: {**defaults, **values.get(stage, {})}
            for stage, defaults in level.items()
            if isinstance(values.get(stage, {}), Mapping)
        }
        return {**values, **told}

    def decisive(self) -> str:
        """Return as JSON what an archive keeps: what decides its rows, and the level.

        Not how a run is carried out, nor how one looks, which may change at any time.
        """
        values = self.model_dump(mode="json", include={"sensitivity", "read", "sign", "align"})
        return json.dumps(values, sort_keys=True)

    def seal(self, stage_versions: Mapping[str, int]) -> str:
        """Return a digest of the decisive settings and of each stage's version, in hex."""
        parts = json.dumps([self.decisive(), dict(stage_versions)], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()


def parse_settings(values: Mapping[str, Any], *, is_stored: bool = False) -> Settings:
    """Return settings from plain values, stage by stage.

    Args:
        values: by stage.
        is_stored: they come from an archive, which may be older than some checks.

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
    """Return a fault that pydantic found, with what was expected."""
    where, given = [str(part) for part in fault["loc"]], fault["input"]
    shown = f" = {given!r}" if isinstance(given, str | int | float) else ""
    field = dict(fields_of(Settings)).get(".".join(where))
    if fault["type"] == "extra_forbidden":
        kind, names = similar_names(Settings, where)
        message = f"unknown {kind}; expected one of {', '.join(names)}"
    elif fault["type"] == "value_error" or field is None:
        message = fault["msg"].removeprefix("Value error, ")
    else:
        message = f"expected {expected_values('.'.join(where), field)}"
    return f"{'.'.join(where)}{shown}: {message}"
