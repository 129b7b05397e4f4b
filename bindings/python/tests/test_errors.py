"""Every kind of error, and what is left after it."""

import pickle
from pathlib import Path
from typing import Callable

import pytest
from gguf import Gguf

import ondol
from ondol import ErrorCode, OndolError, _ffi
from ondol._answer import Listener
from ondol._errors import from_ffi, translated


def fails(code: ErrorCode, kind: type[OndolError], call: Callable[[], object]) -> OndolError:
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert error.code is code, error
    assert str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (kind, str(error), vars(error))
    return error


def test_codes_are_the_library_s() -> None:
    kinds = [kind for kind in vars(_ffi.OndolError).values() if isinstance(kind, type)]
    assert len(kinds) == len(ErrorCode)
    for kind in kinds:
        error = from_ffi(kind(detail="what", needed=2, allowed=1))
        name = error.code.name.replace("_", "").lower()
        assert name == kind.__name__.lower()
        assert (str(error), error.needed, error.allowed) == ("what", 2, 1)


def v4(gguf: Gguf) -> None:
    gguf.version = 4


def unknown_type(gguf: Gguf) -> None:
    next(iter(gguf.tensors.values())).dtype = 99


def unknown_architecture(gguf: Gguf) -> None:
    gguf.set_string("general.architecture", "abacus")


def packed_later(gguf: Gguf) -> None:
    tensor = next(iter(gguf.tensors.values()))
    tensor.dtype |= 0x4F4E << 16 | 0xFF << 8


def missing_key(gguf: Gguf) -> None:
    del gguf.values["llama.block_count"]


def bad_value(gguf: Gguf) -> None:
    gguf.set_string("llama.block_count", "three")


def missing_tensor(gguf: Gguf) -> None:
    del gguf.tensors["output_norm.weight"]


def bad_shape(gguf: Gguf) -> None:
    gguf.tensors["output_norm.weight"].dims = [64]


def malformed(gguf: Gguf) -> None:
    gguf.tensors["output_norm.weight"].offset += 1


def bad_vocabulary(gguf: Gguf) -> None:
    gguf.set_strings("tokenizer.ggml.tokens", ["the same"] * 100_000)


@pytest.mark.parametrize(
    ("code", "kind", "change"),
    [
        (ErrorCode.UNSUPPORTED_VERSION, ondol.Unsupported, v4),
        (ErrorCode.UNSUPPORTED_TYPE, ondol.Unsupported, unknown_type),
        (ErrorCode.UNSUPPORTED_PACKING, ondol.Unsupported, packed_later),
        (ErrorCode.UNKNOWN_ARCHITECTURE, ondol.Unsupported, unknown_architecture),
        (ErrorCode.MISSING_KEY, ondol.ModelFileError, missing_key),
        (ErrorCode.BAD_VALUE, ondol.ModelFileError, bad_value),
        (ErrorCode.MISSING_TENSOR, ondol.ModelFileError, missing_tensor),
        (ErrorCode.BAD_SHAPE, ondol.ModelFileError, bad_shape),
        (ErrorCode.MALFORMED, ondol.ModelFileError, malformed),
        (ErrorCode.TOKENIZER, ondol.ModelFileError, bad_vocabulary),
    ],
)
def test_damaged_files(
    code: ErrorCode,
    kind: type[OndolError],
    change: Callable[[Gguf], None],
    hello_path: Path,
) -> None:
    gguf = Gguf(hello_path.read_bytes())
    change(gguf)
    hello_path.write_bytes(gguf.bytes())
    fails(code, kind, lambda: ondol.Model.load(hello_path))
    fails(code, kind, lambda: ondol.memory_before_load(hello_path))


def test_a_file_that_is_cut_short_or_none(hello_path: Path) -> None:
    whole = hello_path.read_bytes()
    load = ondol.Model.load
    for length in (20, 1000, len(whole) - 1):
        hello_path.write_bytes(whole[:length])
        fails(ErrorCode.TRUNCATED, ondol.ModelFileError, lambda: load(hello_path))
    hello_path.write_bytes(b"no model at all, and long enough to see that")
    fails(ErrorCode.NOT_GGUF, ondol.ModelFileError, lambda: load(hello_path))
    hello_path.unlink()
    error = fails(ErrorCode.IO, ondol.IoError, lambda: load(hello_path))
    assert isinstance(error, OSError)
    assert str(hello_path) in str(error)
    fails(ErrorCode.IO, ondol.IoError, lambda: load(hello_path.parent))


def test_a_model_whose_file_is_removed_goes_on(hello_path: Path) -> None:
    with ondol.Model.load(hello_path) as model, model.conversation() as conversation:
        hello_path.unlink()
        assert "Hello" in conversation.send("Hello!", temperature=0).text()


