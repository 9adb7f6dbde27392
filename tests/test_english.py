"""Names and sentences are plain English: the worst of an older voice does not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for room in (*(ROOT / "src/palimpsest").iterdir(), ROOT / "benchmarks", ROOT / "tests")
    for path in ([room] if room.suffix == ".py" else room.rglob("*.py"))
    if path != Path(__file__)
)
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("inspector/pages/templates/*"),
    ROOT / "Makefile",
    ROOT / "docker-compose.yml",
    ROOT / "prefect.yaml",
]

# Participles and verbs that stood for nearly everything, and so meant nothing as names.
VAGUE_NAMES = {"told", "tell", "tells", "teller", "telling", "held", "gone", "news", "manieth"}
# Phrases that a native writer would not use; each has an ordinary word in the comment behind it.
ODD_PHRASES = [
    r"\b(is|are|was|were|be|been) told\b",  # is shown, is reported, is logged
    r"\btells? (of|how|what|which|whether|where|why)\b",  # says, shows, reports
    r"\bwhat (is|was) told\b",  # the report
    r"\bwhat (is|was) held\b",  # the contents
    r"\bso many\b",  # n, at most n
    r"\bso manieth\b",  # every n-th
    r"\bstands? (in|there|elsewhere|under|behind)\b",  # is in, occurs in
    r"\bto be had\b",  # available
    r"\b(takes?|taken|took|taking) up\b",  # resume
    r"\bwho (asks|carries|dies|looks|reads|waits|is killed)\b",  # the caller, whoever
    r"\b(brings?|brought) (in )?(articles|texts|documents|what)\b",  # ingest
    r"\bfell due\b",  # missed
    r"\bmade up for\b",  # caught up
    r"\bdo not mind\b",  # even if
]
ODD = re.compile("|".join(ODD_PHRASES), re.IGNORECASE)


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _words(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_say_what_they_stand_for(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    vague = sorted({name for name in _names(tree) if _words(name) & VAGUE_NAMES})
    assert not vague


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_are_ordinary_english(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    odd = [f"{text[: m.start()].count(chr(10)) + 1}: {m[0]}" for m in ODD.finditer(text)]
    assert not odd
