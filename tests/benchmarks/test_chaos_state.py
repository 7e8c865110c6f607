import random

from benchmarks.chaos_state import SESSIONS, ChaosState
from benchmarks.chaos_upstream import SECRET


def test_a_server_error_is_a_problem() -> None:
    state = ChaosState(port=0, rng=random.Random(1))
    state.record("stream", 429)
    assert state.problems == []
    state.record("stream", 500, b"an error")
    assert state.problems == ["stream: status 500 b'an error'"]


def test_each_session_has_its_own_secret() -> None:
    state = ChaosState(port=0, rng=random.Random(1))
    secrets = {state.sessions.get_nowait() for _ in range(SESSIONS)}
    assert len(secrets) == SESSIONS
    assert all(SECRET.fullmatch(secret) for secret in secrets)


def test_chat_request() -> None:
    state = ChaosState(port=0, rng=random.Random(1), keep_alive=False)
    head, _, body = state.chat("192.0.2.1", question="When?").partition(b"\r\n\r\n")
    assert body == b'{"question": "When?"}'
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /chat HTTP/1.1"
    assert {b"Content-Length: 21", b"Connection: close", b"X-Forwarded-For: 192.0.2.1"} < {*lines}
    assert not any(line.startswith(b"Authorization") for line in lines)


def test_questions_through_every_interface() -> None:
    state = ChaosState(port=0, rng=random.Random(1))
    requests = dict(state.ask("When?") for _ in range(100))
    assert requests.keys() == {"chat", "completions", "ui", "ask", "mcp"}
    for data in requests.values():
        head = data.partition(b"\r\n\r\n")[0]
        assert head.count(b"\r\nX-Forwarded-For: ") == 1
        assert b"When%3F" in data or b"When?" in data
