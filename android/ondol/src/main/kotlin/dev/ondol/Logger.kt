package dev.ondol

import dev.ondol.internal.LogSink

/** How much a line of the log matters. */
public enum class LogLevel {
    /** Something failed. */
    ERROR,

    /** Something is not as it should be, and goes on. */
    WARN,

    /** What was chosen and loaded. */
    INFO,

    /** Details for the developers of Ondol. */
    DEBUG,
}

/** Receives the log. */
public fun interface Logger {
    /**
     * A line, on any thread, several at the same time too. An exception is ignored.
     */
    public fun log(level: LogLevel, line: String)
}

internal fun Logger.toSink(): LogSink =
    LogSink { level, line -> log(LogLevel.entries[level], line.decodeToString()) }
