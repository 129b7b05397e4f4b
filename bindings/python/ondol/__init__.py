"""Runs quantized GGUF models on the device itself.

>>> import ondol
>>> with ondol.Model.hello() as model, model.conversation() as conversation:
...     for chunk in conversation.send("안녕하세요"):
...         print(chunk, end="", flush=True)

A `Model` has any number of `Conversation`s. A conversation gives one `Answer` at a time,
which is text in chunks. All objects may be used from any thread. The library's log goes
to the logger "ondol" of `logging`.
"""

from . import _log as _log
from ._answer import Answer, FinishReason, Stats
from ._conversation import Conversation, Message
from ._errors import (
    Busy,
    Cancelled,
    Closed,
    ContextFull,
    DelegateError,
    DoesNotFit,
    ErrorCode,
    Internal,
    InvalidArgument,
    IoError,
    MemoryPressureError,
    ModelFileError,
    OndolError,
    SnapshotError,
    StoreError,
    Unsupported,
)
from ._ffi import version as _version
from ._governor import Governor, MemoryPressure, ThermalState
from ._model import Memory, Model, ModelInfo, Progress, memory_before_load
from ._options import AnswerOptions, Delegate, LoadOptions

__version__ = _version()

__all__ = [
    "Answer",
    "AnswerOptions",
    "Busy",
    "Cancelled",
    "Closed",
    "ContextFull",
    "Conversation",
    "Delegate",
    "DelegateError",
    "DoesNotFit",
    "ErrorCode",
    "FinishReason",
    "Governor",
    "Internal",
    "InvalidArgument",
    "IoError",
    "LoadOptions",
    "Memory",
    "MemoryPressure",
    "MemoryPressureError",
    "Message",
    "Model",
    "ModelFileError",
    "ModelInfo",
    "OndolError",
    "Progress",
    "SnapshotError",
    "Stats",
    "StoreError",
    "ThermalState",
    "Unsupported",
    "memory_before_load",
]
