"""Detect the language of texts with the bundled model of py3langid (naive Bayes over bytes).

The model is loaded by the library and scored by its rule (``LanguageIdentifier``). The loop over
bytes is a kernel, since the library takes longer for a document than all other reading.
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

from palimpsest.kernels.arrays import Bytes
from palimpsest.kernels.compiled import cache_folder, inlined, kernel

SAMPLE_BYTES = 600
"""Longer samples do not change the result."""
_MIN_BYTES = 20
_MIN_CONFIDENCE = 0.5
_NO_LANGUAGE = "zxx"
_ARRAYS = ("moves", "states", "likelihood", "prior", "language")
_NAMES = "names.json"
_FORM = 3
"""Version of the unpacked arrays; raise it when they change."""
_LANES = 512
"""Texts scored side by side. Each step waits for memory at an address from the step before, while
steps of other texts proceed. One text at a time takes 2.2 times as long, 5 % of the main job."""
_LANE_BITS = 9
_LINE = 16
"""Scores in a cache line. Rows are padded to whole lines, which are added one at a time."""

Weights = npt.NDArray[np.float32]


class _Model(NamedTuple):
    """An automaton over bytes whose states are features, and their weights for languages.

    Attributes:
        moves: the next state, by row and byte.
        states: int32, shape (states, 2): the row of each state in ``moves``, and its feature; -1
            for none.
        likelihood: float32, shape (features, classes), as logarithms.
        prior: float32, shape (classes,). Classes that pad a row are impossible.
        language: int32, shape (classes,), the language of each class, by number; two may share one.
        names: of the languages, by number.
    """

    moves: npt.NDArray[np.uint32]
    states: npt.NDArray[np.int32]
    likelihood: Weights
    prior: Weights
    language: npt.NDArray[np.int32]
    names: list[str]


def languages_of(samples: Sequence[bytes]) -> list[str | None]:
    """Return the language of each text as an ISO 639 code; None if uncertain.

    Args:
        samples: texts in UTF-8 or their beginnings, which may end within a character.
    """
    if not samples:
        return []
    model = _model()
    encoded = [_folded(sample)[:SAMPLE_BYTES] for sample in samples]
    offsets = np.concatenate(([0], np.cumsum([*map(len, encoded)], dtype=np.int64)))
    text = np.frombuffer(b"".join(encoded), np.uint8)
    best, confidence = _score(
        text,
        offsets,
        model.moves,
        model.states,
        model.likelihood,
        model.prior,
        model.language,
        len(model.names),
    )
    return [
        name
        if certainty >= _MIN_CONFIDENCE and len(sample) >= _MIN_BYTES and name != _NO_LANGUAGE
        else None
        for name, certainty, sample in zip(
            (model.names[number] for number in best.tolist()),
            confidence.tolist(),
            encoded,
            strict=True,
        )
    ]


def _folded(sample: bytes) -> bytes:
    if sample.isascii():
        return sample.lower() if sample.isupper() else sample
    text = sample.decode("utf-8", "ignore")
    return unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode()


@cache
def _model() -> _Model:
    """Return the model, memory-mapped from the files unpacked at its first use on this machine.

    Loading it from the library takes 0.6 CPU seconds, half of ``palimpsest compare``.
    """
    folder = cache_folder(_score) / f"language-{version('py3langid')}-{_FORM}"
    if not folder.is_dir():
        with suppress(OSError):  # the folder is not writable: unpack it each time
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
        shutil.rmtree(building, ignore_errors=True)  # another process may have been first


def _library_model() -> _Model:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE)
    names = sorted(set(found.nb_classes))
    filling = (0, -len(found.nb_classes) % _LINE)
    model = _Model(
        np.asarray(found.tk_nextmove),
        np.column_stack((found.tk_row, found.tk_output)).astype(np.int32, order="C"),
        np.pad(np.asarray(found.nb_ptc).astype(np.float32), ((0, 0), filling)),
        np.pad(np.asarray(found.nb_pc).astype(np.float32), filling, constant_values=-np.inf),
        np.pad(np.array([names.index(name) for name in found.nb_classes], np.int32), filling),
        names,
    )
    for name in _ARRAYS:
        getattr(
            model, name
        ).flags.writeable = False  # the same type for the kernel as mapped arrays
    return model


@kernel
def _score(
    texts: Bytes,
    offsets: npt.NDArray[np.int64],
    moves: npt.NDArray[np.uint32],
    states: npt.NDArray[np.int32],
    likelihood: Weights,
    prior: Weights,
    language: npt.NDArray[np.int32],
    languages: int,
) -> tuple[npt.NDArray[np.int32], Weights]:
    """Return the best language of each text and its probability, from 0 to 1.

    The score of a class is the sum over features of log(1 + count) times weight, divided by the
    square root of the text's length, which makes texts of any length comparable. A text without
    features has probability 0.
    """
    count = len(offsets) - 1
    best = np.zeros(count, dtype=np.int32)
    confidence = np.zeros(count, dtype=np.float32)
    longest = 1
    for text in range(count):
        longest = max(longest, offsets[text + 1] - offsets[text])
    weights = np.empty(longest + 1, dtype=np.float32)
    for times in range(longest + 1):
        weights[times] = np.float32(np.log1p(times))
    seen = np.empty((_LANES, longest), dtype=np.uint32)
    found = np.empty(_LANES, dtype=np.int64)
    scores = np.empty((_LANES, len(prior)), dtype=np.float32)
    shares = np.empty(languages, dtype=np.float32)
    for first in range(0, count, _LANES):
        lanes = min(_LANES, count - first)
        _find_features(texts, offsets[first : first + lanes + 1], moves, states, seen, found)
        scores[:] = prior
        _add_up(_ordered(seen, found[:lanes], len(likelihood)), weights, likelihood, scores)
        for lane in range(lanes):
            if found[lane] == 0:
                continue
            text = first + lane
            temper = np.sqrt(np.float32(offsets[text + 1] - offsets[text]))
            highest = scores[lane].max()
            shares[:] = 0
            total = np.float32(0)
            for k in range(len(prior)):
                share = np.exp((scores[lane, k] - highest) / temper)
                shares[language[k]] += share
                total += share
            best[text] = np.argmax(shares)
            confidence[text] = shares[best[text]] / total
    return best, confidence


@inlined
def _find_features(
    texts: Bytes,
    offsets: npt.NDArray[np.int64],
    moves: npt.NDArray[np.uint32],
    states: npt.NDArray[np.int32],
    seen: npt.NDArray[np.uint32],
    found: npt.NDArray[np.int64],
) -> None:
    """Write the features of some texts, and the number of each text's."""
    lanes = len(offsets) - 1
    rows = np.full(_LANES, states[0, 0], dtype=np.int64)
    found[:] = 0
    longest = np.int64(0)
    for lane in range(lanes):
        longest = max(longest, offsets[lane + 1] - offsets[lane])
    for step in range(longest):
        for lane in range(lanes):
            at = offsets[lane] + step
            if at < offsets[lane + 1]:
                state = np.int64(moves[(rows[lane] << 8) + texts[at]])
                rows[lane] = states[state, 0]
                seen[lane, found[lane]] = np.uint32(states[state, 1])
                found[lane] += states[state, 1] >= 0


