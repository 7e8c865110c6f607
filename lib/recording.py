"""Record answers in the metrics, the access log and, if enabled, the question log.

All interfaces record here, so that each question has exactly one entry, however it ends. Nothing
in an entry identifies the reader: `Recording` gives each conversation a random id.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from cachetools import TTLCache

from lib.chat import SELECTION_ID, ChatRequest, Turn
from lib.citations import Citation
from lib.embedding import Vectors
from lib.errors import QuireError
from lib.events import NOT_IN_BOOK, SMALL_TALK, Cited, Done, Event, Failed, TextDelta
from lib.feedback import answer_key
from lib.languages import question_language
from lib.logs import AccessRecord, current_request
from lib.metrics import Metrics, answer_mode
from lib.question_log import LoggedPassage, LoggedQuestion, Outcome, QuestionLog, pack_vector
from lib.ranking import Passage, join_headings
from lib.sessions import SESSION_SECONDS

_MAX_CONVERSATIONS: Final = 10_000
"""About 3 MB. The least recently used is evicted first."""
_NEAREST: Final = 3
"""Number of passages kept for a question without citations."""


class Recording:
    """The metrics, the question log, and the random ids of conversations."""

    def __init__(
        self,
        metrics: Metrics,
        question_log: QuestionLog | None,
        recall: Callable[[str], tuple[str, Vectors] | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`recall`: `GuardedEmbedder.recall`."""
        self.metrics = metrics
        self.question_log = question_log
        self.recall = recall
        self._conversations: TTLCache[str, str] = TTLCache(
            _MAX_CONVERSATIONS, SESSION_SECONDS, timer=clock
        )

    def conversation(self, key: str) -> str:
        """The random id of a conversation by its `lib.sessions.conversation_key`.

        A new one without a key. Its expiry restarts with each question.
        """
        chosen = (key and self._conversations.get(key)) or secrets.token_urlsafe(8)
        if key:
            self._conversations[key] = chosen
        return chosen


class AnswerRecorder:
    """Records one question and the events of its answer."""

    __slots__ = (
        "_asked",
        "_asked_at",
        "_cited",
        "_conversation",
        "_first",
        "_note",
        "_recorded",
        "_recording",
        "_started",
        "_turn",
        "streamed",
    )

    def __init__(self, recording: Recording, asked: ChatRequest, conversation: str = "") -> None:
        """Begins with the request, whose end ends the recording.

        `conversation`: its key, if it may have begun before.
        """
        self._recording = recording
        self._asked = asked
        self._conversation = conversation
        self._asked_at = round(1e3 * time.time())
        self._started = perf_counter()
        self._turn: Turn | None = None
        self._cited: list[Citation] = []
        self._first: float | None = None
        self._recorded = recording.question_log is None
        self._note = current_request.get() or AccessRecord("", "")
        self._note.when_over = self.end
        self.streamed = False

    def prepared(self, turn: Turn) -> None:
        """Note the prepared turn. The events of its answer follow."""
        self._turn = turn

    def not_prepared(self, error: Exception) -> None:
        """Record that the turn could not be prepared, unless the request was invalid."""
        known = error if isinstance(error, QuireError) else QuireError("Internal error.")
        if known.status < 500:
            self._recorded = True
        else:
            self._add("failed", code=known.code)

    def record(self, event: Event) -> None:
        """Record an event of the answer."""
        match event:
            case TextDelta() if self.streamed and self._first is None:
                self._first = perf_counter() - self._started
                self._note.first = self._first
            case Cited():
                self._cited.append(event.citation)
            case Done():
                self._recording.metrics.count_answer(event, self._first)
                self._note.mode, self._note.tokens = answer_mode(event), event.tokens_used
                self._add(_outcome(event), event)
            case Failed():
                self._recording.metrics.count_failure(event.code)
                self._note.mode = event.code.lower()
                self._add("failed", code=event.code)

    def end(self, code: str) -> None:
        """Record a question whose request ended without an answer.

        `code` is that of the error; empty if the reader left.
        """
        self._add("failed" if code else "left", code=code)

    def _add(self, outcome: Outcome, done: Done | None = None, *, code: str = "") -> None:
        log = self._recording.question_log
        if self._recorded or log is None:
            return
        self._recorded = True
        turn = self._turn
        log.add(self._entry(outcome, turn, done, code) if turn else self._unprepared(outcome, code))

    def _unprepared(self, outcome: Outcome, code: str) -> LoggedQuestion:
        """The entry of a question whose turn was not prepared."""
        question = self._asked.question.strip()
        return LoggedQuestion(
            asked_at=self._asked_at,
            answer=None,
            conversation=self._recording.conversation(self._conversation),
            question=question,
            language=question_language(question),
            interface=self._note.route,
            outcome=outcome,
            code=code,
            stands_alone=self._asked.context is None and not self._conversation,
            total_ms=self._milliseconds(),
        )

    def _entry(self, outcome: Outcome, turn: Turn, done: Done | None, code: str) -> LoggedQuestion:
        checks = [each.supported for each in done.check] if done else []
        good = outcome in ("answered", "small_talk") and False not in checks
        model, vector = "", b""
        if not good and (found := self._recording.recall(turn.question)):
            model, vector = found[0], pack_vector(found[1])
        return LoggedQuestion(
            asked_at=self._asked_at,
            answer=answer_key(done.answer_id) if done and done.answer_id else None,
            conversation=self._recording.conversation(turn.conversation),
            question=turn.question,
            language=turn.language,
            interface=self._note.route,
            outcome=outcome,
            mode=answer_mode(done) if done else "none",
            fallback=done.fallback if done else "",
            code=code,
            stands_alone=turn.stands_alone,
            supported=checks.count(True),
            unsupported=checks.count(False),
            unknown=checks.count(None),
            first_ms=None if self._first is None else round(1e3 * self._first),
            total_ms=self._milliseconds(),
            prompt_tokens=done.usage.prompt_tokens if done else 0,
            completion_tokens=done.usage.completion_tokens if done else 0,
            embedding_tokens=turn.embedding_tokens,
            cost_usd=done.usage.cost_usd if done else None,
            passages=_passages(turn, self._cited),
            vector=vector,
            vector_model=model,
        )

    def _milliseconds(self) -> int:
        return round(1e3 * (perf_counter() - self._started))


def _outcome(done: Done) -> Outcome:
    if done.finish_reason == SMALL_TALK:
        return "small_talk"
    if done.finish_reason != NOT_IN_BOOK:
        return "answered"
    return "declined" if done.mode == "generated" else "refused"


def _passages(turn: Turn, cited: Sequence[Citation]) -> tuple[LoggedPassage, ...]:
    """The cited passages in order, else the nearest. A selection is the reader's own text."""
    found = {each.chunk_id: each for each in turn.passages if each.chunk_id != SELECTION_ID}
    if not cited:
        return tuple(_logged(turn, each) for each in [*found.values()][:_NEAREST])
    return tuple(
        _logged(turn, found[each.chunk_id], each) for each in cited if each.chunk_id in found
    )


def _logged(turn: Turn, passage: Passage, citation: Citation | None = None) -> LoggedPassage:
    place = citation.source if citation else passage
    return LoggedPassage(
        file_path=passage.file_path,
        heading=join_headings(place.chapter, place.section, place.heading),
        # Without this server's address, which is from the reader's request.
        url=place.url and place.url.removeprefix(turn.home.rstrip("/")),
        start_char=passage.start_char,
        end_char=passage.end_char,
        score=passage.score,
        cited=citation is not None,
    )
