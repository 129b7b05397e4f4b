"""The program's reports about the device."""

from __future__ import annotations

from enum import Enum

from . import _ffi


class ThermalState(Enum):
    """How hot the device is."""

    #: All threads work.
    NOMINAL = "nominal"
    #: Three quarters of the threads work.
    FAIR = "fair"
    #: Half of the threads work.
    SERIOUS = "serious"
    #: Only the calling thread works.
    CRITICAL = "critical"


class MemoryPressure(Enum):
    """How short memory is."""

    #: Memory is sufficient.
    NORMAL = "normal"
    #: Unused memory is released.
    LOW = "low"
    #: As for LOW, and no conversation can be made.
    CRITICAL = "critical"


class Governor:
    """Takes thermal state and memory pressure, and pauses answers, from any thread.

    It changes when work is done and by how many threads, never the result. One governor
    can be given to several models.
    """

    def __init__(self) -> None:
        self._ffi = _ffi.Governor()

    def set_thermal(self, state: ThermalState) -> None:
        """Reports how hot the device is."""
        self._ffi.set_thermal(_ffi.ThermalState[state.name])

    def set_memory_pressure(self, pressure: MemoryPressure) -> None:
        """Reports how short memory is."""
        self._ffi.set_memory_pressure(_ffi.MemoryPressure[pressure.name])

    def pause(self) -> None:
        """Pauses all answers after their current token or step of the prompt."""
        self._ffi.pause()

    def resume(self) -> None:
        """Ends the pause: the answers continue."""
        self._ffi.resume()

    @property
    def is_paused(self) -> bool:
        """Whether answers are paused."""
        return self._ffi.is_paused()
