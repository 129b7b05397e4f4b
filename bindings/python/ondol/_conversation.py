"""Conversations."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Callable, Union

from . import _ffi
from ._answer import Answer, Listener, Stream
from ._errors import OndolError, closed, translated
from ._options import AnswerOptions, Path, answer_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._model import Model


@dataclass(frozen=True)
class Message:
    """A message of a conversation."""

    #: Who speaks: "system", "user" or "assistant".
    role: str
    #: The text.
    content: str


#: A message, or a dict with its fields.
AnyMessage = Union[Message, Mapping[str, str]]


def to_ffi(messages: Iterable[AnyMessage]) -> list[_ffi.ChatMessage]:
    """Converts messages to the values of the UniFFI code."""
    plain = (vars(m) if isinstance(m, Message) else m for m in messages)
    return [_ffi.ChatMessage(role=m["role"], content=m["content"]) for m in plain]


class Conversation:
    """A conversation with a model: `model.conversation()` makes it.

    It generates one answer at a time. An answer that was cancelled stays in the history
    with the text that was generated; one that failed, or was cancelled before any text,
    leaves no trace, nor does its question. After `close` its functions raise `Closed`,
    except `cancel`, `is_answering` and `close`.
    """

    def __init__(self, model: Model, ffi: _ffi.Conversation) -> None:
        self._model = model
        self._ffi: _ffi.Conversation | None = ffi
        self._last: Stream | None = None

    def send(self, text: str, **options: Unpack[AnswerOptions]) -> Answer:
        """Asks the model to answer; the generation begins at once, on another thread.

        The options are those of `AnswerOptions`: `max_tokens`, `temperature`, `seed`,
        `top_k`, `top_p`, `min_p`, `repetition_penalty`, `frequency_penalty`,
        `presence_penalty`, `penalty_window`, `stop`.

        Raises `Busy` while another answer is generated, `ContextFull` for a text that
        does not fit, `InvalidArgument` for options out of range. If the last answer was
        cancelled and has not ended yet, this function waits for its end.
        """
        values = answer_options(options)
        ffi, stream = self._idle(), Stream()
        try:
            with translated():
                stream.task = ffi.send(text, values, Listener(stream))
            self._last = stream
            return Answer(self, stream)
        except OndolError:
            raise
        except BaseException:  # Ctrl-C: the caller does not get the answer, so it ends.
            self._last = stream
            self.cancel()
            raise

    def prewarm(self) -> None:
        """Computes the messages so far, so that the next answer computes only what the
        user adds. Blocks while it computes; `cancel` and Ctrl-C end it.

        Raises `Busy`, `ContextFull`, and `Cancelled` if it was cancelled.
        """
        ffi, cancel = self._idle(), _ffi.CancelToken()
        interruptible(lambda: ffi.prewarm(cancel), cancel.cancel)

    def cancel(self) -> None:
        """Cancels the answer that is being generated, if there is one."""
        if self._last is not None:
            self._last.cancelled = True
        if self._ffi is not None:
            self._ffi.cancel()

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being generated."""
        return self._ffi is not None and self._ffi.is_answering()

    @property
    def history(self) -> list[Message]:
        """The messages, the system message included."""
        with translated():
            return [Message(m.role, m.content) for m in self._idle().history()]

    def truncate(self, messages: int) -> None:
        """Keeps the first `messages` messages and forgets the rest. Raises `Busy`, and
        `InvalidArgument` for a negative number.
        """
        with translated():
            self._idle().truncate(messages)

    def count_tokens(self) -> int:
        """The number of tokens of the next answer's prompt, without the user's next
        message. Raises `ModelFileError` if the chat template can't render the messages.
        """
        with translated():
            return self._idle().count_tokens()

    def fork(self) -> Conversation:
        """A second conversation with the same history, which continues independently.

        Raises `Busy`, `DoesNotFit`, `MemoryPressureError`.
        """
        with translated():
            return self._model._added(self._idle().fork())

    def save(self, path: Path) -> None:
        """Writes the conversation and its KV cache to a file, which `Model.restore`
        reads. Afterwards the file is either complete or not there.

        Raises `Busy`; `IoError` or `SnapshotError` if the system refuses the file or a
        write.
        """
        with translated():
            self._idle().save(os.fsdecode(path))

    def release_unused(self) -> None:
        """Releases memory that the idle conversation does not need to the system."""
        self._idle().release_unused()

    def close(self) -> None:
        """Ends the conversation and frees its memory. An answer that is being generated
        is cancelled. Further calls raise `Closed`; a second `close` does nothing.
        """
        self.cancel()
        ffi, self._ffi = self._ffi, None
        if ffi is not None:
            ffi.close()

    def _idle(self) -> _ffi.Conversation:
        """The library's object. If the last answer was cancelled, waits for its end."""
        if self._ffi is None:
            raise closed("conversation")
        ffi = self._ffi
        last = self._last
        if last is not None and last.cancelled:
            # The library becomes idle a moment before its thread reports the end.
            while ffi.is_answering() or not last.told:
                time.sleep(0.001)
        return ffi

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def interruptible(work: Callable[[], None], cancel: Callable[[], None]) -> None:
    """Runs `work` on another thread, so that Ctrl-C interrupts the wait and cancels it."""
    with ThreadPoolExecutor(1) as thread, translated():
        try:
            thread.submit(work).result()
        except BaseException:
            cancel()
            raise
