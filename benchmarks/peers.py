"""Other tools on the same articles, each in a virtual environment of its own, created once.

A tool that cannot be installed is listed with the reason, without figures.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from processes import Ran, run

_SCRIPTS = Path(__file__).with_name("peer_scripts")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_MADE_WITH = "made-with.txt"
_INSTALL_SECONDS = 1800


class Peer(NamedTuple):
    """Another tool.

    Attributes:
        requirements: packages to install for it; empty if our own environment has them.
        does: what it does with the paragraphs, to compare tools.
    """

    name: str
    requirements: tuple[str, ...]
    script: str
    does: str


PEERS = (
    Peer(
        f"datasketch {version('datasketch')} by hand",
        (),
        "by_hand.py",
        "paragraphs, 3-word shingles, 128 permutations, MinHashLSH; one process; counts only",
    ),
    Peer(
        "datatrove 0.10.1",
        ("datatrove[io]==0.10.1", "spacy", "xxhash<4", "regex", "nltk", "tokenizers"),
        "with_datatrove.py",
        "paragraphs, its defaults: 5-word shingles, 14 x 8 hashes; two processes; Parquet",
    ),
    Peer(
        "text-dedup 0.4.0",
        ("text-dedup==0.4.0",),
        "with_text_dedup.py",
        "paragraphs, its defaults: 5-word shingles, 250 permutations; two processes; a data set",
    ),
)


def run_peers(sample: Path, cache: Path, most_seconds: float) -> list[dict[str, Any]]:
    """Run each tool on a folder of articles; return its measures, or why it did not run.

    Args:
        sample: folder of the articles.
        cache: folder of the virtual environments.
        most_seconds: a tool that takes longer is stopped.
    """
    rows = []
    for peer in PEERS:
        row: dict[str, Any] = {"peer": peer.name, "does": peer.does}
        python = Path(sys.executable)
        if peer.requirements:
            python, fault = _installed(peer, cache)
            if fault:
                rows.append(row | {"reason": f"cannot be installed here: {fault}"})
                continue
        with tempfile.TemporaryDirectory() as scratch:
            environment = {**_OFFLINE, "HF_HOME": scratch, "PYTHONWARNINGS": "ignore"}
            command = [python, _SCRIPTS / peer.script, sample, scratch]
            ran = run(command, environment, most_seconds)
        if ran.code:
            rows.append(row | {"reason": f"did not end well: {ran.fault}"})
            continue
        counts = json.loads(ran.output.splitlines()[-1])
        took = {name: getattr(ran, name) for name in ("seconds", "cpu_seconds", "others")}
        rows.append(row | counts | took)
    return [*rows, _passim(cache)]


def _installed(peer: Peer, cache: Path) -> tuple[Path, str]:
    """Return the Python of a tool's environment, created if needed, or the error."""
    folder = cache / peer.name.replace(" ", "-")
    python, made_with = folder / "bin" / "python", folder / _MADE_WITH
    wanted = "\n".join(peer.requirements)
    if made_with.exists() and made_with.read_text(encoding="utf-8") == wanted:
        return python, ""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    ran = _pip(python, ["install", "--quiet", *peer.requirements])
    if ran.code:
        return python, ran.fault
    made_with.write_text(wanted, encoding="utf-8")
    return python, ""


def _passim(cache: Path) -> dict[str, Any]:
    """Return why passim is not measured: the package of that name is another program.

    That package is inspected, but not installed.
    """
    row = {"peer": "passim", "does": "text reuse in newspapers, on Spark"}
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", name]
        ran = _pip(Path(sys.executable), ["download", *options, "passim"])
        if ran.code:
            return row | {"reason": f"cannot be installed here: {ran.fault}"}
        [wheel] = Path(name).iterdir()
        with zipfile.ZipFile(wheel) as archive:
            is_it = "passim/seriatim.py" in archive.namelist()
        if is_it:
            return row | {"reason": f"{wheel.name} is on the index now; no script runs it yet"}
        reason = f"cannot be installed here: {wheel.name} of the index is another tool"
        return row | {"reason": reason}


def _pip(python: Path, arguments: Sequence[str]) -> Ran:
    """Run pip with the configured index."""
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    return run(command, most_seconds=_INSTALL_SECONDS)
