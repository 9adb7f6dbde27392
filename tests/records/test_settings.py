from __future__ import annotations

import json
import os

import pytest
from pydantic import BaseModel, ValidationError

from palimpsest.records.errors import SettingsError
from palimpsest.records.settings import (
    SENSITIVITIES,
    ReadSettings,
    RunSettings,
    Settings,
    parse_settings,
)
from palimpsest.records.settings_reference import list_settings


def _faults(values: dict[str, dict[str, object]]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(values)
    return caught.value.faults


def test_defaults_apply_if_nothing_is_set():
    assert parse_settings({}) == Settings()


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"sensitivity": "reworded"},
        {"sensitivity": "reworded", "align": {"min_score": 3.0}},
        {"sensitivity": "verbatim", "sign": {"bands": 12}, "align": {"min_score": 5.0}},
        {"read": {"encoding": "cp1252", "series": "@folder"}, "run": {"wait_seconds": 5.0}},
        {"run": {"memory": 600_000_000, "workers": os.cpu_count()}},
        {"run": {"memory": 600_000_000, "batch_bytes": 1000, "runner": "processes"}},
    ],
)
def test_overrides_are_what_was_chosen_and_give_the_same_settings(chosen):
    settings = parse_settings(chosen)
    assert settings.overrides() == chosen
    assert parse_settings(settings.overrides()) == settings


def test_overrides_leave_out_what_is_the_default_anyway():
    assert parse_settings(Settings().model_dump(mode="json", exclude={"run"})).overrides() == {}


def test_values_reach_their_stage():
    settings = parse_settings({"sign": {"bands": 8}, "run": {"workers": 3}})
    assert (settings.sign.bands, settings.sign.rows, settings.run.workers) == (8, 3, 3)


def test_too_many_bands_are_refused_with_advice():
    assert _faults({"sign": {"bands": 16, "rows": 9}}) == (
        (
            "sign: bands x rows = 16 x 9 = 144 exceeds permutations = 57; "
            "lower one, or raise permutations to 144"
        ),
    )


def test_bands_and_rows_may_use_all_permutations():
    assert parse_settings({"sign": {"bands": 32, "rows": 4, "permutations": 128}})


def test_windows_consist_of_whole_strides():
    (fault,) = _faults({"sign": {"window_words": 20, "stride_words": 7, "rows": 9}})
    assert fault == (
        "sign: bands x rows = 19 x 9 = 171 exceeds permutations = 57; "
        "lower one, or raise permutations to 171; "
        "window_words = 20 is not a multiple of stride_words = 7; "
        "choose a multiple, since windows consist of whole strides"
    )


def test_crowd_has_no_more_heads_than_texts():
    assert parse_settings({"sign": {"crowd_texts": 8, "crowd_heads": 8}})
    assert _faults({"sign": {"crowd_texts": 8, "crowd_heads": 9}}) == (
        "sign: crowd_heads = 9 exceeds crowd_texts = 8; lower crowd_heads, or raise crowd_texts",
    )


def test_all_faults_are_reported_at_once_with_place_and_value():
    faults = _faults(
        {
            "read": {"encoding": "klingon", "max_paragraph_chars": 199},
            "sign": {"seed": -1, "bands": "many"},
            "align": {"min_resemblance": 1.5, "colour": "red"},
            "run": {"workers": 0},
            "nonsense": {},
        }
    )
    assert faults == (
        (
            "read.encoding = 'klingon': encoding 'klingon' is unknown; "
            "expected a name such as utf-8 or cp1252"
        ),
        "read.max_paragraph_chars = 199: expected a whole number of at least 200",
        "sign.seed = -1: expected a whole number of at least 0 and below 4294967296",
        "sign.bands = 'many': expected a whole number of at least 1",
        "align.min_resemblance = 1.5: expected a number above 0 and at most 1",
        (
            "align.colour = 'red': unknown setting of align; expected one of number_score, "
            "character_score, gap_cost, max_gap_words, min_score, min_resemblance, max_passages, "
            "fold_share"
        ),
        "run.workers = 0: expected a whole number of at least 1",
        "nonsense: unknown stage; expected one of sensitivity, read, sign, align, passages, run",
    )


def test_unknown_setting_is_answered_with_similar_names_first():
    (fault,) = _faults({"passages": {"clear": 1}})
    assert fault.startswith(
        "passages.clear = 1: unknown setting of passages; "
        "expected one of clear_score, clear_share, clear_strength, clear_resemblance"
    )
    (fault,) = _faults({"aling": {"min_score": 1}})
    assert fault.startswith("aling: unknown stage; expected one of align, sensitivity")


@pytest.mark.parametrize(
    ("stage", "name", "value", "expected"),
    [
        ("run", "memory", "lots", "a size such as 512MB, at least 400MB"),
        ("run", "memory", "1MB", "a size such as 512MB, at least 400MB"),
        ("run", "runner", "slurm", "threads, processes, dask or ray"),
        ("passages", "summary_share", 0.1, "a number above 0.2 and below 1"),
        ("read", "text_fields", 7, "names, separated by commas"),
    ],
)
def test_invalid_value_is_answered_with_the_expected_values(stage, name, value, expected):
    (fault,) = _faults({stage: {name: value}})
    assert fault == f"{stage}.{name} = {value!r}: expected {expected}"


