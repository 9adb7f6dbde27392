"""Tell the language of a text by the bundled model of py3langid (naive Bayes over byte sequences).

The model is the library's, read by it and scored by its rule (``LanguageIdentifier``); the walk
over bytes is a kernel, since the library's takes longer for a document than all else together.
"""

from __future__ import annotations

import json
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

SAMPLE_BYTES = 600
"""More of a text does not change what is found."""
_MIN_BYTES = 20
_MIN_CONFIDENCE = 0.5
_NO_LANGUAGE = "zxx"
_ARRAYS = ("moves", "rows", "features", "likelihood", "prior", "language")
_NAMES = "names.json"
_FORM = 1
"""To be raised when the arrays change that are unpacked."""

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
        language: int32, shape (classes,), the number of each class's language; two may be one.
        names: of the languages, by number.
    """

    moves: npt.NDArray[np.uint32]
    rows: npt.NDArray[np.int64]
    features: npt.NDArray[np.int32]
    likelihood: Scores
    prior: Scores
    language: npt.NDArray[np.int32]
    names: list[str]


def languages_of(samples: Sequence[str]) -> list[str | None]:
    """Return the language of each text, as ISO 639 codes; None if it cannot be told.

    Args:
        samples: texts, or beginnings of them.
    """
    if not samples:
        return []
    model = _model()
    encoded = [_folded(sample).encode("utf-8", "replace")[:SAMPLE_BYTES] for sample in samples]
    offsets = np.concatenate(([0], np.cumsum([len(one) for one in encoded], dtype=np.int64)))
    text = np.frombuffer(b"".join(encoded), np.uint8)
    best, confidence = _score(
        text,
        offsets,
        model.moves,
        model.rows,
        model.features,
        model.likelihood,
        model.prior,
        model.language,
        len(model.names),
    )
    return [
        name
        if sure >= _MIN_CONFIDENCE and len(one) >= _MIN_BYTES and name != _NO_LANGUAGE
        else None
        for name, sure, one in zip(
            (model.names[number] for number in best.tolist()),
            confidence.tolist(),
            encoded,
            strict=True,
        )
    ]


def _folded(sample: str) -> str:
    folded = sample.lower() if sample.isupper() else sample
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


@cache
def _model() -> _Model:
    """Return the model, mapped from where it was unpacked when first used on this machine."""
    folder = cache_folder(_score) / f"language-{version('py3langid')}-{_FORM}"
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
    names = sorted(set(found.nb_classes))
    model = _Model(
        np.asarray(found.tk_nextmove),
        np.asarray(found.tk_row, np.int64),
        np.asarray(found.tk_output, np.int32),
        np.asarray(found.nb_ptc).astype(np.float32),
        np.asarray(found.nb_pc).astype(np.float32),
        np.array([names.index(name) for name in found.nb_classes], np.int32),
        names,
    )
    for name in _ARRAYS:
        getattr(model, name).flags.writeable = False  # one type for the kernel, mapped or not
    return model


@kernel
def _score(
    texts: Bytes,
    offsets: npt.NDArray[np.int64],
    moves: npt.NDArray[np.uint32],
    rows: npt.NDArray[np.int64],
    features: npt.NDArray[np.int32],
    likelihood: Scores,
    prior: Scores,
    language: npt.NDArray[np.int32],
    languages: int,
) -> tuple[npt.NDArray[np.int32], Scores]:
    """Return the best language of each text and how sure that is, from 0 to 1.

    By class, the logarithm of one more than each feature's count, times its weight, is summed; the
    square root of the text's length tempers what comes out, so that it means the same for texts of
    any length. A text without a feature has the confidence 0.
    """
    count = len(offsets) - 1
    best = np.zeros(count, dtype=np.int32)
    confidence = np.zeros(count, dtype=np.float32)
    longest = 1
    for text in range(count):
        longest = max(longest, offsets[text + 1] - offsets[text])
    seen = np.empty(longest, dtype=np.int32)
    scores = np.empty(len(prior), dtype=np.float32)
    shares = np.empty(languages, dtype=np.float32)
    for text in range(count):
        found = 0
        state = np.int64(0)
        for at in range(offsets[text], offsets[text + 1]):
            state = np.int64(moves[(rows[state] << 8) + texts[at]])
            if features[state] >= 0:
                seen[found] = features[state]
                found += 1
        if found == 0:
            continue
        seen[:found].sort()
        scores[:] = prior
        begin = 0
        while begin < found:
            end = begin
            while end < found and seen[end] == seen[begin]:
                end += 1
            weight = np.float32(np.log1p(end - begin))
            row = likelihood[seen[begin]]
            for k in range(len(scores)):
                scores[k] += weight * row[k]
            begin = end
        temper = np.sqrt(np.float32(offsets[text + 1] - offsets[text]))
        highest = scores.max()
        shares[:] = 0
        total = np.float32(0)
        for k in range(len(scores)):
            share = np.exp((scores[k] - highest) / temper)
            shares[language[k]] += share
            total += share
        best[text] = np.argmax(shares)
        confidence[text] = shares[best[text]] / total
    return best, confidence
