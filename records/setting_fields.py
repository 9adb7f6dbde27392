"""The fields of settings in words: which values each takes, and which names are like another."""

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
"""Settings that are texts, and what is expected of them."""


def similar_names(model: type[BaseModel], names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the names that an unknown one may have been meant for.

    Args:
        model: of all settings.
        names: the stage, or the stage and the name in it.

    Returns:
        ``stage``, or of which stage it is a setting, and the known names, those like the given
        one first.
    """
    known, kind = list(model.model_fields), "stage"
    if len(names) > 1 and names[0] in known:
        inner = model.model_fields[names[0]].annotation
        known, kind = list(getattr(inner, "model_fields", ())), f"setting of {names[0]}"
    given = names[-1]
    close = [name for name in known if name.startswith(given) or given in name]
    close += [name for name in difflib.get_close_matches(given, known) if name not in close]
    return kind, close + [name for name in known if name not in close]


def expected_values(name: str, field: FieldInfo) -> str:
    """Return in words which values a setting takes."""
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
    """Give the fields of a model and of those within it, by their whole names."""
    for name, field in model.model_fields.items():
        if _is_stage(field.annotation):
            yield from fields_of(field.annotation, f"{name}.")
        else:
            yield prefix + name, field


def _is_stage(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
