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

    /** Unused memory is released, and the weights' pages: they are read again when used. */
    LOW,

    /** As for [LOW], and no conversation can be made. */
    CRITICAL,
}

/**
 * Takes the app's reports about the device, for all models. It changes when the work is
 * done and by how many threads, never the text. Every call returns at once, on any
 * thread. On Android, `OndolAndroid.follow` makes all these calls.
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

    /**
     * Whether answers are paused: they wait before their next token, or their next step of
     * the prompt, without using the CPU.
     */
    @JvmStatic
    public var isPaused: Boolean
        get() = Native.isPaused()
        set(paused) = Native.setPaused(paused)
}
