"""Templates, and what they may call; all that is not markup of ours is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from inspector.pages import charts
from inspector.terminal import name_of


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page."""
    return environment().get_template(template).render(values)


@cache
def environment() -> Environment:
    """Return the environment of all templates."""
    made = Environment(
        loader=PackageLoader("inspector.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": _count,
        "brief": _brief,
        "percent": lambda share: f"{share:.0%}",
        "day": lambda told: str(told)[:10] if told else "undated",
        "moment": lambda told: str(told)[:16].replace("T", " ") if told else "undated",
        "megabytes": _megabytes,
        "uri_name": name_of,
        "address": lambda value: quote(str(value), safe=""),
    }
    names = ("bars", "run_bars", "date_bars", "heat_map", "time_line")
    made.globals |= {name: getattr(charts, name) for name in names}
    return made


def _count(number: int, name: str = "") -> str:
    """Return a number of things in words.

    Example:
        >>> _count(1, "passage"), _count(1200, "passage")
        ('1 passage', '1,200 passages')
    """
    if not name:
        return f"{number:,}"
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _brief(number: int) -> str:
    """Return a number in few letters.

    Example:
        >>> _brief(950), _brief(1200), _brief(3_400_000)
        ('950', '1k', '3M')
    """
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.0f}{letter}"
    return str(number)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:,.1f} kB"
