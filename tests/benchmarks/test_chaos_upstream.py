import random

from benchmarks.chaos_upstream import SECRET, Upstream, chunk


def test_the_upstream_repeats_a_secret() -> None:
    upstream = Upstream(random.Random(1))
    for _ in range(50):
        words = upstream.answer(["secret0123456789ab"], "When?")
        assert SECRET.findall("".join(words)) == ["secret0123456789ab"]
    assert chunk({"delta": {}}).startswith(b'data: {"choices": [{"index": 0')
