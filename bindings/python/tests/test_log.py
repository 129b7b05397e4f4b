"""Checks that the library's log goes to Python's `logging`."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ondol


@pytest.fixture
def repaired(tmp_path: Path, hello_bytes: bytes) -> Path:
    """A model with a fault that the library repairs and about which it warns."""
    path = tmp_path / "repaired.gguf"
    path.write_bytes(hello_bytes.replace(b"tokenizer.ggml.pre", b"tokenizer.ggml.prx"))
    return path


def test_a_warning_arrives(repaired: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ondol.Model.load(repaired) as model:
        (warning,) = model.info.warnings
    (record,) = (record for record in caplog.records if warning in record.getMessage())
    assert (record.name, record.levelno) == ("ondol", logging.WARNING)


def test_the_logger_s_level_decides(caplog: pytest.LogCaptureFixture) -> None:
    def lines(level: int) -> list[str]:
        caplog.clear()
        with caplog.at_level(level, logger="ondol"):
            ondol.Governor().pause()
        return [record.levelname for record in caplog.records]

    assert lines(logging.DEBUG) == ["DEBUG"]
    assert lines(logging.INFO) == []


@pytest.fixture
def written(repaired: Path) -> Callable[[str], str]:
    """The standard error output of a program that loads a model with the fault."""

    def run(setup: str) -> str:
        program = f"import logging, ondol, sys; {setup}; ondol.Model.load(sys.argv[1])"
        command = [sys.executable, "-c", program, str(repaired)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    return run


def test_without_a_handler_it_is_silent(written: Callable[[str], str]) -> None:
    assert written("pass") == ""
    assert written("logging.basicConfig()").startswith("WARNING:ondol:")
