import random

from benchmarks.chaos_crowd import SESSIONS, Crowd
from benchmarks.chaos_upstream import SECRET


def test_a_mistake_of_the_server_is_a_problem() -> None:
    readers = Crowd(port=0, draw=random.Random(1))
    readers.saw("stream", 429)
    assert readers.problems == []
    readers.saw("stream", 500, b"a mistake")
    assert readers.problems == ["stream: status 500 b'a mistake'"]


def test_each_session_has_a_secret_of_its_own() -> None:
    crowd = Crowd(port=0, draw=random.Random(1))
    secrets = {crowd.sessions.get_nowait() for _ in range(SESSIONS)}
    assert len(secrets) == SESSIONS
    assert all(SECRET.fullmatch(secret) for secret in secrets)


def test_a_question_is_a_whole_request() -> None:
    crowd = Crowd(port=0, draw=random.Random(1), lingering=False)
    head, _, body = crowd.chat("192.0.2.1", question="When?").partition(b"\r\n\r\n")
    assert body == b'{"question": "When?"}'
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /chat HTTP/1.1"
    assert {b"Content-Length: 21", b"Connection: close", b"X-Forwarded-For: 192.0.2.1"} < {*lines}
    assert not any(line.startswith(b"Authorization") for line in lines)
