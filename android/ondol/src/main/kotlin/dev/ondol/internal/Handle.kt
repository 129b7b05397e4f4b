package dev.ondol.internal

import dev.ondol.OndolException
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicInteger

/**
 * A value in Rust that this object owns. It is freed when the handle is closed and no call
 * uses the value any more: `close()` on one thread never frees it during a call on another.
 */
internal class Handle(
    private val address: Long,
    private val what: String,
    private val free: (Long) -> Unit,
) : AutoCloseable {
    /** The number of calls that use the value, plus 1 until [close]. */
    private val users = AtomicInteger(1)
    private val closed = AtomicBoolean()

    /** Calls [method] with the address; throws [OndolException.Closed] after [close]. */
    inline fun <T> call(method: (Long) -> T): T {
        val address = enter()
        try {
            return method(address)
        } finally {
            leave()
        }
    }

    /** As [call], but does nothing after [close]. */
    inline fun callIfOpen(method: (Long) -> Unit) {
        if (tryEnter()) {
            try {
                method(address)
            } finally {
                leave()
            }
        }
    }

    override fun close() {
        if (closed.compareAndSet(false, true)) leave()
    }

    fun enter(): Long {
        if (!tryEnter()) throw Errors.closed(what)
        return address
    }

    fun tryEnter(): Boolean {
        while (!closed.get()) {
            val count = users.get()
            if (count == 0) return false
            if (users.compareAndSet(count, count + 1)) return true
        }
        return false
    }

    fun leave() {
        if (users.decrementAndGet() == 0) free(address)
    }
}

/** A token that ends one piece of work, from any thread. */
internal class Cancel : AutoCloseable {
    val handle: Handle = Handle(Native.cancelNew(), "work", Native::cancelFree)

    fun cancel() = handle.callIfOpen(Native::cancel)

    override fun close() = handle.close()
}
