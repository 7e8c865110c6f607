"""Print tables of figures with confidence intervals."""

from collections.abc import Iterable, Mapping, Sequence

from lib.evaluation import Estimate

Table = Mapping[str, Sequence[str]]


def print_table(title: str, columns: Iterable[str], rows: Table) -> None:
    wide = max(map(len, (title, *rows)))
    print()
    for name, cells in {title: columns, **rows}.items():
        print(f"{name:{wide}}" + "".join(f"{cell:>22}" for cell in cells))


def format_estimate(estimated: Estimate | None, sign: str = "") -> str:
    if estimated is None:
        return "-"
    value, low, high = estimated.value, estimated.low, estimated.high
    return f"{value:{sign}.3f} [{low:{sign}.2f} {high:{sign}.2f}]"
