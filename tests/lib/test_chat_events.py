from lib.citations import Citation, Source
from lib.events import Chunk, Cited, Shown, text_of

CITED = Cited(
    citation=Citation(
        marker=1,
        text="The tide turns.",
        source=Source(chapter="C", section="S", heading="H", file_path="a.md", url=None),
        relevance_score=0.5,
        chunk_id="1",
    )
)


def test_what_was_shown_is_the_same_text_and_citations_in_fewer_pieces() -> None:
    words = [Chunk(content=f"word{n} \N{SAILBOAT} \ud800") for n in range(200)]
    end = [Chunk(content="end"), Chunk(content="")]
    told: list[Chunk | Cited] = [CITED, *words, CITED, CITED, *end]
    shown = Shown()
    assert shown.pieces() == []
    for piece in told:
        shown.add(piece)
    kept = shown.pieces()
    assert text_of(kept) == text_of(told)
    assert kept[2:] == [CITED, CITED, Chunk(content="end")]
    assert kept[0] == CITED
