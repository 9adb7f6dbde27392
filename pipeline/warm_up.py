"""Load the compiled kernels, or compile them if that was never done on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.candidates import common_buckets, pack_pairs
from palimpsest.dedup.signatures import sign_sets
from palimpsest.dedup.texts import sign_texts, texts_of
from palimpsest.evidence.compare import compare_files
from palimpsest.evidence.passages import top_passages
from palimpsest.ingest.pages.anchor import anchor
from palimpsest.kernels.compiled import are_kernels_cached
from palimpsest.kernels.sorting import KERNEL_MIN_DIGESTS, distinct_digests, find_digests
from palimpsest.pipeline.index_upkeep import open_index
from palimpsest.pipeline.run import run_ingest
from palimpsest.records.settings import SENSITIVITIES, Settings
from palimpsest.store.archive import StoredArchive

__all__ = ["are_kernels_cached", "warm_up"]

_ARTICLE = """A short story of a kernel

The compiler met the first of the kernels in the morning, and by the evening all of them
had been compiled and laid beside their sources, where every later run would find them.

"Nobody has to wait for that again," said the clerk who keeps the cache of the machine.
"""


def warm_up(*, to_look: bool = True) -> None:
    """Call every kernel once, as a run and a comparison do, on two tiny articles.

    Args:
        to_look: also those that only commands that show an archive need.
    """
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first.txt"), Path(folder, "second.txt")
        first.write_text(_ARTICLE, encoding="utf-8")
        second.write_text(_ARTICLE.replace("evening", "late évening"), encoding="utf-8")
        archive = Path(folder, "archive")
        for source in (first, second):
            run_ingest([str(source)], archive, Settings())
        compare_files(str(first), str(second))
        if to_look:
            for level in SENSITIVITIES:  # reworded passages are found by stems, others are not
                settings = Settings.model_validate({"sensitivity": level})
                top_passages(StoredArchive(archive).snapshot(), settings=settings.passages)
        _weigh_crowds(StoredArchive(archive))
    _sort_many()
    sign_sets(np.arange(2, dtype=np.uint32), np.array([0, 2]), 1, 1)
    anchor(b"<p>" + _ARTICLE.encode(), _ARTICLE.split("\n\n"))


def _sort_many() -> None:
    """Call the kernels that sort only long columns."""
    digests = np.zeros((KERNEL_MIN_DIGESTS, 16), dtype=np.uint8)
    digests[:, :8] = np.arange(KERNEL_MIN_DIGESTS, dtype=">u8").view(np.uint8).reshape(-1, 8)
    find_digests(distinct_digests(digests), digests)


def _weigh_crowds(archive: StoredArchive) -> None:
    """Call the kernels that runs need only when a crowd stops pairing texts."""
    settings = Settings()
    base = archive.snapshot()
    rows = base.read("paragraphs", ["paragraph_id", "text"])
    texts = texts_of(rows.column("paragraph_id"), rows.column("text"))
    marked = sign_texts(texts, settings)
    pair = pack_pairs(np.array([0]), np.array([1]))
    common_buckets(marked.bands, marked.windows, pair, settings.sign)
    index = open_index(archive, base.manifest.segments, settings)
    index.are_heads(np.array([0]), marked.bands[:1, 0].copy(), texts.digests[:1], settings.sign)
    dear = settings.align.model_copy(update={"gap_cost": 1001.01})
    ranked = score_words(marked.words, dear)
    align_pairs(marked.words, ranked, np.array([0]), np.array([1]), dear)  # as long texts
