"""The packaged model and a model in a folder, both in `LocalEmbedder`."""

import asyncio
import gc
import inspect
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

import lib.embedding_e5
import lib.embedding_local
from lib.embedding import Vectors
from lib.embedding_e5 import _Tokenizer
from lib.embedding_local import _DEFAULT_MAX_TOKENS, LocalEmbedder, find_model
from lib.services import make_local_embedder
from tests.onnx_model import hidden_states, write_model

pytestmark = pytest.mark.usefixtures("vectors_computed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model in the layout of the model hubs."""
    made = tmp_path / "small"
    write_model(made)
    return made


@pytest.fixture(params=["packaged", "folder"])
async def embedder(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[LocalEmbedder]:
    made = make_local_embedder(str(folder) if request.param == "folder" else "multilingual")
    assert isinstance(made, LocalEmbedder)
    yield made
    await made.close()


@pytest.fixture
async def multilingual() -> AsyncIterator[LocalEmbedder]:
    made = make_local_embedder("multilingual")
    assert isinstance(made, LocalEmbedder)
    yield made
    await made.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
async def test_documents_let_questions_go_first(multilingual: LocalEmbedder) -> None:
    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    questions = multilingual._questions.submit(nice).result()
    assert multilingual._documents.submit(nice).result() == min(19, questions + 10)


async def test_vectors_are_of_length_one(embedder: LocalEmbedder) -> None:
    vectors = await embedder.embed_documents(["a boat", "", "潮 \U0001f30a", "\n\t", "\ud800"])
    assert vectors.shape == (5, (await embedder.embed_query("a boat")).size)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("How do I fasten a boat?", "Moor the ship with two ropes.", "The moon pulls the sea."),
        ("What makes the sea rise?", "The moon pulls the sea.", "Moor the ship with two ropes."),
        ("install the package", "Run pip to add the library.", "The office opens at eight."),
    ],
)
async def test_meaning_counts(multilingual: LocalEmbedder, query: str, near: str, far: str) -> None:
    question = await multilingual.embed_query(query)
    assert question.shape == (lib.embedding_e5.DIMENSION,)
    similar, different = await multilingual.embed_documents([near, far]) @ question
    scaled = multilingual.similarity.scaled
    assert scaled(similar) > scaled(different) + 0.1


@pytest.mark.parametrize(
    "query",
    [
        "¿Cómo se cultivan las patatas?",
        "आलू कैसे उगाए जाते हैं?",
        "كيف تزرع البطاطس؟",
        "آلو کیسے اگائے جاتے ہیں؟",
    ],
)
async def test_a_question_in_another_language_finds_the_text(
    multilingual: LocalEmbedder, query: str
) -> None:
    texts = [
        "Potatoes are planted in spring, in rows, and earthed up as they grow.",
        "The compiler prints a warning for each variable that is not used.",
        "The harbour master is called on channel nine.",
    ]
    nearness = await multilingual.embed_documents(texts) @ await multilingual.embed_query(query)
    assert nearness.argmax() == 0


async def test_a_text_has_the_same_vector_however_it_is_embedded(embedder: LocalEmbedder) -> None:
    texts = ["one", "two two", "three " * 30]
    together = await embedder.embed_documents(texts)
    for text, vector in zip(texts, together, strict=True):
        [alone] = await embedder.embed_documents([text])
        assert alone == pytest.approx(vector, abs=1e-6)


async def test_a_question_differs_from_a_text_by_what_questions_share(
    multilingual: LocalEmbedder,
) -> None:
    shared = (await multilingual.embed_documents(lib.embedding_e5._TYPICAL_QUESTIONS)).mean(axis=0)
    shared /= np.linalg.norm(shared)
    texts = ["What makes the sea rise?", "two ropes hold the ship"]
    for text, vector in zip(texts, await multilingual.embed_documents(texts), strict=True):
        question = await multilingual.embed_query(text)
        assert question @ shared == pytest.approx(0, abs=1e-3)
        taken_out = vector - (vector @ question) * question
        assert taken_out @ shared == pytest.approx(np.linalg.norm(taken_out), abs=1e-3)


async def test_nothing_gives_nothing(embedder: LocalEmbedder) -> None:
    dimension = (await embedder.embed_query("tide")).size
    assert (await embedder.embed_documents([])).shape == (0, dimension)


