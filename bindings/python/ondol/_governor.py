"""What the app knows about the device."""

from __future__ import annotations

from enum import Enum

from . import _ffi


class ThermalState(Enum):
    """How hot the device is."""

    NOMINAL = "nominal"
    FAIR = "fair"
    #: Fewer threads work.
    SERIOUS = "serious"
    #: One thread works.
    CRITICAL = "critical"


class MemoryPressure(Enum):
    """How short memory is."""

    NORMAL = "normal"
    #: Unused memory is given back.
    LOW = "low"
    #: No conversation can be made.
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
        """Holds all answers after their current token or layer."""
        self._ffi.pause()

    def resume(self) -> None:
        """Lets them go on."""
        self._ffi.resume()

    @property
    def is_paused(self) -> bool:
        """Whether answers are held."""
        return self._ffi.is_paused()
