"""Answers: text that another thread generates, for `for` and `async for` loops."""

from __future__ import annotations

import asyncio
import atexit
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from enum import Enum
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

from . import _ffi
from ._errors import Busy, ErrorCode, OndolError, from_ffi

if TYPE_CHECKING:
    from ._conversation import Conversation

#: Seconds between checks for Ctrl-C while a thread waits: on some systems Ctrl-C does not
#: interrupt a wait.
_PATIENCE = 0.2


class FinishReason(str, Enum):
    """Why an answer ended."""

    #: The model ended it.
    END = "end"
    #: A stop string was generated.
    STOP = "stop"
    #: The answer has `max_tokens` tokens.
    MAX_TOKENS = "max_tokens"
    #: The context is full.
    CONTEXT_FULL = "context_full"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Stats:
    """Counts and speeds of an answer."""

    #: Tokens of the prompt.
    prompt_tokens: int
    #: Of these, tokens that were in the cache and were not computed again.
    cached_tokens: int
    #: Tokens of the answer.
    generated_tokens: int
    #: Seconds from the first step to the first token.
    first_token_seconds: float
    #: Prompt tokens computed per second.
    prefill_tokens_per_second: float
    #: Tokens of the answer per second, after the first.
    decode_tokens_per_second: float
    #: The peak memory of the process in bytes; 0 if the system does not report it.
    peak_memory_bytes: int


@dataclass(frozen=True)
class _End:
    reason: FinishReason
    stats: Stats
    error: OndolError | None


class Stream:
    """A queue of events from the thread that generates to the threads that read."""

    def __init__(self) -> None:
        self._events: SimpleQueue[str | _End] = SimpleQueue()
        self._sleepers: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        #: The text so far.
        self.parts: list[str] = []
        self.end: _End | None = None
        self.cancelled = False
        self.task: _ffi.AnswerTask | None = None

    def put(self, event: str | _End) -> None:
        """Adds an event, from the thread that generates."""
        if isinstance(event, _End):
            self.end = event
        else:
            self.parts.append(event)
        self._publish(event)

    def _publish(self, event: str | _End) -> None:
        self._events.put(event)
        while self._sleepers:
            loop, sleeper = self._sleepers.popleft()
            try:
                loop.call_soon_threadsafe(_wake, sleeper)
            except RuntimeError:
                pass  # The loop was closed, and nobody waits.

    def get(self) -> str | _End:
        """Waits for an event. After the end, every call returns the end again."""
        while True:
            try:
                return self._kept(self._events.get(timeout=_PATIENCE))
            except Empty:
                pass

    async def get_async(self) -> str | _End:
        """Waits for an event without blocking the event loop."""
        loop = asyncio.get_running_loop()
        while self._events.empty():
            sleeper = loop.create_future()
            self._sleepers.append((loop, sleeper))
            # An event may have arrived before the other thread could see the sleeper.
            if self._events.empty():
                await sleeper
        try:
            return self._kept(self._events.get_nowait())
        except Empty:  # Another reader was faster.
            return await self.get_async()

    def _kept(self, event: str | _End) -> str | _End:
        if isinstance(event, _End):
            self._publish(event)
        return event

    @property
    def told(self) -> bool:
        """Whether no more events will arrive: the answer ended, or it never began."""
        return self.end is not None or self.task is None

    def cancel(self) -> None:
        """Ends the answer soon."""
        self.cancelled = True
        if self.task is not None and self.end is None:
            self.task.cancel()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class Listener(_ffi.AnswerListener):
    """Receives the events from the thread that generates; raises nothing."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        _listeners.add(self)

    def prompt(self, done: int, total: int) -> None:
        pass

    def text(self, text: str, token: int | None) -> None:
        self.stream.put(text)

    def end(self, end: _ffi.AnswerEnd) -> None:
        error = None if end.error is None else from_ffi(end.error)
        stats = Stats(**vars(end.stats))
        self.stream.put(_End(FinishReason(end.reason), stats, error))


#: The listeners to which a thread of the library still has a reference.
_listeners: weakref.WeakSet[Listener] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Ends all answers: their threads can't call an interpreter that has ended."""
    for stream in [listener.stream for listener in _listeners]:
        stream.cancel()
    patience = time.monotonic() + 5
    while _listeners and time.monotonic() < patience:
        time.sleep(0.001)


class Answer:
    """An answer that is being generated. Iterate over it, with `for` or `async for`, for
    its text in chunks of complete characters, or take all of it with `text()` or `await`.

    Leaving a loop early, leaving a `with` block and dropping the answer cancel it, and so
    does an exception during the wait for a chunk: KeyboardInterrupt, or the cancellation
    of the task. A cancelled answer ends without an exception; one that failed raises an
    `OndolError` in the loop.
    """

    def __init__(self, conversation: Conversation, stream: Stream) -> None:
        self._stream = stream
        # Keeps the conversation alive, so that closing the model ends this answer.
        self._conversation = conversation

    def __iter__(self) -> Iterator[str]:
        # Wherever Ctrl-C interrupts this generator, its `finally` block runs.
        try:
            while (chunk := self._next()) is not None:
                yield chunk
        finally:
            self.cancel()

    def __aiter__(self) -> AsyncIterator[str]:
        return _Chunks(self)

    def text(self) -> str:
        """Waits for the end, and returns the whole text.

        Raises `OndolError` if the answer failed.
        """
        while self._next() is not None:
            pass
        return "".join(self._stream.parts)

    def __await__(self) -> Generator[object, None, str]:
        return self._text_async().__await__()

    async def _text_async(self) -> str:
        while await self._next_async() is not None:
            pass
        return "".join(self._stream.parts)

    def cancel(self) -> None:
        """Ends the answer soon, from any thread."""
        self._stream.cancel()

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the answer ended; None before the end."""
        end = self._stream.end
        return None if end is None else end.reason

    @property
    def stats(self) -> Stats:
        """Counts and speeds, after the end. Raises `Busy` before the end."""
        end = self._stream.end
        if end is None:
            raise Busy("the answer has not ended", ErrorCode.BUSY)
        return end.stats

    def _next(self) -> str | None:
        try:
            event = self._stream.get()
        except BaseException:
            self.cancel()
            raise
        return self._taken(event)

    async def _next_async(self) -> str | None:
        try:
            event = await self._stream.get_async()
        except BaseException:
            self.cancel()
            raise
        return self._taken(event)

    def _taken(self, event: str | _End) -> str | None:
        if isinstance(event, str):
            return event
        if event.error is not None:
            raise event.error
        return None

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
        while not isinstance(await self._stream.get_async(), _End):
            pass

    def __del__(self) -> None:
        self.cancel()


class _Chunks(AsyncIterator[str]):
    """An asynchronous iterator over an answer. When a loop drops it, the answer is
    cancelled at once; an asynchronous generator would be closed only in a later iteration
    of the event loop.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> str:
        chunk = await self._answer._next_async()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def __del__(self) -> None:
        self._answer.cancel()
