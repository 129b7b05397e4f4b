"""The library's log, in Python's `logging`: the logger "ondol"."""

from __future__ import annotations

import atexit
import logging

from . import _ffi

_logger = logging.getLogger("ondol")
# A library is silent in a program that has no handler.
_logger.addHandler(logging.NullHandler())

_LEVELS = {
    _ffi.LogLevel.ERROR: logging.ERROR,
    _ffi.LogLevel.WARN: logging.WARNING,
    _ffi.LogLevel.INFO: logging.INFO,
    _ffi.LogLevel.DEBUG: logging.DEBUG,
}


class _Listener(_ffi.LogListener):
    def line(self, level: _ffi.LogLevel, text: str) -> None:
        # The logger's level may change at any time, so each line is passed to the logger.
        _logger.log(_LEVELS[level], "%s", text)


_ffi.set_log(_ffi.LogLevel.DEBUG, _Listener())


@atexit.register
def _end() -> None:
    """Ends the log: the library's threads can't call an interpreter that has ended."""
    _ffi.set_log(_ffi.LogLevel.ERROR, None)