@inlined
def _ordered(
    seen: npt.NDArray[np.uint32], found: npt.NDArray[np.int64], features: int
) -> npt.NDArray[np.uint32]:
    """Return features by number and then by lane, each with its lane in the lowest bits.

    Sorted by two digits, the lower one first; sorting by comparison took longer than all else.
    """
    digit = 1
    while features > 1 << 2 * digit:
        digit += 1
    starts = np.zeros((2, (1 << digit) + 1), dtype=np.int64)
    mask = np.uint32((1 << digit) - 1)
    for lane in range(len(found)):
        for k in range(found[lane]):
            starts[0, np.int64(seen[lane, k] & mask) + 1] += 1
            starts[1, np.int64(seen[lane, k] >> np.uint32(digit)) + 1] += 1
    for k in range(1 << digit):
        starts[0, k + 1] += starts[0, k]
        starts[1, k + 1] += starts[1, k]
    by_low = np.empty(found.sum(), dtype=np.uint32)
    for lane in range(len(found)):
        for k in range(found[lane]):
            low = np.int64(seen[lane, k] & mask)
            by_low[starts[0, low]] = seen[lane, k] << np.uint32(_LANE_BITS) | np.uint32(lane)
            starts[0, low] += 1
    ordered = np.empty(len(by_low), dtype=np.uint32)
    for k in range(len(by_low)):
        high = np.int64(by_low[k] >> np.uint32(digit + _LANE_BITS))
        ordered[starts[1, high]] = by_low[k]
        starts[1, high] += 1
    return ordered


@inlined
def _add_up(
    ordered: npt.NDArray[np.uint32], weights: Weights, likelihood: Weights, scores: Weights
) -> None:
    """Add the weights of features to the scores of their lanes, in the order of features.

    Args:
        ordered: features with lanes.
        weights: by the count of a feature in a lane.
        likelihood: as in the model.
        scores: float32, shape (lanes, classes).
    """
    begin = 0
    while begin < len(ordered):
        end = begin + 1
        while end < len(ordered) and ordered[end] == ordered[begin]:
            end += 1
        weight = weights[end - begin]
        row = likelihood[np.int64(ordered[begin] >> np.uint32(_LANE_BITS))]
        mine = scores[np.int64(ordered[begin] & np.uint32(_LANES - 1))]
        for k in range(len(row)):
            mine[k] += weight * row[k]
        begin = end
