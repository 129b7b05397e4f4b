"""Options. An option that is left out has the runtime's default."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Literal, TypedDict, Union

from . import _ffi
from ._errors import ErrorCode, InvalidArgument

if TYPE_CHECKING:
    from ._governor import Governor

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


@dataclass(frozen=True)
class Delegate:
    """An NPU's plug-in, and how it is used. The plug-in is trusted code."""

    #: The plug-in: a library that keeps the contract of `ondol_npu.h`.
    path: Path
    #: The largest number of rows of a prefill program.
    rows: int | None = None
    #: Whether decode runs on the device, as prefill does. With `None`, the stages run on the
    #: device that `ondol bench --auto` found faster on it, where that was stored in `cache`, or
    #: else prefill alone.
    decode: bool | None = None
    #: Whether a failure of the device is an error; otherwise the CPU computes the span.
    strict: bool | None = None
    #: The time limit of one call of the device, in milliseconds.
    deadline_ms: int | None = None
    #: A folder in which compiled programs are stored for later runs, or a bundle: the file
    #: that `ondol compile` wrote, from which all programs come.
    cache: Path | None = None


class LoadOptions(TypedDict, total=False):
    """How a model is loaded and run; all its conversations share these options."""

    #: The number of threads that compute, the calling thread included. The default is one
    #: for each big core.
    threads: int | None
    #: Context in tokens. The default is what the model was trained for, at most 4096.
    context: int | None
    #: The type of the KV cache.
    kv_type: Literal["f16", "q8_0", "f32"] | None
    #: The largest number of tokens in one prefill pass.
    prefill_chunk: int | None
    #: The largest number of drafts in one decode pass; 0 switches drafts off.
    drafts: int | None
    #: The most bytes that all conversations and the model's own heap may take together.
    memory_limit: int | None
    #: The name of the kernels. The default is the fastest that the CPU can run.
    kernels: str | None
    #: Whether the threads run on the big cores alone, where the system allows it.
    big_cores: bool | None
    #: A folder for the packed copy, which decodes faster and takes about as many bytes as
    #: the file. Without it no packed copy is made.
    packed_folder: Path | None
    #: The most bytes of all packed copies in the folder.
    packed_limit: int | None
    #: A plug-in that runs parts of the model on an NPU.
    delegate: Delegate | None
    #: The governor through which the program reports thermal state and memory pressure,
    #: and pauses answers.
    governor: Governor | None


class AnswerOptions(TypedDict, total=False):
    """How an answer is generated."""

    #: The most tokens of an answer. Without it there is no limit.
    max_tokens: int | None
    #: Divides the logits: 0 always takes the likeliest token; higher values vary more.
    temperature: float | None
    #: The same seed gives the same answer. Without it each answer has a new seed.
    seed: int | None
    #: Samples from this many of the likeliest tokens; 0 is all.
    top_k: int | None
    #: Samples from the likeliest tokens whose probabilities add up to this; 1 is all.
    top_p: float | None
    #: Leaves out tokens whose probability is less than this share of the likeliest
    #: token's; 0 leaves out none.
    min_p: float | None
    #: Divides positive and multiplies negative logits of recent tokens; 1 is off.
    repetition_penalty: float | None
    #: Is subtracted from a recent token's logit for each time it occurs; 0 is off.
    frequency_penalty: float | None
    #: Is subtracted once from the logit of each recent token; 0 is off.
    presence_penalty: float | None
    #: How many of the last tokens count as recent for the penalties.
    penalty_window: int | None
    #: The text ends before the first of these strings.
    stop: Iterable[str]


_KV_TYPES = {
    "f16": _ffi.KvType.F16,
    "q8_0": _ffi.KvType.Q80,
    "f32": _ffi.KvType.F32,
}


def kv_type(name: str) -> _ffi.KvType:
    """The UniFFI value for the name of a type of KV cache."""
    try:
        return _KV_TYPES[name]
    except KeyError:
        names = " or ".join(_KV_TYPES)
        message = f"kv_type is {name!r}; it must be {names}"
        raise InvalidArgument(message, ErrorCode.INVALID_ARGUMENT) from None


def _delegate(delegate: Delegate) -> _ffi.DelegateOptions:
    return _ffi.DelegateOptions(
        path=os.fsdecode(delegate.path),
        rows=delegate.rows,
        decode=delegate.decode,
        strict=delegate.strict,
        deadline_ms=delegate.deadline_ms,
        cache=None if delegate.cache is None else os.fsdecode(delegate.cache),
    )


_LOAD: dict[str, Callable[[Any], object]] = {
    "kv_type": kv_type,
    "packed_folder": os.fsdecode,
    "delegate": _delegate,
}


def load_options(options: LoadOptions) -> tuple[_ffi.LoadOptions, _ffi.Governor | None]:
    """The UniFFI values for the options of a load, and its governor."""
    values: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
    governor = values.pop("governor", None)
    for name, convert in _LOAD.items():
        if name in values:
            values[name] = convert(values[name])
    return _ffi.LoadOptions(**values), governor and governor._ffi


def answer_options(options: AnswerOptions) -> _ffi.AnswerOptions:
    """The UniFFI values for the options of an answer."""
    values: dict[str, Any] = {**options}
    stop = values.get("stop")
    if isinstance(stop, str):
        # As an iterable, each of its characters would be a stop string.
        values["stop"] = [stop]
    elif stop is not None:
        values["stop"] = list(stop)
    return _ffi.AnswerOptions(**values)
