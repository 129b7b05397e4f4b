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
    """The library's values for messages."""
    plain = (vars(m) if isinstance(m, Message) else m for m in messages)
    return [_ffi.ChatMessage(role=m["role"], content=m["content"]) for m in plain]


class Conversation:
    """A conversation with a model: `model.conversation()` makes it.

    One answer at a time is generated. An answer that was cancelled stays in the history
    with the text that was generated; one that failed, or was cancelled before any text,
    leaves no trace, nor does its question.
    """

    def __init__(self, model: Model, ffi: _ffi.Conversation) -> None:
        self._model = model
        self._ffi: _ffi.Conversation | None = ffi
        self._last: Stream | None = None

    def send(self, text: str, **options: Unpack[AnswerOptions]) -> Answer:
        """Asks the model to answer; the answer is generated from now on.

        The options are those of `AnswerOptions`: `max_tokens`, `temperature`, `seed`,
        `top_k`, `top_p`, `min_p`, `repetition_penalty`, `frequency_penalty`,
        `presence_penalty`, `penalty_window`, `stop`.

        Raises `Busy` while another answer is generated, `ContextFull` for a text that
        does not fit, `InvalidArgument`. After an answer that was cancelled it waits for
        its end.
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
        except BaseException:  # Ctrl-C: nobody has the answer, if there is one.
            self._last = stream
            self.cancel()
            raise

    def prewarm(self) -> None:
        """Computes the messages so far, so that the next answer computes only what the
        user adds. Blocks meanwhile; `cancel` and Ctrl-C end it.
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
        """The messages, the system message among them."""
        with translated():
            return [Message(m.role, m.content) for m in self._idle().history()]

    def truncate(self, messages: int) -> None:
        """Keeps the first `messages` messages and forgets the rest."""
        with translated():
            self._idle().truncate(messages)

    def count_tokens(self) -> int:
        """Tokens that the next answer's prompt would have, without the user's message."""
        with translated():
            return self._idle().count_tokens()

    def fork(self) -> Conversation:
        """A second conversation with the same history, which goes on independently."""
        with translated():
            return self._model._added(self._idle().fork())

    def save(self, path: Path) -> None:
        """Writes the conversation to a file, with what was computed; `Model.restore`
        reads it. The file is complete or not there.
        """
        with translated():
            self._idle().save(os.fsdecode(path))

    def release_unused(self) -> None:
        """Gives memory that the idle conversation does not need back to the system."""
        self._idle().release_unused()

    def close(self) -> None:
        """Ends the conversation and frees its memory; an answer that is being generated
        is cancelled. Further calls raise `Closed`.
        """
        self.cancel()
        ffi, self._ffi = self._ffi, None
        if ffi is not None:
            ffi.close()

    def _idle(self) -> _ffi.Conversation:
        """The library's object, after the end of an answer that was cancelled."""
        if self._ffi is None:
            raise closed("conversation")
        ffi = self._ffi
        last = self._last
        if last is not None and last.cancelled:
            # The library is idle a moment before its thread tells the end.
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
    """Works on a thread, so that Ctrl-C is noticed, which cancels it."""
    with ThreadPoolExecutor(1) as thread, translated():
        try:
            thread.submit(work).result()
        except BaseException:
            cancel()
            raise
