"""Runs every block of Python in docs/python.md."""

import re
import runpy
from pathlib import Path

import pytest
from conftest import HELLO

PAGE = Path(__file__).parents[3] / "docs/python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)


def test_the_first_token_takes_few_lines() -> None:
    assert len(BLOCKS[0].splitlines()) < 20


@pytest.mark.parametrize("block", BLOCKS)
def test_block(
    block: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.gguf").write_bytes(HELLO.read_bytes())
    (tmp_path / "block.py").write_text(block, "utf-8")
    runpy.run_path("block.py", run_name="__main__")
    assert capsys.readouterr().out