async def test_what_stands_behind_the_model_s_reach_changes_nothing(
    embedder: LocalEmbedder,
) -> None:
    long = "the tide rises " * 400
    first, second = await embedder.embed_documents([long, long + "and the moon " * 1000])
    assert first == pytest.approx(second)


async def test_calls_may_overlap(embedder: LocalEmbedder) -> None:
    alone = await embedder.embed_query("tide")
    together = await asyncio.gather(*(embedder.embed_query("tide") for _ in range(8)))
    assert all(np.array_equal(vector, alone) for vector in together)


def test_weights_that_are_not_the_pinned_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.embedding_e5, "_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match="not the pinned ones"):
        inspect.unwrap(lib.embedding_e5.load_e5)()


@pytest.mark.parametrize("package", ["no_such_package_here", "json.decoder"])
def test_a_missing_package_is_said(package: str) -> None:
    with pytest.raises(RuntimeError, match=package):
        lib.embedding_local.package_file(package, "model.onnx", "")


def unit(vector: Vectors) -> Vectors:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("limit", "tokens"), [(256, 256), (None, _DEFAULT_MAX_TOKENS), (0, _DEFAULT_MAX_TOKENS)]
)
async def test_a_model_in_a_folder(folder: Path, limit: int | None, tokens: int) -> None:
    if limit is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}))
    embedder = make_local_embedder(str(folder))
    cut = "long " * (tokens - 2)  # [CLS] and [SEP] count as well
    for text, read in (("moor the tide", "moor the tide"), ("long " * 900, cut)):
        expected = unit(hidden_states(read).mean(axis=0))
        assert await embedder.embed_query(text) == pytest.approx(expected, abs=1e-6)
    assert embedder.model_id.startswith("onnx/small-")
    await embedder.close()


def test_a_folder_tells_how_its_model_is_used(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    prompts = {"prompts": {"query": "ask: ", "document": "read: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    found = find_model(folder)
    assert found.first_token
    assert (found.question_prompt, found.document_prompt) == ("ask: ", "read: ")
    encoder = found.load()
    document, question = hidden_states("read: tide")[0], hidden_states("ask: tide")[0]
    assert encoder.document("tide") == pytest.approx(unit(document), abs=1e-6)
    assert encoder.question("tide") == pytest.approx(unit(question), abs=1e-6)


def test_a_folder_of_the_e5_family_gets_its_marks(folder: Path) -> None:
    renamed = folder.rename(folder.with_name("multilingual-e5-base"))
    found = find_model(renamed)
    assert (found.question_prompt, found.document_prompt) == ("query: ", "passage: ")


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json"])
def test_a_folder_without_a_model_is_said(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(RuntimeError, match=missing):
        find_model(folder)


def test_a_file_that_is_no_model_is_said(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        find_model(folder).load()


ROOT = Path(__file__).parents[2]
LOAD_AND_ASK = {
    "packaged": """
from lib.embedding_e5 import load_e5

load_e5().question("When does the tide turn?")
""",
    "folder": """
import sys
import threading
import weakref
from pathlib import Path
from lib.embedding_local import find_model

find_model(Path(sys.argv[1])).load().question("When does the tide turn?")
""",
}


@pytest.mark.processes
@pytest.mark.parametrize("code", LOAD_AND_ASK.values(), ids=LOAD_AND_ASK.keys())
def test_nothing_is_told_about_the_machine(tmp_path: Path, folder: Path, code: str) -> None:
    """Run without the variables by which onnxruntime detects a test and disables telemetry."""
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        check=True,
    )
    assert not list(home.rglob("*"))


async def test_an_unloaded_model_is_freed_without_garbage_collection(folder: Path) -> None:
    """The server excludes loaded models from garbage collection."""
    embedder = make_local_embedder(str(folder))
    await embedder.load()
    loaded = weakref.ref(embedder._encoder.value)
    gc.disable()
    try:
        embedder.unload()
        await asyncio.sleep(0)  # the last caller ends
        assert loaded() is None
    finally:
        gc.enable()
    assert len(await embedder.embed_query("loaded again"))
    await embedder.close()


def test_an_unused_tokenizer_is_freed_without_garbage_collection() -> None:
    tokenizer = _Tokenizer(["<s>", "<pad>", "</s>", "<unk>", "a"], np.zeros(5, np.float32), {})
    assert tokenizer.encode("a", 5)
    freed = weakref.ref(tokenizer)
    gc.disable()
    try:
        del tokenizer
        assert freed() is None
    finally:
        gc.enable()
