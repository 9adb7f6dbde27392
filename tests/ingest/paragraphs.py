"""What the tests of this room share: a text goes in, its paragraphs come out as strings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palimpsest.ingest.batch import Batch, read_batch
from palimpsest.ingest.finding.discover import discover
from palimpsest.ingest.text.layout import lay_out
from palimpsest.ingest.text.normalise import normalise_paragraphs
from palimpsest.kernels.unicode import character_tables
from palimpsest.records.settings import ReadSettings


def paragraphs_of(text: str, max_chars: int = 2000) -> list[str]:
    """Return the normalised paragraphs of one decoded text."""
    buffer = np.frombuffer(text.encode(), dtype=np.uint8)
    offsets = np.array([0, len(buffer)], dtype=np.int64)
    starts, ends, _ = lay_out(buffer, offsets, character_tables(), max_chars)
    texts = normalise_paragraphs(buffer, starts, ends, character_tables())
    return [
        texts.buffer[start:end].tobytes().decode()
        for start, end in zip(texts.starts, texts.ends, strict=True)
    ]


def batch_of(folder: Path, files: dict[str, bytes], **settings: object) -> Batch:
    """Write files into a folder and read them as one batch."""
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    found = discover([str(folder)]).files
    return read_batch(found, ReadSettings.model_validate(settings))


def texts_of(batch: Batch) -> list[str]:
    """Return the paragraphs' texts of a batch, in order."""
    texts = batch.texts
    return [
        texts.buffer[start:end].tobytes().decode()
        for start, end in zip(texts.starts, texts.ends, strict=True)
    ]
