"""The fields of settings: the values that each accepts, in words, and similar names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

_TEXTS = {
    "read.encoding": "a name such as utf-8 or cp1252",
    "read.date_from_path": "a pattern such as %Y%m%d",
    "read.metadata_fields": "FACT=FIELD, separated by commas",
    "read.text_fields": "names, separated by commas",
    "read.series": "a name, or @folder or @site",
    "run.cluster": "an address",
}
"""Expected values of settings that are strings."""


def similar_names(model: type[BaseModel], names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the known names that an unknown one may be a mistake for.

    Args:
        model: of all settings.
        names: the stage, or the stage and the setting's name in it.

    Returns:
        ``stage`` or ``setting of STAGE``, and all its known names, the most similar first.
    """
    known, kind = list(model.model_fields), "stage"
    if len(names) > 1 and names[0] in known:
        inner = model.model_fields[names[0]].annotation
        known, kind = list(getattr(inner, "model_fields", ())), f"setting of {names[0]}"
    unknown = names[-1]
    close = [name for name in known if name.startswith(unknown) or unknown in name]
    close += [name for name in difflib.get_close_matches(unknown, known) if name not in close]
    return kind, close + [name for name in known if name not in close]


def expected_values(name: str, field: FieldInfo) -> str:
    """Return the values that a setting accepts, in words."""
    kinds = [field.annotation]
    if get_origin(field.annotation) in {Union, UnionType}:
        kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    [kind] = kinds
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    if kind is ByteSize:
        [least] = [bound.ge for bound in field.metadata if hasattr(bound, "ge")]
        return f"a size such as 512MB, at least {least // 10**6}MB"
    if kind in {int, float}:
        noun = "a whole number" if kind is int else "a number"
        return f"{noun} {_bounds(field.metadata)}"
    return _TEXTS[name]


_BOUNDS = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}


def _bounds(metadata: Sequence[Any]) -> str:
    """Return the bounds of a number in words."""
    return " and ".join(
        f"{words} {str(getattr(bound, name)).removesuffix('.0')}"
        for bound in metadata
        for name, words in _BOUNDS.items()
        if hasattr(bound, name)
    )


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Iterate over the fields of a model and of nested models, with full dotted names."""
    for name, field in model.model_fields.items():
        if _is_stage(field.annotation):
            yield from fields_of(field.annotation, f"{name}.")
        else:
            yield prefix + name, field


def _is_stage(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
