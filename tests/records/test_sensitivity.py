"""Sensitivity is one named setting, which single settings override."""

import pytest

from palimpsest.cli.main import main
from palimpsest.records.errors import SettingsError
from palimpsest.records.settings import (
    SENSITIVITIES,
    AlignSettings,
    PassageSettings,
    Settings,
    SignSettings,
    parse_settings,
)


def test_edited_is_the_default_and_changes_nothing() -> None:
    assert Settings() == Settings(sensitivity="edited")
    assert (Settings().sign, Settings().align) == (SignSettings(), AlignSettings())


@pytest.mark.parametrize("level", SENSITIVITIES)
def test_level_sets_what_it_names_and_nothing_else(level: str) -> None:
    settings = parse_settings({"sensitivity": level})
    defaults = {"sign": SignSettings(), "align": AlignSettings(), "passages": PassageSettings()}
    for stage, model in defaults.items():
        expected = model.model_dump() | SENSITIVITIES[level].get(stage, {})
        assert getattr(settings, stage).model_dump() == expected
    assert settings.read == Settings().read


def test_levels_differ_in_what_decides_the_rows() -> None:
    assert len({parse_settings({"sensitivity": one}).decisive() for one in SENSITIVITIES}) == 3


def test_single_settings_override_the_level() -> None:
    settings = parse_settings({"sensitivity": "reworded", "sign": {"bands": 32}})
    assert (settings.sign.bands, settings.sign.rows) == (32, 2)
    whole = SignSettings(bands=7)
    assert Settings(sensitivity="reworded", sign=whole).sign == whole


def test_level_survives_json() -> None:
    settings = parse_settings({"sensitivity": "reworded", "sign": {"seed": 5}})
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_of_passages_do_not_affect_the_archive() -> None:
    looking = parse_settings({"passages": {"clear_score": 99}})
    assert looking.decisive() == Settings().decisive()


def test_command_line_offers_all_levels() -> None:
    for name in ("ingest", "compare"):
        [option] = [one for one in main.commands[name].params if one.name == "sensitivity"]
        assert list(option.type.choices) == list(SENSITIVITIES)  # type: ignore[attr-defined]


def test_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"sensitivity.*verbatim.*edited.*reworded"):
        parse_settings({"sensitivity": "exact"})
