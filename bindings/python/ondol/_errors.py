"""Errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from . import _ffi


class ErrorCode(IntEnum):
    """The kind of an error: the same numbers in every language."""

    INVALID_ARGUMENT = 1
    BUSY = 3
    PANICKED = 4
    OTHER = 5
    CLOSED = 6
    IO = 10
    NOT_GGUF = 11
    TRUNCATED = 12
    UNSUPPORTED_VERSION = 13
    UNSUPPORTED_TYPE = 14
    UNSUPPORTED_PACKING = 15
    UNKNOWN_ARCHITECTURE = 16
    MISSING_KEY = 17
    BAD_VALUE = 18
    MISSING_TENSOR = 19
    BAD_SHAPE = 20
    MALFORMED = 21
    TOKENIZER = 22
    TEMPLATE = 23
    DOES_NOT_FIT = 30
    CONTEXT_FULL = 31
    BAD_TOKEN = 32
    EMPTY_PROMPT = 33
    CANCELLED = 34
    UNSUPPORTED_KERNELS = 35
    SAMPLER = 36
    UNSUPPORTED_KV_TYPE = 37
    SNAPSHOT = 38
    MEMORY_PRESSURE = 39
    BATCH_FULL = 40
    OTHER_OWNER = 41
    DELEGATE = 42
    STORE = 43


class OndolError(Exception):
    """The base class of all errors.

    The message says what was wrong, where, and what to do; `code` is the exact kind.
    """

    code: ErrorCode
    #: Bytes (`DoesNotFit`) or tokens (`ContextFull`) that were needed; otherwise 0.
    needed: int
    #: Bytes (`DoesNotFit`) or tokens (`ContextFull`) that are allowed; otherwise 0.
    allowed: int

    def __init__(
        self,
        message: str,
        code: ErrorCode = ErrorCode.OTHER,
        needed: int = 0,
        allowed: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.needed = needed
        self.allowed = allowed

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (str(self), self.code, self.needed, self.allowed)


class InvalidArgument(OndolError, ValueError):
    """An argument or an option is out of range or unknown."""


class Busy(OndolError):
    """The conversation is answering; wait for the answer, or cancel it."""


class Closed(OndolError):
    """The model or the conversation was closed."""


class Cancelled(OndolError):
    """The caller cancelled the work. A cancelled answer ends without this error."""


class DoesNotFit(OndolError, MemoryError):
    """More memory is needed than is allowed, or than the system provides (`needed` and
    `allowed` are bytes; `allowed` is 0 if the system refused the memory).
    """


class ContextFull(OndolError):
    """The tokens do not fit in the context (`needed` and `allowed` are tokens)."""


class IoError(OndolError, OSError):
    """The operating system refused a file."""


class ModelFileError(OndolError):
    """The file is not a model, is damaged, or is a model that this version does not support."""


class Unsupported(OndolError):
    """This device or this model does not support the kernels or the type of KV cache."""


class SnapshotError(OndolError):
    """A conversation can't be saved, or restored from this file."""


class MemoryPressureError(OndolError):
    """The governor reports critical memory pressure."""


class DelegateError(OndolError):
    """An NPU's plug-in failed, or can't run the model."""


class StoreError(OndolError):
    """A packed copy of the model can't be made."""


class Internal(OndolError):
    """The library panicked: a bug in Ondol. Close the model and load it anew."""


_CLASSES: dict[ErrorCode, type[OndolError]] = {
    ErrorCode.INVALID_ARGUMENT: InvalidArgument,
    ErrorCode.BUSY: Busy,
    ErrorCode.PANICKED: Internal,
    ErrorCode.CLOSED: Closed,
    ErrorCode.IO: IoError,
    ErrorCode.NOT_GGUF: ModelFileError,
    ErrorCode.TRUNCATED: ModelFileError,
    ErrorCode.UNSUPPORTED_VERSION: ModelFileError,
    ErrorCode.UNSUPPORTED_TYPE: ModelFileError,
    ErrorCode.UNSUPPORTED_PACKING: ModelFileError,
    ErrorCode.UNKNOWN_ARCHITECTURE: ModelFileError,
    ErrorCode.MISSING_KEY: ModelFileError,
    ErrorCode.BAD_VALUE: ModelFileError,
    ErrorCode.MISSING_TENSOR: ModelFileError,
    ErrorCode.BAD_SHAPE: ModelFileError,
    ErrorCode.MALFORMED: ModelFileError,
    ErrorCode.TOKENIZER: ModelFileError,
    ErrorCode.TEMPLATE: ModelFileError,
    ErrorCode.DOES_NOT_FIT: DoesNotFit,
    ErrorCode.CONTEXT_FULL: ContextFull,
    ErrorCode.BAD_TOKEN: InvalidArgument,
    ErrorCode.EMPTY_PROMPT: InvalidArgument,
    ErrorCode.CANCELLED: Cancelled,
    ErrorCode.UNSUPPORTED_KERNELS: Unsupported,
    ErrorCode.SAMPLER: InvalidArgument,
    ErrorCode.UNSUPPORTED_KV_TYPE: Unsupported,
    ErrorCode.SNAPSHOT: SnapshotError,
    ErrorCode.MEMORY_PRESSURE: MemoryPressureError,
    ErrorCode.DELEGATE: DelegateError,
    ErrorCode.STORE: StoreError,
}


def from_ffi(error: Any) -> OndolError:
    """Converts an error of the UniFFI code to an error of this package."""
    code = ErrorCode(_ffi.error_code(error))
    kind = _CLASSES.get(code, OndolError)
    return kind(error.detail, code, error.needed, error.allowed)


def closed(what: str) -> Closed:
    """The error for a use after `close`."""
    return Closed(f"the {what} is closed", ErrorCode.CLOSED)


@contextmanager
def translated() -> Iterator[None]:
    """Converts the errors of a call of the UniFFI code to errors of this package."""
    try:
        yield
    except _ffi.OndolError as error:
        raise from_ffi(error) from None
    except _ffi.InternalError as error:
        message = f"Ondol panicked, which is a bug in Ondol. Load the model again ({error})"
        raise Internal(message, ErrorCode.PANICKED) from None
    except (ValueError, OverflowError) as error:
        # A number is out of the range of its type, or a text is not valid Unicode.
        raise InvalidArgument(str(error), ErrorCode.INVALID_ARGUMENT) from error
