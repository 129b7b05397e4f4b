package dev.ondol

import dev.ondol.internal.Answer
import java.util.concurrent.CountDownLatch

/** Receives the events of an answer; a thread of the library calls it. */
public interface AnswerListener {
    /** More text. An exception ends the answer and is passed to [onError]. */
    public fun onToken(token: Token)

    /** `done` of `total` tokens of the prompt were computed, those in the cache included. */
    public fun onPrompt(done: Int, total: Int) {}

    /** The answer has ended, and the conversation is ready for the next one. */
    public fun onEnd(end: AnswerEvent.End) {}

    /**
     * The answer failed with an [OndolException], or the listener threw. The
     * conversation is ready for the next answer.
     */
    public fun onError(error: Throwable) {}
}

/** An answer that a thread of the library generates. */
public class AnswerTask internal constructor(
    private val answer: Answer,
    private val listener: AnswerListener,
) : Runnable {
    private val done = CountDownLatch(1)
    private var end: AnswerEvent.End? = null
    private var error: Throwable? = null

    /** Whether the answer has ended and the listener's last function has returned. */
    public val isDone: Boolean
        get() = done.count == 0L

    /** Ends the answer soon, from any thread; then the listener's `onEnd` is called. */
    public fun cancel(): Unit = answer.cancel()

    /**
     * Waits for the end of the answer. If the listener threw, this function throws the
     * same exception.
     *
     * @throws OndolException the answer failed.
     * @throws InterruptedException the waiting thread was interrupted; the answer
     * continues.
     */
    @Throws(InterruptedException::class)
    public fun await(): AnswerEvent.End {
        done.await()
        error?.let { throw it }
        return end!!
    }

    /** Called by the library. */
    override fun run() {
        try {
            val end = answer.use { run(it) }
            this.end = end
            listener.onEnd(end)
        } catch (thrown: Throwable) {
            error = thrown
            listener.onError(thrown)
        } finally {
            done.countDown()
        }
    }

    private fun run(answer: Answer): AnswerEvent.End {
        while (true) {
            when (val event = answer.next()) {
                is AnswerEvent.Prompt -> listener.onPrompt(event.done, event.total)
                is AnswerEvent.Text -> listener.onToken(event.token)
                is AnswerEvent.End -> return event
            }
        }
    }
}
