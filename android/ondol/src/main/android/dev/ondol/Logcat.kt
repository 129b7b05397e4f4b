package dev.ondol

import android.util.Log

/** A logger that writes to Logcat: `Ondol.setLogger(LogLevel.WARN, Logcat)`. */
public object Logcat : Logger {
    private const val TAG = "Ondol"

    override fun log(level: LogLevel, line: String) {
        Log.println(level.priority, TAG, line)
    }

    private val LogLevel.priority: Int
        get() = when (this) {
            LogLevel.ERROR -> Log.ERROR
            LogLevel.WARN -> Log.WARN
            LogLevel.INFO -> Log.INFO
            LogLevel.DEBUG -> Log.DEBUG
        }
}
