"""Headings of a source aligned with those of its built page."""

import random
import time
from collections.abc import Sequence
from difflib import SequenceMatcher

import pytest

from lib.heading_ids import align_ids


def place(ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of equal headings, by their ids."""
    ids = [str(number) for number in range(len(theirs))]
    found = align_ids([(2, text) for text in ours], [(2, text) for text in theirs], ids)
    return [(at, int(each)) for at, each in enumerate(found) if each is not None]


def test_alignment_is_the_longest_in_order() -> None:
    chance = random.Random(4)
    for _ in range(200):
        theirs = [f"h{chance.randrange(12)}" for _ in range(chance.randrange(30))]
        ours = [each for each in theirs if chance.random() > 0.2]
        for _ in range(chance.randrange(4)):
            ours.insert(chance.randrange(len(ours) + 1), f"h{chance.randrange(14)}")
        pairs = place(ours, theirs)
        assert all(ours[at] == theirs[there] for at, there in pairs)
        assert [there for _, there in pairs] == sorted({there for _, there in pairs})
        matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
        assert len(pairs) >= sum(block.size for block in matcher.get_matching_blocks())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["same"] * 20_000, ["same"] * 19_999),
        ([f"h{n}" for n in range(20_000)], [f"h{n}" for n in reversed(range(20_000))]),
        ([f"a{n % 7}" for n in range(20_000)], [f"a{n % 11}" for n in range(20_000)]),
        ([f"our {n}" for n in range(20_000)], [f"their {n}" for n in range(20_000)]),
    ],
    ids=["equal", "reversed", "repeated", "different"],
)
def test_many_headings_are_aligned_in_linear_time(ours: list[str], theirs: list[str]) -> None:
    began = time.process_time()
    place(ours, theirs)
    assert time.process_time() - began < 2
