"""Templates, and what they may call; all that is not markup of ours is escaped.

A template is shown as a page of the server, or as a file that is sent to somebody. The file has its
style and script in it, links to nothing outside of itself, and says so to the browser: its policy
lets nothing be loaded, and only the script run that we wrote, by its digest.
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

from inspector.pages import charts
from inspector.terminal import name_of
from records import __version__

# What HTML cannot hold, or UTF-8: controls, and halves of characters in names of files.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page of the server."""
    return _UNSEEN.sub("\ufffd", environment().get_template(template).render(values))


def render_file(template: str, values: Mapping[str, Any], *, with_script: bool) -> str:
    """Return a page as one file, which needs no server.

    Args:
        template: one that extends ``base_file.html``.
        values: what it shows.
        with_script: let keys and clicks do what they do on pages.
    """
    style, script = _ours("palimpsest.css"), _ours("palimpsest.js") if with_script else ""
    told = {"style": style, "script": script, "policy": policy_of(style, script)}
    made = environment(is_file=True).get_template(template)
    return _UNSEEN.sub("\ufffd", made.render(values, palimpsest=__version__, **told))


def policy_of(style: str, script: str) -> str:
    """Return the policy of a file: nothing is loaded, and of code in it only this is taken.

    Args:
        style: what stands in the one element of style.
        script: what stands in the one element of script; empty if there is none.
    """
    allowed = [("style-src", style), *([("script-src", script)] if script else [])]
    parts = [f"{name} '{_digest(content)}'" for name, content in allowed]
    return "; ".join(["default-src 'none'", *parts, "base-uri 'none'", "form-action 'none'"])


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


@cache
def _ours(name: str) -> Markup:
    """Return a file of style or script as it is: it is written by us, not by an article."""
    return Markup(files("inspector.pages").joinpath("static", name).read_text("utf-8"))  # noqa: S704


@cache
def environment(*, is_file: bool = False) -> Environment:
    """Return the environment of all templates.

    Args:
        is_file: there is no server that links can lead to.
    """
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
    made.globals |= {name: getattr(charts, name) for name in names} | {"is_file": is_file}
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