def test_unknown_rule_for_series_is_refused_except_in_stored_settings():
    (fault,) = _faults({"read": {"series": "@foldr"}})
    assert fault == "read.series = '@foldr': expected a name, or one of @folder, @site"
    stored = parse_settings({"read": {"series": "@foldr"}}, is_stored=True)
    assert stored.read.series == "@foldr"


@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
def test_every_setting_is_listed_with_expected_values_and_meaning(sensitivity):
    listed = list_settings(sensitivity)
    settings = parse_settings({"sensitivity": sensitivity}).model_dump(mode="json")
    names = ["sensitivity"]
    for stage, values in settings.items():
        names += [f"{stage}.{name}" for name in values] if stage != "sensitivity" else []
    assert [one.name for one in listed] == names
    assert all(one.expected and one.meaning for one in listed)
    for one in listed:
        stage, _, name = one.name.partition(".")
        if one.name != "run.workers":
            assert one.default == (settings[stage][name] if name else settings[stage])
    fixed = {one.name for one in listed if one.is_fixed}
    assert "align.min_score" in fixed
    assert not fixed & {"read.series", "passages.clear_score", "run.workers"}


def test_message_has_one_line_for_each_fault():
    with pytest.raises(SettingsError) as caught:
        parse_settings({"run": {"workers": 0, "batch_bytes": 0}})
    assert str(caught.value) == "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize("encoding", ["hex", "base64", "rot13", "zlib", "idna", "unicode_escape"])
def test_encoding_of_something_other_than_text_is_refused(encoding):
    (fault,) = _faults({"read": {"encoding": encoding}})
    assert fault == (
        f"read.encoding = {encoding!r}: encoding {encoding!r} is not a text encoding; "
        "expected a name such as utf-8 or cp1252"
    )


def test_names_of_the_same_encoding_are_normalised():
    names = {ReadSettings(encoding=name).encoding for name in ("latin1", "ISO-8859-1", "L1")}
    assert names == {"iso8859-1"}


def test_settings_are_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().sign.bands = 3


def test_decisive_settings_are_json_without_the_run():
    stages = json.loads(Settings().decisive())
    assert set(stages) == {"sensitivity", "read", "sign", "align"}
    assert Settings.model_validate(stages).decisive() == Settings().decisive()


_OTHERS = {
    "encoding": "cp1252",
    "text_fields": ("story",),
    "metadata_fields": ("title=headline",),
    "date_from_path": "%Y%m%d",
    "series": "@site",
}


def _another(model: BaseModel, name: str) -> object:
    value = getattr(model, name)
    if name in _OTHERS:
        return _OTHERS[name]
    if name in {"rows", "bands", "stride_words"}:
        return value // 2
    return value * 2 if name == "window_words" or isinstance(value, int) else value * 0.9


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        (stage, name)
        for stage in ("read", "sign", "align")
        for name in type(getattr(Settings(), stage)).model_fields
    ],
)
def test_each_decisive_setting_changes_the_fingerprint(stage, name):
    changed = parse_settings({stage: {name: _another(getattr(Settings(), stage), name)}})
    assert changed.decisive() != Settings().decisive()
    assert changed.fingerprint({"ingest": 1}) != Settings().fingerprint({"ingest": 1})


def test_settings_of_the_run_change_neither_digest_nor_fingerprint():
    assert set(RunSettings.model_fields) == {
        "workers",
        "memory",
        "batch_bytes",
        "portion_bytes",
        "wait_seconds",
        "runner",
        "cluster",
    }
    changed = parse_settings(
        {
            "run": {
                "workers": 99,
                "memory": "2GB",
                "batch_bytes": 7,
                "portion_bytes": 7,
                "wait_seconds": 0,
                "runner": "dask",
                "cluster": "tcp://10.0.0.5:8786",
            }
        }
    )
    assert changed.decisive() == Settings().decisive()
    assert changed.fingerprint({"ingest": 1}) == Settings().fingerprint({"ingest": 1})


def test_version_of_any_stage_changes_the_fingerprint_and_their_order_does_not():
    fingerprint = Settings().fingerprint({"ingest": 1, "dedup": 1})
    assert Settings().fingerprint({"dedup": 1, "ingest": 1}) == fingerprint
    assert Settings().fingerprint({"ingest": 2, "dedup": 1}) != fingerprint
    assert Settings().fingerprint({"ingest": 1, "dedup": 1, "store": 1}) != fingerprint


def test_every_setting_has_a_description():
    for stage in ("read", "sign", "align"):
        for name, field in type(getattr(Settings(), stage)).model_fields.items():
            assert field.description, f"{stage}.{name}"


def test_memory_limit_determines_batches_and_portions_unless_they_are_set():
    little, more = (RunSettings(memory=size) for size in ("512MB", "1GB"))
    assert little.memory == 512 * 10**6
    assert 0 < little.batch_bytes < little.portion_bytes < more.portion_bytes
    assert more.portion_bytes < RunSettings().portion_bytes * 2
    given = RunSettings(memory="1GB", portion_bytes=10**6)
    assert (given.portion_bytes, given.batch_bytes) == (10**6, more.batch_bytes)


@pytest.mark.parametrize("memory", ["100MB", "much", -5])
def test_too_little_memory_and_invalid_sizes_are_refused(memory):
    with pytest.raises(SettingsError, match=r"run\.memory"):
        parse_settings({"run": {"memory": memory}})
