from lib.chat_events import PIECE, Chunk, Cited, keep, text_of
from lib.citations import Citation, Source

CITED = Cited(
    citation=Citation(
        marker=1,
        text="The tide turns.",
        source=Source(chapter="C", section="S", heading="H", file_path="a.md", url=None),
        relevance_score=0.5,
        chunk_id="1",
    )
)


def test_what_is_kept_is_the_same_text_and_citations_in_fewer_pieces() -> None:
    words = [Chunk(content=f"word{n} ") for n in range(200)]
    shown: list[Chunk | Cited] = [*words, CITED, Chunk(content="end")]
    kept: list[Chunk | Cited] = []
    for piece in shown:
        keep(kept, piece)
    assert text_of(kept) == text_of(shown)
    assert kept[-2:] == [CITED, Chunk(content="end")]
    sizes = [len(piece.content) for piece in kept if isinstance(piece, Chunk)]
    assert max(sizes) <= PIECE
    assert len(sizes) < 6


def test_a_piece_that_is_long_by_itself_is_whole() -> None:
    kept: list[Chunk | Cited] = []
    for length in (3, 2 * PIECE, 3):
        keep(kept, Chunk(content="x" * length))
    assert [len(piece.content) for piece in kept if isinstance(piece, Chunk)] == [3, 2 * PIECE, 3]
