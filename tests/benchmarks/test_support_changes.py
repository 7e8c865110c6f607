from random import Random

from benchmarks.support_changes import negate, rename, renumber, reorder, reword, shorten


def test_changes_to_claims() -> None:
    draw = Random(1)
    long = "However, the tide turns every six hours (or so), because the moon draws it."
    assert shorten(long, draw) == "The tide turns every six hours, because the moon draws it."
    assert reorder("The tide turns because the moon draws it.", draw) == (
        "Because the moon draws it, the tide turns."
    )
    assert reorder("The tide turns.", draw) is None
    assert reword("It doesn't turn six times.", draw) == "It does not turn 6 times."
    assert negate("The tide is high.", draw) == "The tide is not high."
    assert negate("The tide is not high.", draw) == "The tide is high."
    assert renumber("In 1820 it rang.", draw) not in ("In 1820 it rang.", None)
    assert renumber("It rang.", draw) is None
    names = ["Seville", "turn_tide"]
    assert rename("The bell of Carrick rang.", names, frozenset(), draw) == (
        "The bell of Seville rang."
    )
    assert rename("It rang.", names, frozenset(), draw) is None
