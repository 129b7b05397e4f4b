package dev.ondol.internal

import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.TimeUnit

/**
 * Runs calls on the thread of the caller and ends them if that thread is interrupted,
 * which native code does not notice: another thread looks every [EVERY_MILLISECONDS].
 * Unlike [Workers.interruptibly] it costs no change of threads, so it is for calls as
 * short as a token. Close it to stop looking.
 *
 * @param cancel ends a call that is running; any thread calls it.
 */
internal class InterruptWatch(private val cancel: () -> Unit) : AutoCloseable {
    @Volatile
    private var caller: Thread? = null
    private val looking = watcher.scheduleWithFixedDelay(
        ::look,
        EVERY_MILLISECONDS,
        EVERY_MILLISECONDS,
        TimeUnit.MILLISECONDS,
    )

    /**
     * Runs [call], unless the thread is interrupted already. The thread stays interrupted.
     *
     * @throws dev.ondol.OndolException.Cancelled the thread was interrupted.
     */
    inline fun run(call: () -> Unit) {
        val thread = Thread.currentThread()
        if (thread.isInterrupted) throw Errors.cancelled()
        caller = thread
        try {
            call()
        } finally {
            caller = null
        }
        if (thread.isInterrupted) throw Errors.cancelled()
    }

    private fun look() {
        if (caller?.isInterrupted == true) cancel()
    }

    override fun close() {
        looking.cancel(false)
    }

    private companion object {
        const val EVERY_MILLISECONDS = 20L

        val watcher = ScheduledThreadPoolExecutor(1) { work ->
            Thread(work, "ondol-interrupts").apply { isDaemon = true }
        }.apply {
            removeOnCancelPolicy = true
            setKeepAliveTime(Workers.IDLE_SECONDS, TimeUnit.SECONDS)
            allowCoreThreadTimeOut(true)
        }
    }
}
