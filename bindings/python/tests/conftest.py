import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import ondol

# Programs that a shell runs in the background ignore Ctrl-C; these tests must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: The built-in model as a file.
HELLO = Path(__file__).parents[3] / "models/hello/hello.gguf"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="ten or more times as many rounds")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def model() -> Iterator[ondol.Model]:
    with ondol.Model.hello() as model:
        yield model


@pytest.fixture
def conversation(model: ondol.Model) -> Iterator[ondol.Conversation]:
    with model.conversation() as conversation:
        yield conversation


@pytest.fixture
def hello_bytes() -> bytes:
    return HELLO.read_bytes()


@pytest.fixture
def hello_path(tmp_path: Path, hello_bytes: bytes) -> Path:
    path = tmp_path / "hello.gguf"
    path.write_bytes(hello_bytes)
    return path
