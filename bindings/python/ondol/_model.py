"""Models."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable

from . import _ffi
from ._conversation import AnyMessage, Conversation, interruptible, to_ffi
from ._errors import Cancelled, closed, translated
from ._options import LoadOptions, Path, load_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: A function that receives the progress of a load: the stage ("waiting", "verifying",
#: "packing" or "compiling"), how much is done, and the total, both in bytes; in the stage
#: "compiling", both in programs. The total is 0 in the stage "waiting".
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Memory:
    """The exact memory of a model with one conversation, in bytes."""

    #: Everything except `weights_mapped`.
    total: int
    #: Bytes of the file that are read in place, and that the system can drop.
    weights_mapped: int
    #: The cache of one conversation.
    kv_cache: int
    #: The memory of each further conversation.
    further_conversation: int


@dataclass(frozen=True)
class ModelInfo:
    """Properties of a model."""

    #: Its name in the file, or "unnamed".
    name: str
    #: The architecture's name.
    architecture: str
    #: The context that it was trained for, in tokens.
    trained_context: int
    #: The context of its conversations, in tokens.
    context: int
    #: Tokens of the vocabulary.
    vocabulary: int
    #: Bytes of its files.
    file_bytes: int
    #: Whether the file has a chat template of its own; otherwise the library chooses one.
    has_chat_template: bool
    #: The path of the packed copy that the model runs from.
    packed_copy: str | None
    #: Why there is no packed copy, although one was asked for and would be faster.
    no_packed_copy: str | None
    #: Faults of the file that were repaired, and how.
    warnings: list[str]


class Model:
    """A loaded model: `Model.load` or `Model.hello` makes it. After `close` every function
    except `close` raises `Closed`.
    """

    def __init__(self, ffi: _ffi.Model) -> None:
        self._ffi: _ffi.Model | None = ffi
        self._lock = threading.Lock()
        self._conversations: weakref.WeakSet[Conversation] = weakref.WeakSet()

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        progress: Progress | None = None,
        **options: Unpack[LoadOptions],
    ) -> Model:
        """Loads a GGUF file; of a split model the first part. No other program may
        truncate or rewrite the file while the model exists.

        The options are those of `LoadOptions`: `threads`, `context`, `kv_type`,
        `prefill_chunk`, `drafts`, `memory_limit`, `kernels`, `big_cores`,
        `packed_folder`, `packed_limit`, `delegate`, `governor`.

        `progress(stage, done, total)` is called while a packed copy is made or programs
        are compiled. An exception that it raises ends the load, and `load` raises it.

        Raises `IoError` or `ModelFileError` if the file can't be used,
        `InvalidArgument` or `Unsupported` for options, and `DelegateError`.
        """
        return cls._load(_source(path), progress, options)

    @classmethod
    def hello(cls, **options: Unpack[LoadOptions]) -> Model:
        """The built-in model, for tests and first steps; options as for `load`."""
        return cls._load(_ffi.Source.HELLO(), None, options)

    @classmethod
    def _load(cls, source: Any, progress: Progress | None, options: LoadOptions) -> Model:
        values, governor = load_options(options)
        listener = _LoadListener(progress)
        try:
            with translated():
                model = _ffi.Model.load(source, values, governor, listener, listener.cancel)
        except Cancelled:
            if listener.raised is None:
                raise
        # The error is removed from the listener, so that it does not refer to itself through
        # this function's frame.
        raised, listener.raised = listener.raised, None
        if raised is not None:
            raise raised
        return cls(model)

    @property
    def info(self) -> ModelInfo:
        """Properties of the model."""
        return ModelInfo(**vars(self._open().info()))

    def memory(self, context: int | None = None) -> Memory:
        """The exact memory of the model and one conversation with a context of `context`
        tokens; None is the context that the model was loaded with. Nothing is allocated.

        Raises `DoesNotFit` if the memory is more than the memory limit.
        """
        with translated():
            return Memory(**vars(self._open().memory(context)))

    def encode(self, text: str) -> list[int]:
        """The ids of a text's tokens; control tokens that the text spells are encoded as
        text.
        """
        with translated():
            return self._open().encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids. Bytes that are not UTF-8 become U+FFFD."""
        with translated():
            return self._open().decode(list(ids))

    def count_tokens(self, text: str) -> int:
        """The number of tokens of a user's text."""
        with translated():
            return self._open().count_tokens(text)

    def count_chat_tokens(self, messages: Iterable[AnyMessage]) -> int:
        """The number of tokens of these messages with the chat template around them.

        Raises `ModelFileError` if the template can't render the messages.
        """
        with translated():
            return self._open().count_chat_tokens(to_ffi(messages))

    def conversation(
        self, system: str | None = None, messages: Iterable[AnyMessage] = ()
    ) -> Conversation:
        """A new conversation. `system` is the system message, with instructions for the
        whole conversation; `messages` were exchanged before.

        Raises `DoesNotFit`, `MemoryPressureError`.
        """
        options = _ffi.ConversationOptions(system=system, messages=to_ffi(messages))
        with translated():
            return self._added(self._open().conversation(options))

    def restore(self, path: Path) -> Conversation:
        """A conversation from a file that `Conversation.save` wrote with the same model
        and type of KV cache.

        Raises `SnapshotError` if the file is not such a file or is damaged; `IoError`,
        `DoesNotFit`, `MemoryPressureError`.
        """
        with translated():
            return self._added(self._open().restore(os.fsdecode(path)))

    def prewarm(self) -> None:
        """Makes the threads and the memory that all conversations share, and reads all
        weights once, so that the first answer does not wait for the disk. Blocks while it
        reads; Ctrl-C ends it.

        Raises `DoesNotFit`, `MemoryPressureError`.
        """
        ffi, cancel = self._open(), _ffi.CancelToken()
        interruptible(lambda: ffi.prewarm(cancel), cancel.cancel)

    def release_unused(self) -> None:
        """Releases memory that no answer needs at this moment to the system."""
        self._open().release_unused()

    def close(self) -> None:
        """Closes the model's conversations, which cancels their answers, and frees the
        model when these answers have ended. Further calls raise `Closed`.
        """
        with self._lock:
            self._ffi = None
            conversations = list(self._conversations)
        for conversation in conversations:
            conversation.close()

    def _open(self) -> _ffi.Model:
        if self._ffi is None:
            raise closed("model")
        return self._ffi

    def _added(self, ffi: _ffi.Conversation) -> Conversation:
        conversation = Conversation(self, ffi)
        with self._lock:
            self._conversations.add(conversation)
        return conversation

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _LoadListener(_ffi.LoadListener):
    """Passes the progress to the program's function, and ends the load if it raises."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.cancel = _ffi.CancelToken()
        self.raised: BaseException | None = None

    def progress(self, stage: str, done: int, total: int) -> None:
        try:
            if self._progress is not None and self.raised is None:
                self._progress(stage, done, total)
        except BaseException as error:  # Also KeyboardInterrupt.
            self.raised = error
            self.cancel.cancel()


def _source(path: Path) -> Any:
    return _ffi.Source.PATH(os.fsdecode(path))


def memory_before_load(path: Path, **options: Unpack[LoadOptions]) -> Memory:
    """The exact memory of a model with its first conversation, before the model is
    loaded; options as for `Model.load`. Only the file's header is read.

    Raises `DoesNotFit` if the memory is more than the memory limit, and the errors of
    `Model.load`.
    """
    values, _ = load_options(options)
    with translated():
        return Memory(**vars(_ffi.memory_before_load(_source(path), values)))