def test_a_model_that_is_too_large(hello_path: Path) -> None:
    needed = ondol.memory_before_load(hello_path).total
    with ondol.Model.load(hello_path, memory_limit=1000) as model:
        error = fails(ErrorCode.DOES_NOT_FIT, ondol.DoesNotFit, model.conversation)
        assert isinstance(error, MemoryError)
        assert (error.needed, error.allowed) == (needed, 1000)
        fails(ErrorCode.DOES_NOT_FIT, ondol.DoesNotFit, lambda: model.memory(64))


def test_a_bad_template(hello_path: Path) -> None:
    gguf = Gguf(hello_path.read_bytes())
    gguf.set_string("tokenizer.chat_template", "{{ raise_exception('no') }}")
    hello_path.write_bytes(gguf.bytes())
    with ondol.Model.load(hello_path) as model, model.conversation() as conversation:
        send = conversation.send
        fails(ErrorCode.TEMPLATE, ondol.ModelFileError, lambda: send("Hello!"))


def test_a_full_context(conversation: ondol.Conversation) -> None:
    send = conversation.send
    error = fails(ErrorCode.CONTEXT_FULL, ondol.ContextFull, lambda: send("no " * 1000))
    assert error.needed > error.allowed == 512
    assert conversation.history == []
    assert send("Hello!").text()


def test_wrong_options(conversation: ondol.Conversation, hello_path: Path) -> None:
    send, hello = conversation.send, ondol.Model.hello
    wrong: list[Callable[[], object]] = [
        lambda: send("Hello!", top_p=2),
        lambda: send("Hello!", temperature=-1),
    ]
    for call in wrong:
        error = fails(ErrorCode.SAMPLER, ondol.InvalidArgument, call)
        assert isinstance(error, ValueError)
    out_of_range: list[Callable[[], object]] = [
        lambda: send("Hello!", max_tokens=-1),
        lambda: send("Hello!", seed=1 << 64),
        lambda: send("Hello!", temperature=1e300),
        lambda: send("half a pair: \ud83d"),
        lambda: hello(prefill_chunk=0),
        lambda: hello(context=-1),
        lambda: hello(kv_type="f64"),  # type: ignore[arg-type]
    ]
    for call in out_of_range:
        fails(ErrorCode.INVALID_ARGUMENT, ondol.InvalidArgument, call)
    kernels = fails(
        ErrorCode.UNSUPPORTED_KERNELS, ondol.Unsupported, lambda: hello(kernels="best")
    )
    assert "best" in str(kernels)
    for name in ("temprature", "loops"):
        with pytest.raises(TypeError, match=name):
            send("Hello!", **{name: 1})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=name):
            hello(**{name: 1})  # type: ignore[arg-type]
    assert conversation.history == []


def test_a_type_of_cache_that_the_model_can_t_have(hello_path: Path) -> None:
    gguf = Gguf(hello_path.read_bytes())
    # Eight heads of 16 are not whole blocks of 32.
    gguf.set_u32("llama.attention.head_count", 8)
    gguf.set_u32("llama.attention.head_count_kv", 4)
    gguf.set_u32("llama.rope.dimension_count", 16)
    hello_path.write_bytes(gguf.bytes())
    load = ondol.Model.load
    kind, code = ondol.Unsupported, ErrorCode.UNSUPPORTED_KV_TYPE
    fails(code, kind, lambda: load(hello_path, kv_type="q8_0"))
    with load(hello_path, kv_type="f16") as model:
        assert model.memory().total > 0


def test_one_answer_at_a_time(conversation: ondol.Conversation, tmp_path: Path) -> None:
    governor = ondol.Governor()
    with ondol.Model.hello(governor=governor) as model:
        conversation = model.conversation()
        governor.pause()
        answer = conversation.send("Hello!")
        calls: list[Callable[[], object]] = [
            lambda: conversation.send("More"),
            conversation.fork,
            conversation.prewarm,
            lambda: conversation.truncate(0),
            lambda: conversation.save(tmp_path / "saved"),
            lambda: answer.stats,
        ]
        for call in calls:
            fails(ErrorCode.BUSY, ondol.Busy, call)
        governor.resume()
        assert answer.text()


def test_use_after_close(tmp_path: Path) -> None:
    model = ondol.Model.hello()
    conversation, other = model.conversation(), model.conversation()
    fork = other.fork()
    conversation.close()
    conversation.close()
    for call in conversation_calls(conversation, tmp_path):
        fails(ErrorCode.CLOSED, ondol.Closed, call)
    assert not conversation.is_answering
    conversation.cancel()
    assert other.send("Hello!").text()
    model.close()
    model.close()
    calls: list[Callable[[], object]] = [
        lambda: model.info,
        model.memory,
        lambda: model.encode("text"),
        lambda: model.decode([1]),
        lambda: model.count_tokens("text"),
        lambda: model.count_chat_tokens([]),
        model.conversation,
        lambda: model.restore(tmp_path / "saved"),
        model.prewarm,
        model.release_unused,
        *conversation_calls(other, tmp_path),
        *conversation_calls(fork, tmp_path),
    ]
    for call in calls:
        fails(ErrorCode.CLOSED, ondol.Closed, call)


