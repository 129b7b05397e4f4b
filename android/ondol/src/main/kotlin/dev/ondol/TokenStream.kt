package dev.ondol

import dev.ondol.internal.Answer
import dev.ondol.internal.InterruptWatch

/**
 * The tokens of an answer. The thread that asks for a token computes it. Only one thread
 * at a time may take tokens. Close the stream if not all are taken.
 *
 * An interrupt of the thread that waits ends the answer: [hasNext] throws
 * [OndolException.Cancelled], and the thread stays interrupted.
 */
public class TokenStream internal constructor(private val answer: Answer) :
    Iterator<Token>, Iterable<Token>, AutoCloseable {
    private val interrupts = InterruptWatch(answer::cancel)
    private var next: Token? = null

    /** Why the answer ended, and its counts and speeds; null before the end. */
    @Volatile
    public var end: AnswerEvent.End? = null
        private set

    /**
     * Computes until there is text or the end of the answer.
     *
     * @throws OndolException the answer failed.
     * @throws OndolException.Cancelled the thread was interrupted.
     */
    override fun hasNext(): Boolean {
        if (next == null && end == null) advance()
        return next != null
    }

    override fun next(): Token {
        if (!hasNext()) throw NoSuchElementException("the answer has ended")
        return next!!.also { next = null }
    }

    /** Returns this stream, so that a for loop takes the tokens. */
    override fun iterator(): Iterator<Token> = this

    private fun advance() {
        try {
            interrupts.run(::take)
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

    /** Ends the answer, if it has not ended; text that was taken stays in the history. */
    override fun close() {
        interrupts.close()
        answer.close()
    }
}
