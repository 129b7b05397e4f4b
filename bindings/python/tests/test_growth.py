"""Checks that many loads and answers leave no memory, threads or files behind."""

import gc
import os
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest
from ondol._ffi import ondol_ffi

import ondol
from ondol import _answer

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="/proc")

#: Bytes by which the resident memory may differ: the allocator's caches.
SLACK = 4 << 20


def rss() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def held() -> dict[str, int]:
    """The amounts of everything that could leak."""
    gc.collect()
    ours = [o for o in gc.get_objects() if type(o).__module__.startswith("ondol")]
    maps = [
        kind._handle_map
        for kind in vars(ondol_ffi).values()
        if hasattr(kind, "_handle_map") and not isinstance(kind, type)
    ]
    return {
        "objects": len(ours),
        "handles": sum(map(len, maps)),
        "listeners": len(_answer._listeners),
        "threads": len(os.listdir("/proc/self/task")),
        "python_threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }


def settled() -> dict[str, int]:
    """Calls `held` after the threads that have done their work have ended."""
    end, now = monotonic() + 5, held()
    while monotonic() < end:
        sleep(0.02)
        before, now = now, held()
        if before == now and now["listeners"] == 0:
            break
    return now


def load_and_answer(path: Path) -> None:
    with ondol.Model.load(path) as model, model.conversation() as conversation:
        assert conversation.send("Hello!", max_tokens=2).text()


def answer(conversation: ondol.Conversation, round: int) -> None:
    # Every fifth answer is left early.
    with conversation.send("Hello!", temperature=0, max_tokens=8) as given:
        for _ in given:
            if round % 5 == 0:
                break
    conversation.truncate(0)


def test_loads_take_nothing_for_good(hello_path: Path, long: bool) -> None:
    rounds = 1000 if long else 100
    for _ in range(rounds // 5):
        load_and_answer(hello_path)
    before, resident = settled(), rss()
    for _ in range(rounds):
        load_and_answer(hello_path)
    assert settled() == before
    assert rss() - resident < SLACK


def test_answers_take_nothing_for_good(model: ondol.Model, long: bool) -> None:
    rounds = 10_000 if long else 500
    conversation = model.conversation()
    for round in range(rounds // 5):
        answer(conversation, round)
    before, resident, blocks = settled(), rss(), sys.getallocatedblocks()
    for round in range(rounds):
        answer(conversation, round)
    assert settled() == before
    assert sys.getallocatedblocks() - blocks < 1000
    assert rss() - resident < SLACK


def test_failures_take_nothing_for_good(model: ondol.Model, hello_path: Path) -> None:
    hello_path.write_bytes(hello_path.read_bytes()[:-1])

    def fail() -> None:
        with pytest.raises(ondol.OndolError):
            ondol.Model.load(hello_path)
        conversation = model.conversation()
        with pytest.raises(ondol.ContextFull):
            conversation.send("no " * 1000)
        with pytest.raises(ondol.InvalidArgument):
            conversation.send("Hello!", top_p=2)

    for _ in range(5):
        fail()
    before = settled()
    for _ in range(20):
        fail()
    assert settled() == before
