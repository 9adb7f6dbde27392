"""Report files as an HTML parser reads them, checked for being safe to open."""

import base64
import hashlib
import re
from collections.abc import Iterator

from lxml import html
from lxml.html import HtmlElement


def parsed(text: str) -> HtmlElement:
    """Return a file as a parser has it, after checking that it is whole, and safe to open."""
    root = html.document_fromstring(text.encode())
    _assert_self_contained(root)
    _assert_own_content_policy(text, root)
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    for link in root.iter("a"):
        target = link.get("href")
        assert target is None or target.removeprefix("#") in ids, target
    return root


_LOADING = {"base", "link", "img", "image", "iframe", "object", "embed", "form", "source", "use"}
_LOADING |= {"audio", "video", "track", "portal", "frame", "template", "input", "button"}


def _assert_self_contained(root: HtmlElement) -> None:
    for one in _elements(root):
        assert one.tag not in _LOADING, html.tostring(one)
        for name, value in one.attrib.items():
            attribute = f"{one.tag} {name}={value!r}"
            assert name not in {"src", "srcset", "style", "action", "ping", "background"}, attribute
            assert not name.startswith("on"), attribute
            assert name not in {"href", "xlink:href"} or value.startswith("#"), attribute
    equivalents = [one.get("http-equiv") for one in root.iter("meta") if one.get("http-equiv")]
    assert equivalents == ["Content-Security-Policy"]


def _assert_own_content_policy(text: str, root: HtmlElement) -> None:
    [policy] = root.xpath("//meta[@http-equiv]/@content")
    allowed = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert allowed.pop("default-src") == ["'none'"]
    assert allowed.pop("base-uri") == allowed.pop("form-action") == ["'none'"]
    for tag in ("style", "script"):
        found = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(found) == len(list(root.iter(tag))) <= 1
        digests = [hashlib.sha256(one.encode()).digest() for one in found]
        expected = [f"'sha256-{base64.b64encode(one).decode()}'" for one in digests]
        assert allowed.pop(f"{tag}-src", []) == expected
    [style] = root.xpath("//style/text()")
    assert "url(" not in style
    assert "@import" not in style
    assert allowed == {}


def _elements(root: HtmlElement) -> Iterator[HtmlElement]:
    return (one for one in root.iter() if isinstance(one.tag, str))


def letters(text: str) -> str:
    """Return a text without blanks, which pages may lay out as they like."""
    return "".join(text.split())


def words_of(element: HtmlElement) -> str:
    """Return the text of an element without the numbers of passages in it, and without blanks."""
    pieces = element.xpath(
        ".//text()[not(ancestor::*[contains(concat(' ', @class, ' '), ' number ')])]"
    )
    return letters("".join(pieces))
