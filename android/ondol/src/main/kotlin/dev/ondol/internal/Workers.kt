package dev.ondol.internal

import java.util.concurrent.ExecutionException
import java.util.concurrent.ExecutorService
import java.util.concurrent.FutureTask
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger

/**
 * The library's threads: one for each answer or call that runs. A thread ends after ten
 * idle seconds. Rust has threads of its own for the steps of a pass.
 */
internal object Workers {
    const val IDLE_SECONDS = 10L
    private val number = AtomicInteger()

    val executor: ExecutorService = ThreadPoolExecutor(
        0,
        Int.MAX_VALUE,
        IDLE_SECONDS,
        TimeUnit.SECONDS,
        SynchronousQueue(),
    ) { work ->
        Thread(work, "ondol-${number.incrementAndGet()}").apply { isDaemon = true }
    }

    /**
     * Runs [call] on one of the threads and waits for it. If the waiting thread is
     * interrupted, this function calls [cancel], waits for the end of [call], and throws
     * [dev.ondol.OndolException.Cancelled]; the thread stays interrupted.
     */
    fun <T> interruptibly(cancel: () -> Unit, call: () -> T): T {
        if (Thread.currentThread().isInterrupted) {
            cancel()
            throw Errors.cancelled()
        }
        val task = FutureTask(call)
        executor.execute(task)
        var interrupted = false
        try {
            while (true) {
                try {
                    val result = task.get()
                    if (!interrupted) return result
                    (result as? AutoCloseable)?.close()
                    throw Errors.cancelled()
                } catch (_: InterruptedException) {
                    interrupted = true
                    cancel()
                } catch (failed: ExecutionException) {
                    throw failed.cause ?: failed
                }
            }
        } finally {
            if (interrupted) Thread.currentThread().interrupt()
        }
    }
}
