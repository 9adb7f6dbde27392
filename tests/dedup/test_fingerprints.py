import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.fingerprints import common_fingerprints, find_fingerprints
from palimpsest.dedup.signatures import cut_windows, shingle
from palimpsest.records.settings import SignSettings
from tests import oracles
from tests.strategies import invent_words, max_examples, words_of

chances = st.randoms(use_true_random=False)
_limits = st.builds(
    SignSettings,
    fingerprint_shingles=st.integers(1, 5),
    fingerprint_window=st.integers(1, 4),
    stride_words=st.sampled_from([5, 10, 20]),
)


@max_examples(150)
@given(chances, st.lists(st.integers(0, 60), max_size=5), _limits)
def test_fingerprints_are_the_oracles(chance, sizes, sign):
    vocabulary = invent_words(chance, 12)
    words = words_of([" ".join(chance.choices(vocabulary, k=size)) for size in sizes])
    windows = cut_windows(words, sign)
    found = find_fingerprints(windows, sign)
    shingles, offsets = shingle(words)
    expected = []
    for text in np.unique(windows.texts):
        first = int(np.searchsorted(windows.texts, text))
        of_text = shingles[offsets[text] : offsets[text + 1]].tolist()
        expected += [(h, first + w) for h, w in oracles.find_fingerprints(of_text, sign)]
    assert list(zip(found.hashes.tolist(), found.windows.tolist(), strict=True)) == expected
    buckets = found.buckets()
    assert np.all(buckets[:-1] <= buckets[1:])
    assert len(buckets) == len(expected)


@max_examples(150)
@given(chances, st.integers(0, 40), st.integers(0, 40), _limits)
def test_texts_that_share_a_long_enough_run_have_a_fingerprint_in_common(
    chance, before, behind, sign
):
    run = sign.fingerprint_shingles + sign.fingerprint_window - 1
    shared, other = invent_words(chance, max(5, run)), invent_words(chance, 160)
    left = [*other[:before], *shared, *other[40:80]]
    right = [*other[80 : 80 + behind], *shared, *other[120:]]
    windows = cut_windows(words_of([" ".join(left), " ".join(right)]), sign)
    found = find_fingerprints(windows, sign)
    sides = np.array([0]), np.array([1])
    pair, one, two, _ = common_fingerprints(found, windows, *sides)
    assert len(pair)
    assert set(windows.texts[one].tolist()) == {0}
    assert set(windows.texts[two].tolist()) == {1}
