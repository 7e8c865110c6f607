import re

import pytest

import lib.errors
from lib.errors import QuireError


def tree(root: type[QuireError] = QuireError) -> list[type[QuireError]]:
    return [root, *(each for child in root.__subclasses__() for each in tree(child))]


def test_the_docstring_draws_the_tree() -> None:
    drawn = re.findall(r"(\w+)\s+(\d{3}) ([A-Z_]+)$", lib.errors.__doc__ or "", re.MULTILINE)
    own = [kind for kind in tree() if kind.__module__ == "lib.errors"]  # protocols have others
    assert {(kind.__name__, str(kind.status), kind.code) for kind in own} == set(drawn)


def test_codes_are_distinct() -> None:
    codes = [kind.code for kind in tree()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_an_error_carries_what_is_answered(kind: type[QuireError]) -> None:
    details = {"field": "k"}
    error = kind("A sentence.", details=details, retry_after=3.5)
    assert (error.message, str(error), error.details) == ("A sentence.", "A sentence.", details)
    assert error.details is not details
    assert error.retry_after == 3.5
    assert kind("x").details == {}
    assert kind("x").retry_after is None
