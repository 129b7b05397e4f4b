"""A real model, whose vocabulary cuts Hangul and emoji into several tokens."""

import asyncio
import os
from collections.abc import Iterator

import pytest

import ondol

#: The model's file: `cargo xtask python` fetches it.
FILE = os.environ.get("ONDOL_SMOLLM2", "")
KOREAN = "Repeat this exactly: 안녕하세요 🙂 안녕하세요 🙂 안녕하세요 🙂"
ENGLISH = "Hello! Who are you?"

pytestmark = pytest.mark.skipif(not FILE, reason="ONDOL_SMOLLM2 does not name SmolLM2's file")


@pytest.fixture(scope="module")
def smollm2() -> Iterator[ondol.Model]:
    with ondol.Model.load(FILE) as model:
        yield model


def test_it_answers_in_korean_and_english(smollm2: ondol.Model) -> None:
    assert smollm2.count_tokens("🙂") > 1
    for question, expected in [(KOREAN, "안녕하세요 🙂"), (ENGLISH, "Hello!")]:
        with smollm2.conversation() as conversation:
            chunks = list(conversation.send(question, temperature=0, max_tokens=16))
        assert len(chunks) > 4
        assert not any("\ufffd" in chunk for chunk in chunks), chunks
        assert expected in "".join(chunks)


def test_asyncio_has_the_same_text(smollm2: ondol.Model) -> None:
    async def main() -> str:
        answer = smollm2.conversation().send(KOREAN, temperature=0, max_tokens=16)
        return "".join([chunk async for chunk in answer])

    assert "안녕하세요 🙂" in asyncio.run(main())
