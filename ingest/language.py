"""Tell the language of a text by the bundled model of py3langid (naive Bayes over byte sequences).

The model is the library's, read by it and scored by its rule (``LanguageIdentifier``); the walk
over bytes is a kernel, since the library's takes longer for a document than all else together.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from records.compiled import cache_folder, kernel

SAMPLE_BYTES = 1024
"""More of a text does not change what is found."""
_MIN_BYTES = 20
_MIN_CONFIDENCE = 0.5
_NO_LANGUAGE = "zxx"
_ARRAYS = ("moves", "rows", "features", "likelihood", "prior")
_NAMES = "names.json"

Scores = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


class _Model(NamedTuple):
    """An automaton over bytes whose states name features, and how these speak for languages.

    Attributes:
        moves: the next state, by row and byte.
        rows: int64, shape (states,), the row of each state in ``moves``.
        features: int32, shape (states,); -1 for none.
        likelihood: float32, shape (features, classes), as logarithms.
        prior: float32, shape (classes,).
        names: of the languages, by class; two classes may be one language.
    """

    moves: npt.NDArray[np.uint16]
    rows: npt.NDArray[np.int64]
    features: npt.NDArray[np.int32]
    likelihood: Scores
    prior: Scores
    names: list[str]


def languages_of(samples: Sequence[str]) -> list[str | None]:
    """Return the language of each text, as ISO 639 codes; None if it cannot be told.

    Args:
        samples: texts, or beginnings of them.
    """
    return [_language_of(sample) for sample in samples]


def _language_of(sample: str) -> str | None:
    folded = unicodedata.normalize("NFC", sample.lower() if sample.isupper() else sample)
    encoded = folded.encode("utf-8", "replace")[:SAMPLE_BYTES]
    if len(encoded) < _MIN_BYTES:
        return None
    model = _model()
    found = _score(
        np.frombuffer(encoded, np.uint8), model.moves, model.rows, model.features, model.likelihood
    )
    if not found.any():
        return None
    scores = (found + model.prior) / math.sqrt(len(encoded))
    weights = np.exp(scores - scores.max())
    by_name: dict[str, float] = {}
    for name, weight in zip(model.names, (weights / weights.sum()).tolist(), strict=True):
        by_name[name] = by_name.get(name, 0.0) + weight
    best = max(by_name, key=lambda name: by_name[name])
    return best if best != _NO_LANGUAGE and by_name[best] >= _MIN_CONFIDENCE else None


@cache
def _model() -> _Model:
    """Return the model, mapped from where it was unpacked when first used on this machine."""
    folder = cache_folder(_score) / f"language-{version('py3langid')}"
    if not folder.is_dir():
        with suppress(OSError):  # there is no place for it: it is unpacked each time
            _unpack(folder)
    try:
        names = json.loads((folder / _NAMES).read_text(encoding="ascii"))
        found = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        return _Model(**found, names=names)
    except (OSError, ValueError):
        return _library_model()


def _unpack(folder: Path) -> None:
    model = _library_model()
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    try:
        for name in _ARRAYS:
            np.save(building / f"{name}.npy", getattr(model, name))
        (building / _NAMES).write_text(json.dumps(model.names), encoding="ascii")
        building.chmod(0o755)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)  # another process was first


def _library_model() -> _Model:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE)
    model = _Model(
        np.asarray(found.tk_nextmove),
        np.asarray(found.tk_row, np.int64),
        np.asarray(found.tk_output, np.int32),
        np.asarray(found.nb_ptc).astype(np.float32),
        np.asarray(found.nb_pc).astype(np.float32),
        list(found.nb_classes),
    )
    for name in _ARRAYS:
        getattr(model, name).flags.writeable = False  # one type for the kernel, mapped or not
    return model


@kernel
def _score(
    text: Bytes,
    moves: npt.NDArray[np.uint16],
    rows: npt.NDArray[np.int64],
    features: npt.NDArray[np.int32],
    likelihood: Scores,
) -> Scores:
    """Return, by class, the logarithms of one more than each feature's count times its weight."""
    seen = np.empty(len(text), dtype=np.int32)
    count = 0
    state = np.int64(0)
    for byte in text:
        state = np.int64(moves[(rows[state] << 8) + byte])
        if features[state] >= 0:
            seen[count] = features[state]
            count += 1
    seen = np.sort(seen[:count])
    scores = np.zeros(likelihood.shape[1], dtype=np.float32)
    begin = 0
    while begin < count:
        end = begin
        while end < count and seen[end] == seen[begin]:
            end += 1
        weight = np.float32(np.log1p(end - begin))
        for k in range(len(scores)):
            scores[k] += weight * likelihood[seen[begin], k]
        begin = end
    return scores
