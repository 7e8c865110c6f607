from lib.html_blocks import Cell, Table, Writer


def test_blocks_nest_by_the_markers_of_their_containers() -> None:
    writer = Writer()
    writer.write("a")
    assert writer.enter("> ")
    assert writer.enter("1. ")
    start = writer.write("b\n\nc")
    writer.write("d")
    writer.leave()
    writer.write("e")
    writer.leave()
    assert "".join(writer.parts) == "a\n\n> 1. b\n>\n>    c\n>\n>    d\n>\n> e"
    assert start == 3
    assert writer.size == len("".join(writer.parts))


def test_nesting_has_a_limit() -> None:
    writer = Writer()
    assert [writer.enter("- ") for _ in range(12)] == [True] * 10 + [False] * 2


def test_a_cell_cannot_claim_a_huge_table() -> None:
    wide = Cell("x", 1_000, 65_534, False)
    markdown = Table([[wide] * 1_000, *([[Cell("y", 1, 1, False)]] * 1_000)]).markdown()
    assert len(markdown) < 100_000


def test_spans_keep_the_columns() -> None:
    def cell(text: str, columns: int = 1, rows: int = 1) -> Cell:
        return Cell(text, columns, rows, False)

    table = Table([[cell("a"), cell("b"), cell("c", rows=2)], [cell("d")], [cell("e", 2)]])
    assert table.markdown().splitlines()[2:] == ["| a | b | c |", "| d |  | c |", "| e |  |"]
