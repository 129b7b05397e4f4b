"""Tests Ctrl-C, and an interpreter that ends during an answer."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ondol
from ondol import _ffi
from ondol._answer import Listener

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


@contextmanager
def ctrl_c(after: float) -> Iterator[None]:
    """Sends Ctrl-C after some time, and expects its exception."""
    press = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    press.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        yield
    assert time.monotonic() - start < after + 5
    press.join()


@pytest.fixture
def paused() -> Iterator[tuple[ondol.Conversation, ondol.Governor]]:
    governor = ondol.Governor()
    with ondol.Model.hello(governor=governor) as model:
        conversation = model.conversation()
        governor.pause()
        yield conversation, governor


Paused = tuple[ondol.Conversation, ondol.Governor]


def test_ctrl_c_in_a_loop_leaves_the_conversation_usable(paused: Paused) -> None:
    conversation, governor = paused
    answer = conversation.send("Hello!", temperature=0)
    with ctrl_c(0.1):
        for _ in answer:
            pass
    assert conversation.history == []
    assert answer.finish_reason is ondol.FinishReason.CANCELLED
    governor.resume()
    assert conversation.send("Hello!", temperature=0).text()


def test_the_end_of_a_cancelled_answer_is_known_before_anything_else(
    paused: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, _ = paused
    told = Listener.end

    def late(self: Listener, end: _ffi.AnswerEnd) -> None:
        time.sleep(0.1)
        told(self, end)

    monkeypatch.setattr(Listener, "end", late)
    answer = conversation.send("Hello!", temperature=0)
    answer.cancel()
    assert conversation.history == []
    assert answer.finish_reason is ondol.FinishReason.CANCELLED


def test_ctrl_c_can_be_handled_where_it_is_caught(paused: Paused) -> None:
    conversation, governor = paused
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        conversation.send("Hello!").text()
    except KeyboardInterrupt:
        # The exception still has references to all objects that were on the stack.
        governor.resume()
        assert conversation.send("Hello!", temperature=0).text()


def test_ctrl_c_between_chunks(model: ondol.Model) -> None:
    conversation = model.conversation()
    with ctrl_c(0.05):
        while True:
            for _ in conversation.send("Hello!"):
                pass
            conversation.truncate(0)
    conversation.truncate(0)
    assert conversation.send("Hello!", temperature=0).text()


def test_ctrl_c_in_a_prewarm(paused: Paused) -> None:
    conversation, governor = paused
    with ctrl_c(0.1):
        conversation.prewarm()
    with ctrl_c(0.1):
        conversation._model.prewarm()
    governor.resume()
    conversation.prewarm()


def test_another_thread_s_cancel_ends_a_prewarm(paused: Paused) -> None:
    conversation, _ = paused
    threading.Timer(0.1, conversation.cancel).start()
    with pytest.raises(ondol.Cancelled):
        conversation.prewarm()


def test_ctrl_c_in_a_load(hello_path: Path) -> None:
    def press(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)

    folder = hello_path.parent / "copies"
    with pytest.raises(KeyboardInterrupt):
        ondol.Model.load(hello_path, packed_folder=folder, progress=press)


ENDS = """
import ondol
model = ondol.Model.hello()
answers = [model.conversation().send("Hello!", temperature=100, top_k=0) for _ in range(3)]
next(iter(answers[0]))
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("raise SystemExit(3)", 3), ("model.close()", 0), ("1/0", 1)]
)
def test_the_interpreter_may_end_during_answers(end: str, code: int) -> None:
    program = ENDS.format(end=end)
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, done.stderr
        assert not done.stderr or "ZeroDivisionError" in done.stderr
