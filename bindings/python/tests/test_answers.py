"""Tests conversations and answers, as an app uses them."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gguf import Gguf

import ondol
from ondol import AnswerOptions, FinishReason, Message
from ondol._answer import Listener, Stream

#: A text of 483 tokens.
LONG: AnswerOptions = {"temperature": 100, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 2}
#: Seconds that an answer may take to end after its cancel, in the best of some tries: in a
#: single try, other programs may use the machine's cores.
SOON = 0.1
TRIES = 5


def ask(conversation: ondol.Conversation, text: str) -> str:
    return conversation.send(text, temperature=0).text()


def alone(text: str) -> str:
    """The answer of a new model, which no other answer can have affected."""
    with ondol.Model.hello() as model, model.conversation() as conversation:
        return ask(conversation, text)


def anew(model: ondol.Model, history: list[Message]) -> ondol.Conversation:
    """A conversation with this history, none of which is in the KV cache."""
    return model.conversation(messages=history)


def test_answers_come_in_chunks_in_both_languages(conversation: ondol.Conversation) -> None:
    for question, word in [("Hello!", "Hello"), ("안녕하세요", "안녕하세요")]:
        answer = conversation.send(question, temperature=0)
        chunks = list(answer)
        assert len(chunks) > 3
        assert word in answer.text() == "".join(chunks)
        assert answer.finish_reason is FinishReason.END
        assert answer.stats.generated_tokens >= len(chunks)
    roles = [message.role for message in conversation.history]
    assert roles == ["user", "assistant"] * 2


def test_chunks_are_whole_characters(tmp_path: Path, hello_bytes: bytes) -> None:
    # An answer in which two tokens are the halves of an emoji.
    gguf = Gguf(hello_bytes)
    tokens = gguf.strings("tokenizer.ggml.tokens")
    tokens[tokens.index("Ġcan")] = "ðŁ"
    tokens[tokens.index("ĠI")] = "Ķ¥"
    gguf.set_strings("tokenizer.ggml.tokens", tokens)
    path = tmp_path / "emoji.gguf"
    path.write_bytes(gguf.bytes())
    with ondol.Model.load(path) as model, model.conversation() as conversation:
        chunks = list(conversation.send("Hello!", temperature=0))
        assert "🔥" in chunks
        assert chunks.index("🔥") > 0
        assert "�" not in "".join(chunks)
        assert conversation.history[1].content == "".join(chunks)


def test_text_goes_through_whole(model: ondol.Model) -> None:
    text = "안녕하세요, hello 🙂👨‍👩‍👧 온돌"
    assert model.decode(model.encode(text)) == text
    assert model.count_tokens(text) == len(model.encode(text))
    with model.conversation(system=text, messages=[Message("user", text)]) as conversation:
        assert [message.content for message in conversation.history] == [text, text]
        assert conversation.count_tokens() > 2 * model.count_tokens(text)


def test_async_iteration_leaves_the_loop_free(conversation: ondol.Conversation) -> None:
    async def chunks() -> list[str]:
        return [chunk async for chunk in conversation.send("Hello!", temperature=0)]

    async def main() -> tuple[list[str], int]:
        task, turns = asyncio.ensure_future(chunks()), 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        return await task, turns

    got, turns = asyncio.run(main())
    assert "".join(got) == alone("Hello!")
    assert turns > len(got)


def test_a_chunk_that_comes_just_before_the_wait_is_seen() -> None:
    stream = Stream()

    class Sleepers(deque[Any]):
        def append(self, sleeper: Any) -> None:
            stream.put("text")
            super().append(sleeper)

    stream._sleepers = Sleepers()
    got = asyncio.run(asyncio.wait_for(stream.get_async(), timeout=5))
    assert got == "text"


def test_await_gives_the_whole_text(conversation: ondol.Conversation) -> None:
    async def main() -> str:
        return await conversation.send("Hello!", temperature=0)

    assert asyncio.run(main()) == alone("Hello!")


@pytest.fixture
def slow() -> Iterator[ondol.Conversation]:
    """A conversation in which every token of a prompt is a pass."""
    model = ondol.Model.hello(prefill_chunk=1, threads=1, kernels="exact")
    with model, model.conversation() as conversation:
        yield conversation


def test_a_cancel_in_prefill(slow: ondol.Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    prefill = threading.Event()

    def prompt(self: Listener, done: int, total: int) -> None:
        assert 0 <= done <= total
        if 0 < done < total:
            prefill.set()

    monkeypatch.setattr(Listener, "prompt", prompt)
    taken = []
    for _ in range(TRIES):
        prefill.clear()
        answer = slow.send("안녕하세요 hello " * 20, temperature=0)
        assert prefill.wait(10)
        start = time.monotonic()
        answer.cancel()
        assert answer.text() == ""
        taken.append(time.monotonic() - start)
        assert answer.finish_reason is FinishReason.CANCELLED
        assert slow.history == []
    assert min(taken) < SOON, taken
    assert ask(slow, "Hello!") == exact("Hello!")


def exact(text: str) -> str:
    with ondol.Model.hello(kernels="exact") as model, model.conversation() as conversation:
        return ask(conversation, text)


def test_a_cancel_in_decode(model: ondol.Model) -> None:
    taken = []
    for _ in range(TRIES):
        conversation = model.conversation()
        answer = conversation.send("Hello!", **LONG)
        chunks = iter(answer)
        seen = [next(chunks), next(chunks)]
        start = time.monotonic()
        answer.cancel()
        seen += chunks
        taken.append(time.monotonic() - start)
        assert answer.finish_reason is FinishReason.CANCELLED
        history = conversation.history
        assert history == [Message("user", "Hello!"), Message("assistant", "".join(seen))]
        assert ask(conversation, "안녕하세요") == ask(anew(model, history), "안녕하세요")
    assert min(taken) < SOON, taken


def leave_the_loop(conversation: ondol.Conversation) -> None:
    for _ in conversation.send("Hello!", **LONG):
        break


def leave_a_loop_over_a_name(conversation: ondol.Conversation) -> None:
    answer = conversation.send("Hello!", **LONG)
    for _ in answer:
        break
    conversation.send("안녕하세요", max_tokens=1).text()
    answer.text()
    assert answer.finish_reason is FinishReason.CANCELLED


def raise_in_the_loop(conversation: ondol.Conversation) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in conversation.send("Hello!", **LONG):
            _ = 1 / 0


def drop_it(conversation: ondol.Conversation) -> None:
    conversation.send("Hello!", **LONG)


def leave_the_block(conversation: ondol.Conversation) -> None:
    with conversation.send("Hello!", **LONG):
        pass


def cancel_the_conversation(conversation: ondol.Conversation) -> None:
    answer = conversation.send("Hello!", **LONG)
    conversation.cancel()
    assert answer.text() is not None
    assert answer.finish_reason is FinishReason.CANCELLED


def leave_the_async_loop(conversation: ondol.Conversation) -> None:
    async def main() -> None:
        async for _ in conversation.send("Hello!", **LONG):
            break
        await conversation.send("안녕하세요", max_tokens=1)

    asyncio.run(main())


def leave_an_async_loop_over_a_name(conversation: ondol.Conversation) -> None:
    async def main() -> None:
        answer = conversation.send("Hello!", **LONG)
        async for _ in answer:
            break
        await conversation.send("안녕하세요", max_tokens=1)
        await answer
        assert answer.finish_reason is FinishReason.CANCELLED

    asyncio.run(main())


def leave_the_async_block(conversation: ondol.Conversation) -> None:
    async def main() -> None:
        async with conversation.send("Hello!", **LONG) as answer:
            assert answer.finish_reason is None
        assert answer.finish_reason is FinishReason.CANCELLED

    asyncio.run(main())


def cancel_the_task(conversation: ondol.Conversation) -> None:
    async def read() -> None:
        async for _ in conversation.send("Hello!", **LONG):
            pass

    async def main() -> None:
        task = asyncio.ensure_future(read())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await conversation.send("안녕하세요", max_tokens=1)

    asyncio.run(main())


@pytest.mark.parametrize(
    "leave",
    [
        leave_the_loop,
        leave_a_loop_over_a_name,
        raise_in_the_loop,
        drop_it,
        leave_the_block,
        cancel_the_conversation,
        leave_the_async_loop,
        leave_an_async_loop_over_a_name,
        leave_the_async_block,
        cancel_the_task,
    ],
)
def test_an_answer_that_is_left_is_cancelled(
    conversation: ondol.Conversation, leave: object
) -> None:
    assert callable(leave)
    leave(conversation)
    start = time.monotonic()
    conversation.truncate(0)
    assert ask(conversation, "Hello!") == alone("Hello!")
    assert time.monotonic() - start < 5


def test_other_uses_wait_for_the_end_too(
    conversation: ondol.Conversation, tmp_path: Path
) -> None:
    drop_it(conversation)
    with conversation.fork() as fork:
        assert fork.history == conversation.history
    drop_it(conversation)
    conversation.save(tmp_path / "saved")
    drop_it(conversation)
    conversation.prewarm()
    assert not conversation.is_answering


def test_two_readers_share_an_answer(conversation: ondol.Conversation) -> None:
    answer = conversation.send("Hello!", temperature=0)
    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(lambda: list(iter(answer))) for _ in range(2)]
        read = [chunk for reader in readers for chunk in reader.result()]
    assert sorted(read) == sorted(chunks_alone("Hello!"))
    assert answer.text() == alone("Hello!")


def chunks_alone(text: str) -> list[str]:
    with ondol.Model.hello() as model, model.conversation() as conversation:
        return list(conversation.send(text, temperature=0))


def test_two_conversations_at_once(model: ondol.Model) -> None:
    questions = ["Hello!", "안녕하세요"]
    expected = [alone(question) for question in questions]

    def in_a_thread(question: str) -> str:
        with model.conversation() as conversation:
            return ask(conversation, question)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(in_a_thread, questions)) == expected

    async def in_a_task(question: str) -> str:
        with model.conversation() as conversation:
            return await conversation.send(question, temperature=0)

    async def main() -> list[str]:
        return list(await asyncio.gather(*map(in_a_task, questions)))

    assert asyncio.run(main()) == expected


def test_the_same_seed_gives_the_same_answer(model: ondol.Model) -> None:
    def once(seed: int) -> str:
        with model.conversation() as conversation:
            return conversation.send("Hello!", temperature=5, seed=seed, max_tokens=20).text()

    assert once(1) == once(1) != once(2)


def test_an_answer_ends_for_several_reasons(conversation: ondol.Conversation) -> None:
    answer = conversation.send("Hello!", temperature=0, max_tokens=3)
    assert answer.text()
    assert answer.finish_reason is FinishReason.MAX_TOKENS
    assert answer.stats.generated_tokens == 3
    conversation.truncate(0)
    for stop in ["How", ["no such text", "How"]]:
        answer = conversation.send("Hello!", temperature=0, stop=stop)
        assert answer.text() == "Hello! "
        assert answer.finish_reason is FinishReason.STOP
        conversation.truncate(0)
    with ondol.Model.hello(context=64) as model, model.conversation() as small:
        answer = small.send("Hello!", **LONG)
        answer.text()
        assert answer.finish_reason is FinishReason.CONTEXT_FULL


def test_a_second_turn_computes_its_new_tokens_only(conversation: ondol.Conversation) -> None:
    first = conversation.send("Hello!", temperature=0)
    first.text()
    second = conversation.send("안녕하세요", temperature=0)
    second.text()
    had = first.stats.prompt_tokens + first.stats.generated_tokens
    assert second.stats.cached_tokens + 1 >= had


def test_a_saved_conversation_goes_on(
    model: ondol.Model, conversation: ondol.Conversation, tmp_path: Path
) -> None:
    ask(conversation, "Hello!")
    path = tmp_path / "대화"
    conversation.save(path)
    restored = model.restore(path)
    assert restored.history == conversation.history
    answer = restored.send("안녕하세요", temperature=0)
    assert answer.text() == ask(conversation, "안녕하세요")
    assert answer.stats.cached_tokens > 0


def test_prewarm_computes_the_system_message(model: ondol.Model) -> None:
    model.prewarm()
    with model.conversation(system="Answer in Korean.") as conversation:
        conversation.prewarm()
        answer = conversation.send("Hello!", temperature=0)
        text = answer.text()
        assert answer.stats.cached_tokens > 0
    with model.conversation(system="Answer in Korean.") as cold:
        assert ask(cold, "Hello!") == text


def test_messages_are_dicts_or_messages(model: ondol.Model) -> None:
    history = [Message("user", "Hello!"), Message("assistant", "Hi.")]
    dicts = [{"role": message.role, "content": message.content} for message in history]
    assert model.count_chat_tokens(history) == model.count_chat_tokens(dicts)
    for messages in (history, dicts):
        with model.conversation(messages=messages) as conversation:
            assert conversation.history == history


def test_the_memory_is_known(hello_path: Path) -> None:
    before = ondol.memory_before_load(hello_path, context=64)
    with ondol.Model.load(hello_path, context=64) as model:
        assert model.memory() == before
        assert model.memory(128).kv_cache == 2 * before.kv_cache
        assert model.info.context == 64
        assert model.info.file_bytes == hello_path.stat().st_size
        with ondol.Model.load(hello_path, context=64, kv_type="q8_0") as small:
            assert small.memory().kv_cache < before.kv_cache


def test_a_governor_pauses_answers(hello_path: Path) -> None:
    governor = ondol.Governor()
    governor.set_thermal(ondol.ThermalState.SERIOUS)
    governor.pause()
    assert governor.is_paused
    model = ondol.Model.load(hello_path, governor=governor)
    with model, model.conversation() as conversation:
        answer = conversation.send("Hello!", temperature=0)
        time.sleep(0.05)
        assert answer.finish_reason is None
        assert conversation.is_answering
        governor.resume()
        assert answer.text() == alone("Hello!")
