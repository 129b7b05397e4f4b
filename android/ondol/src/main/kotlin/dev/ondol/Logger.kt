package dev.ondol

import dev.ondol.internal.LogSink

/** How important a line of the log is. */
public enum class LogLevel {
    /** Something failed. */
    ERROR,

    /** Something is wrong, and the library continues. */
    WARN,

    /** Reports what was chosen and loaded. */
    INFO,

    /** Details for the developers of Ondol. */
    DEBUG,
}

/** Receives the log. */
public fun interface Logger {
    /**
     * Takes one line, in English. Any thread may call this function, several threads at the
     * same time too. An exception is ignored.
     */
    public fun log(level: LogLevel, line: String)
}

internal fun Logger.toSink(): LogSink =
    LogSink { level, line -> log(LogLevel.entries[level], line.decodeToString()) }
