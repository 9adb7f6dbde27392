"""Render templates; everything but our own markup is escaped.

A template becomes a page of the server or a self-contained file. The file includes its style and
script and links to nothing outside; its content-security policy forbids loading anything and allows
only our own script, by its digest.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from palimpsest.inspector.pages import charts
from palimpsest.inspector.terminal import name_of
from palimpsest.records import __version__

# Not allowed in HTML or UTF-8: control characters, and surrogates from undecodable file names.
_NOT_ALLOWED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page of the server."""
    return _NOT_ALLOWED.sub("\ufffd", environment().get_template(template).render(values))


def render_file(template: str, values: Mapping[str, Any], *, with_script: bool) -> str:
    """Return a page as a self-contained file, which needs no server.

    Args:
        template: one that extends ``base_file.html``.
        values: variables of the template.
        with_script: include the script that handles keys and clicks.
    """
    style, script = _static("palimpsest.css"), _static("palimpsest.js") if with_script else ""
    parts = {"style": style, "script": script, "policy": policy_of(style, script)}
    page = environment(is_file=True).get_template(template)
    return _NOT_ALLOWED.sub("\ufffd", page.render(values, palimpsest=__version__, **parts))


def policy_of(style: str, script: str) -> str:
    """Return the policy of a file: load nothing, and apply only this style and script.

    Args:
        style: content of the only ``style`` element.
        script: content of the only ``script`` element; empty if there is none.
    """
    allowed = [("style-src", style), *([("script-src", script)] if script else [])]
    parts = [f"{name} '{_digest(content)}'" for name, content in allowed]
    return "; ".join(["default-src 'none'", *parts, "base-uri 'none'", "form-action 'none'"])


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


@cache
def _static(name: str) -> Markup:
    """Return a style sheet or script unescaped: it is our own, not from an article."""
    return Markup(files("palimpsest.inspector.pages").joinpath("static", name).read_text("utf-8"))  # noqa: S704


@cache
def environment(*, is_file: bool = False) -> Environment:
    """Return the environment of all templates.

    Args:
        is_file: whether the output is a self-contained file, with no server to link to.
    """
    templates = Environment(
        loader=PackageLoader("palimpsest.inspector.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "count": _count,
        "brief": _brief,
        "percent": lambda share: f"{share:.0%}",
        "day": lambda date: str(date)[:10] if date else "undated",
        "moment": lambda date: str(date)[:16].replace("T", " ") if date else "undated",
        "megabytes": _megabytes,
        "uri_name": name_of,
        "address": lambda value: quote(str(value), safe=""),
    }
    names = ("bar_chart", "run_bars", "date_bars", "heat_map", "time_line")
    templates.globals |= {name: getattr(charts, name) for name in names} | {"is_file": is_file}
    return templates


def _count(number: int, name: str = "") -> str:
    """Return a number, or a number of things.

    Example:
        >>> _count(1, "passage"), _count(1200, "passage")
        ('1 passage', '1,200 passages')
    """
    if not name:
        return f"{number:,}"
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _brief(number: int) -> str:
    """Return a number abbreviated to thousands or millions.

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