def conversation_calls(
    conversation: ondol.Conversation, folder: Path
) -> list[Callable[[], object]]:
    return [
        lambda: conversation.send("More"),
        lambda: conversation.history,
        lambda: conversation.truncate(0),
        lambda: conversation.save(folder / "saved"),
        conversation.count_tokens,
        conversation.fork,
        conversation.prewarm,
        conversation.release_unused,
    ]


def test_memory_pressure() -> None:
    governor = ondol.Governor()
    with ondol.Model.hello(governor=governor) as model:
        governor.set_memory_pressure(ondol.MemoryPressure.CRITICAL)
        kind = ondol.MemoryPressureError
        fails(ErrorCode.MEMORY_PRESSURE, kind, model.conversation)
        governor.set_memory_pressure(ondol.MemoryPressure.NORMAL)
        model.conversation().close()


def test_a_saved_conversation_that_is_none(
    model: ondol.Model, conversation: ondol.Conversation, tmp_path: Path
) -> None:
    path = tmp_path / "saved"
    conversation.send("Hello!").text()
    conversation.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    fails(ErrorCode.SNAPSHOT, ondol.SnapshotError, lambda: model.restore(path))
    absent = tmp_path / "none"
    fails(ErrorCode.IO, ondol.IoError, lambda: model.restore(absent))
    fails(ErrorCode.IO, ondol.IoError, lambda: conversation.save(absent / "saved"))


def test_a_delegate_that_is_none(tmp_path: Path) -> None:
    delegate = ondol.Delegate(tmp_path / "libnpu.so", deadline_ms=0)
    load = ondol.Model.hello
    code, kind = ErrorCode.INVALID_ARGUMENT, ondol.InvalidArgument
    fails(code, kind, lambda: load(delegate=delegate))
    delegate = ondol.Delegate(tmp_path / "libnpu.so", rows=64, cache=tmp_path)
    fails(ErrorCode.DELEGATE, ondol.DelegateError, lambda: load(delegate=delegate))


def test_a_packed_folder_that_is_none(hello_path: Path) -> None:
    folder = hello_path.parent / "copies"
    folder.write_bytes(b"a file")
    with ondol.Model.load(hello_path, packed_folder=folder) as model:
        assert model.info.packed_copy is None
        assert str(folder) in str(model.info.no_packed_copy)


def test_what_a_progress_function_raises_ends_the_load(hello_path: Path) -> None:
    folder, told = hello_path.parent / "copies", list[tuple[str, int, int]]()

    def raises(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))
        raise ZeroDivisionError("of the app")

    with pytest.raises(ZeroDivisionError, match="of the app"):
        ondol.Model.load(hello_path, packed_folder=folder, progress=raises)
    assert len(told) == 1
    told.clear()

    def tells(*progress: object) -> None:
        told.append(progress)  # type: ignore[arg-type]

    with ondol.Model.load(hello_path, packed_folder=folder, progress=tells) as model:
        assert all(0 <= done <= total for _, done, total in told)
        assert told
        assert model.info.packed_copy or model.info.no_packed_copy
        with model.conversation() as conversation:
            assert conversation.send("Hello!").text()


def test_an_exception_in_a_listener_ends_the_answer(
    conversation: ondol.Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(self: Listener, text: str, token: object) -> None:
        raise ZeroDivisionError("of the listener")

    with monkeypatch.context() as patch:
        patch.setattr(Listener, "text", raises)
        answer = conversation.send("Hello!")
        error = fails(ErrorCode.OTHER, OndolError, answer.text)
    assert "of the listener" in str(error)
    assert answer.finish_reason is ondol.FinishReason.FAILED
    assert conversation.send("Hello!").text()


def test_close_during_an_answer(model: ondol.Model) -> None:
    conversation = model.conversation()
    answer = conversation.send("Hello!", temperature=100, top_k=0, seed=2)
    chunks = iter(answer)
    next(chunks)
    conversation.close()
    list(chunks)
    assert answer.finish_reason is ondol.FinishReason.CANCELLED
    own = ondol.Model.hello()
    answer = own.conversation().send("Hello!", temperature=100, top_k=0, seed=2)
    own.close()
    answer.text()
    assert answer.finish_reason is ondol.FinishReason.CANCELLED


def test_a_panic_says_so(model: ondol.Model) -> None:
    if not hasattr(_ffi.Model, "panic"):
        pytest.skip("this build can't be made to panic")

    def panic() -> None:
        with translated():
            model._open().panic()

    error = fails(ErrorCode.PANICKED, ondol.Internal, panic)
    assert "on purpose" in str(error)
    with model.conversation() as conversation:
        assert conversation.send("Hello!").text()
