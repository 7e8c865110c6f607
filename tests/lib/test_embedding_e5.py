"""The tokenizer of multilingual-e5, compared with the package `tokenizers`."""

import unicodedata
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from lib.embedding_e5 import (
    _MAX_TOKENS,
    _PACKAGE,
    _WEIGHTS_FILE,
    _WEIGHTS_SHA256,
    _read_weights,
    _Tokenizer,
    _Weights,
)
from lib.embedding_local import package_file

ROOT = Path(__file__).parents[2]
LANGUAGES = [
    "The tide turns every six hours and a quarter; don't moor at the quay.",
    "¿Cómo se amarra el barco cuando cambia la marea en el puerto?",
    "जब ज्वार बदलता है तो नाव को कैसे बाँधा जाता है?",
    "كيف يُربط القارب عندما يتغير المد في الميناء؟",
    "جب مدوجزر بدلتا ہے تو کشتی کو کیسے باندھا جاتا ہے؟",
    "潮が変わるとき、船をどのように係留しますか。",
    "潮汐变化时如何系泊船只？",
    "Как пришвартовать лодку, когда меняется прилив?",
    "조수가 바뀔 때 배를 어떻게 정박합니까?",
    'fn main() { let x: Vec<u8> = vec![0xFF; 16]; println!("{:?}", x); }',
    "  two  spaces,\ttabs\nand\r\nlines  ",
    "e\u0301tat d\u00e9j\u00e0 \ufb01n \u2460 \uff21 \U0001f30a\U0001f3fd",
    "<s> is text here </s>",
    "",
]


@pytest.fixture(scope="module")
def weights() -> _Weights:
    return _read_weights(package_file(_PACKAGE, _WEIGHTS_FILE, _WEIGHTS_SHA256))


@pytest.fixture(scope="module")
def ours(weights: _Weights) -> _Tokenizer:
    return _Tokenizer(weights.pieces, weights.scores, weights.replacements)


@pytest.fixture(scope="module")
def theirs(weights: _Weights) -> tokenizers.Tokenizer:
    # "<s>" in a text is text, so special tokens get names that no text contains.
    special = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"}
    pieces = [f"\ue000{piece}" if piece in special else piece for piece in weights.pieces]
    made = tokenizers.Tokenizer(
        models.Unigram(
            list(zip(pieces, weights.scores.tolist(), strict=True)), unk_id=3, byte_fallback=False
        )
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    made.normalizer = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    return made


def normal(text: str, weights: _Weights) -> str:
    """Normalise with the model's table, whose format the library cannot read."""
    return unicodedata.normalize("NFC", text).translate(dict(weights.replacements))


@pytest.mark.parametrize("text", LANGUAGES, ids=range(len(LANGUAGES)))
def test_a_text_is_cut_as_by_the_library(
    text: str, ours: _Tokenizer, theirs: tokenizers.Tokenizer, weights: _Weights
) -> None:
    expected = theirs.encode(normal(text, weights).strip(" ")).ids
    found = ours.encode(text.strip(), _MAX_TOKENS)
    assert (found[0], found[-1]) == (0, 2)
    assert found[1:-1] == expected or not text.strip()


def test_the_handbook_is_cut_as_by_the_library(
    ours: _Tokenizer, theirs: tokenizers.Tokenizer, weights: _Weights
) -> None:
    paragraphs = [
        paragraph.strip()
        for path in sorted((ROOT / "book_content").glob("*.md"))
        for paragraph in path.read_text(encoding="utf-8").split("\n\n")
        if paragraph.strip()
    ]
    assert len(paragraphs) > 100
    for paragraph in paragraphs:
        expected = theirs.encode(normal(paragraph, weights)).ids
        assert ours.encode(paragraph, 10_000)[1:-1] == expected


def test_a_long_text_is_cut_at_its_end(ours: _Tokenizer) -> None:
    whole = ours.encode("the tide turns " * 400, 10_000)
    assert ours.encode("the tide turns " * 400, 50) == [*whole[:49], 2]


def test_a_long_word_takes_no_long_time_and_no_cache(ours: _Tokenizer) -> None:
    assert len(ours.encode("x" * 20_000, 100)) == 100
