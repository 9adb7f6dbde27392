import random

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.passages import find_passages
from palimpsest.dedup.regions import LONG_CELLS, cell_shift, find_regions
from palimpsest.records.settings import AlignSettings, PassageSettings
from tests.strategies import invent_words, max_examples, words_of

_few = max_examples(15)
_many = max_examples(100)
_CELL = 32
_LONG = 1 + int(LONG_CELLS**0.5)
_ALIGN = AlignSettings(min_score=1.5, min_resemblance=1e-9, max_passages=40)

chances = st.integers(0, 2**32 - 1).map(random.Random)


def seeds_of(left, right):
    """Return the seeds of two documents: where pairs of words at most two apart agree."""
    places = {}
    for j in range(len(right)):
        for step in (1, 2):
            if j + step < len(right):
                places.setdefault((right[j], right[j + step]), []).append(j)
    return [
        (i, j)
        for i in range(len(left))
        for step in (1, 2)
        if i + step < len(left)
        for j in places.get((left[i], left[i + step]), ())
        if len(places[left[i], left[i + step]]) <= 8
    ]


def regions_of(left, right):
    """Return the regions as a set of sets of cells."""
    seeds = [(i // _CELL, j // _CELL) for i, j in seeds_of(left, right)]
    height, width = len(left) // _CELL + 1, len(right) // _CELL + 1
    grid = nx.strong_product(nx.path_graph(height), nx.path_graph(width))
    near = {
        cell: sum(abs(cell[0] - y) <= 1 and abs(cell[1] - x) <= 1 for y, x in seeds)
        for cell in grid
    }
    dense = grid.subgraph(cell for cell, count in near.items() if count >= 4)
    return {frozenset(region) for region in nx.connected_components(dense)}


def draw_documents(chance):
    """Return the hashes of two documents that share pieces and common words."""
    common, rare = range(chance.choice([2, 20, 200])), iter(range(10**6, 2 * 10**6))
    left, right = (
        [chance.choice(common) if chance.random() < 0.4 else next(rare) for _ in range(size)]
        for size in (chance.randint(1, 300), chance.randint(1, 300))
    )
    for _ in range(chance.randint(0, 4)):
        at, to = chance.randrange(len(left)), chance.randrange(len(right))
        right[to:to] = left[at : at + chance.randint(1, 12)] * chance.choice([1, 1, 5])
    return left, right


@_many
@given(chances.map(draw_documents))
def test_regions_are_connected_cells_with_enough_seeds_around_them(documents):
    left, right = documents
    content = np.array(left + right, dtype=np.uint32)
    cells, count = find_regions(content, 0, len(left), len(left), len(right))
    width = len(right) // _CELL + 1
    found = [set() for _ in range(count)]
    for cell, number in enumerate(cells.tolist()):
        if number >= 0:
            found[number].add((cell // width, cell % width))
    assert {frozenset(region) for region in found} == regions_of(left, right)
    assert len(found) == len(regions_of(left, right))


def test_cells_are_wider_in_documents_so_long_that_they_would_be_too_many():
    assert [cell_shift(size, size) for size in (1, 60_000, 100_000, 10**6)] == [5, 5, 6, 9]


def separate(chance, passages, space):
    """Return two documents with the passages in two orders, ``space`` other words between them."""
    documents, orders, places = [], [], []
    for _ in range(2):
        order = chance.sample(range(len(passages)), len(passages))
        document, place = [], {}
        for number in order:
            document += [f"x{chance.getrandbits(60):x}y" for _ in range(space)]
            place[number] = len(document)
            document += passages[number]
        documents.append([*document, *(f"x{chance.getrandbits(60):x}y" for _ in range(space))])
        orders.append(order)
        places.append(place)
    return documents, places


def located(found, places, passages):
    """Return passages relative to the planted ones: number, spans, matched words and score."""
    result = []
    for row in zip(*(column.tolist() for column in found), strict=True):
        _, left, left_end, right, right_end, matched, score = row
        for number, passage in enumerate(passages):
            first, second = places[0][number], places[1][number]
            if first <= left < first + len(passage):
                spans = (left - first, left_end - first, right - second, right_end - second)
                result.append((number, *spans, matched, score))
    return result


@_few
@given(chances)
def test_long_documents_share_the_same_passages_as_short_ones(chance):
    passages = [invent_words(chance, chance.randint(6, 60)) for _ in range(5)]
    for passage in passages[:2]:
        passage[len(passage) // 2] = "the"
    aligned = []
    for space in (40, _LONG // 6 + 1):
        documents, places = separate(chance, passages, space)
        words = words_of([" ".join(document) for document in documents])
        one = np.zeros(1, dtype=np.int64)
        found = align_pairs(words, score_words(words, _ALIGN), one, one + 1, _ALIGN)
        aligned.append(sorted(located(found, places, passages)))
    assert len(aligned[0]) == len(passages)
    assert aligned[0] == aligned[1]


def test_long_documents_have_as_many_passages_as_they_share():
    chance = random.Random(11)
    passages = [invent_words(chance, 20) for _ in range(150)]
    documents, places = separate(chance, passages, 100)
    words = words_of([" ".join(document) for document in documents])
    one = np.zeros(1, dtype=np.int64)
    found = find_passages(words, one, one + 1, AlignSettings(), PassageSettings())
    assert len(found.pair) == len(passages) > PassageSettings().max_chains
    assert {tuple(span) for span in zip(found.left_first, found.left_last, strict=True)} == {
        (first, first + 20) for first in places[0].values()
    }
