"""What is known of a JavaScript expression's value, and what follows from it."""

from typing import Final


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = _Unknown()
"""A value that only running the configuration would tell. Falsy, so that defaults apply."""


def combine(operator: str, left: object, right: object) -> object:
    """`left operator right`; the environment is read by `member_of`."""
    if operator == "&&" and (left is False or right is False):
        return False
    if left is UNKNOWN:
        return UNKNOWN
    if operator == "??":
        return right if left is None else left
    if operator == "||":
        return left or right
    if operator == "&&":
        return right if left else left
    if right is UNKNOWN:
        return UNKNOWN
    if operator == "+":
        return left + right if isinstance(left, str) and isinstance(right, str) else UNKNOWN
    return (left == right) == (operator in ("==", "==="))


def member_of(value: object, key: object, name: str) -> object:
    if name.startswith(("process.env.", "import.meta.env.")):
        return "production" if key == "NODE_ENV" else None
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, float) and 0 <= key < len(value):
        return value[int(key)]
    return UNKNOWN
