package dev.ondol

import dev.ondol.internal.Native

/** How hot the device is. */
public enum class ThermalState {
    /** All threads work. */
    NOMINAL,

    /** Three quarters of the threads work. */
    FAIR,

    /** Half of the threads work. */
    SERIOUS,

    /** Only the calling thread works. */
    CRITICAL,
}

/** How short the device's memory is. */
public enum class MemoryPressure {
    /** Memory is sufficient. */
    NORMAL,

    /** Answers give unused memory back, and the weights are read from the file again. */
    LOW,

    /** As for [LOW], and no conversation can be made. */
    CRITICAL,
}

/**
 * What the app reports about the device, for all models. It changes when the work is
 * done and by how many threads, never the text. Every call returns at once, on any
 * thread. On Android, `OndolAndroid.follow` does all of it.
 */
public object Governor {
    /** The thermal state. */
    @JvmStatic
    public var thermal: ThermalState
        get() = ThermalState.entries[Native.thermal()]
        set(state) = Native.setThermal(state.ordinal)

    /** The memory pressure. */
    @JvmStatic
    public var memoryPressure: MemoryPressure
        get() = MemoryPressure.entries[Native.memoryPressure()]
        set(pressure) = Native.setMemoryPressure(pressure.ordinal)

    /** Whether answers wait: before their next token, without using the CPU. */
    @JvmStatic
    public var isPaused: Boolean
        get() = Native.isPaused()
        set(paused) = Native.setPaused(paused)
}
