package dev.ondol

import dev.ondol.internal.Answer
import dev.ondol.internal.Workers

/**
 * The tokens of an answer, which are computed when they are asked for, on a thread of
 * the library. One thread at a time takes them; close it if they are not all taken.
 *
 * An interrupt of the thread that waits ends the answer: [hasNext] throws
 * [OndolException.Cancelled], and the thread stays interrupted.
 */
public class TokenStream internal constructor(private val answer: Answer) :
    Iterator<Token>, Iterable<Token>, AutoCloseable {
    private var next: Token? = null

    /** Why it ended, and its counts and speeds; null before the end. */
    @Volatile
    public var end: AnswerEvent.End? = null
        private set

    /**
     * Computes until there is text or the end.
     *
     * @throws OndolException the answer failed.
     */
    override fun hasNext(): Boolean {
        if (next == null && end == null) advance()
        return next != null
    }

    override fun next(): Token {
        if (!hasNext()) throw NoSuchElementException("the answer has ended")
        return next!!.also { next = null }
    }

    /** Itself, so that a for loop takes the tokens. */
    override fun iterator(): Iterator<Token> = this

    private fun advance() {
        try {
            // On another thread, since no interrupt ends native code.
            Workers.interruptibly(answer::cancel, ::take)
        } catch (failed: Throwable) {
            close()
            throw failed
        }
    }

    private fun take() {
        while (true) {
            when (val event = answer.next()) {
                is AnswerEvent.Prompt -> continue
                is AnswerEvent.Text -> next = event.token
                is AnswerEvent.End -> {
                    end = event
                    close()
                }
            }
            return
        }
    }

    /** Ends the answer soon, from any thread. */
    public fun cancel(): Unit = answer.cancel()

    /** Ends the answer, if it has not ended; the text that was taken stays. */
    override fun close(): Unit = answer.close()
}
