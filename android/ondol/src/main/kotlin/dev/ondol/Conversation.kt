package dev.ondol

import dev.ondol.internal.Answer
import dev.ondol.internal.Cancel
import dev.ondol.internal.Handle
import dev.ondol.internal.Native
import dev.ondol.internal.Workers
import dev.ondol.internal.unpack

/**
 * A conversation with a model. It may be used from any thread; it generates one answer
 * at a time, and other conversations of the model are independent of it. Kotlin's
 * `conversation.send(text)` is a Flow; Java has [stream], and [send] with a listener.
 *
 * Its history is always defined: an answer that ended, or was cancelled after some of
 * its text had been taken, stays with that text, after the user's message. An answer that
 * failed, or was cancelled before any text, leaves no trace.
 *
 * @property model the model.
 * @property answers options of every answer that is not given its own.
 */
public class Conversation internal constructor(
    public val model: Model,
    address: Long,
    public val answers: AnswerOptions,
) : AutoCloseable {
    private val handle = Handle(address, "conversation", Native::conversationFree)

    /**
     * The messages, the system message among them.
     *
     * @throws OndolException.Closed
     */
    public fun history(): List<ChatMessage> = unpack(handle.call { Native.conversationHistory(it) })
        .chunked(2) { (role, content) -> ChatMessage(role, content) }

    /** Whether an answer is being generated. */
    public val isAnswering: Boolean
        get() = handle.call { Native.conversationIsAnswering(it) }

    /**
     * Answers a message on a thread of the library, which calls the listener. Returns
     * at once.
     *
     * @throws OndolException.Busy another answer is being generated.
     * @throws OndolException.ContextFull the message does not fit in the context.
     * @throws OndolException.InvalidArgument options out of range.
     * @throws OndolException.Closed
     */
    @JvmOverloads
    public fun send(
        text: String,
        listener: AnswerListener,
        options: AnswerOptions = answers,
    ): AnswerTask {
        val answer = begin(text, options)
        try {
            return AnswerTask(answer, listener).also(Workers.executor::execute)
        } catch (noThread: OutOfMemoryError) {
            answer.close()
            throw noThread
        }
    }

    /**
     * Answers a message token by token, as they are taken.
     *
     * @throws OndolException.Busy another answer is being generated.
     * @throws OndolException.ContextFull the message does not fit in the context.
     * @throws OndolException.InvalidArgument options out of range.
     * @throws OndolException.Closed
     */
    @JvmOverloads
    public fun stream(text: String, options: AnswerOptions = answers): TokenStream =
        TokenStream(begin(text, options))

    internal fun begin(text: String, options: AnswerOptions): Answer =
        Answer(handle.call { options.send(it, text) })

    /**
     * Cancels the answer that is being generated, if there is one: within the time of a
     * token, or of a layer of the prompt. It ends with [FinishReason.CANCELLED].
     */
    public fun cancel(): Unit = handle.call { Native.conversationCancel(it) }

    /**
     * Keeps the first messages and forgets the rest.
     *
     * @param messages how many, the system message among them.
     * @throws OndolException.Busy
     */
    public fun truncate(messages: Int): Unit =
        handle.call { Native.conversationTruncate(it, messages) }

    /** Tokens that the next answer's prompt would have, without the user's message. */
    public fun countTokens(): Int = handle.call { Native.conversationCountTokens(it) }

    /**
     * A second conversation with the same history, which goes on independently. What
     * was computed is copied, so call it on a background thread.
     *
     * @throws OndolException.Busy
     * @throws OndolException.DoesNotFit
     * @throws OndolException.MemoryPressure
     */
    public fun forkBlocking(): Conversation =
        Conversation(model, handle.call { Native.conversationFork(it) }, answers.copy())

    /**
     * Writes the conversation to a file, with what was computed, so that
     * [Model.restoreBlocking] goes on without computing it again. The file is complete
     * or not there. Call it on a background thread.
     *
     * @throws OndolException.Busy
     * @throws OndolException.ModelFile the system refused the file.
     */
    public fun saveBlocking(path: String): Unit =
        handle.call { Native.conversationSave(it, path.encodeToByteArray()) }

    /**
     * Computes the messages so far, so that the next answer computes only what the user
     * adds. Call it on a background thread, which may be interrupted.
     *
     * @throws OndolException.Busy
     * @throws OndolException.ContextFull
     * @throws OndolException.Cancelled the thread was interrupted.
     */
    public fun prewarmBlocking(): Unit = Cancel().use { cancel ->
        Workers.interruptibly(cancel::cancel) { prewarm(cancel) }
    }

    internal fun prewarm(cancel: Cancel) = handle.call { conversation ->
        cancel.handle.call { Native.conversationPrewarm(conversation, it) }
    }

    /** Gives memory that the idle conversation does not need back to the system. */
    public fun releaseUnused(): Unit = handle.call { Native.conversationReleaseUnused(it) }

    /**
     * Ends the conversation and frees its memory. An answer that is being generated is
     * cancelled, and frees it when it has ended. Returns at once; twice does no harm.
     */
    override fun close() {
        handle.callIfOpen(Native::conversationClose)
        handle.close()
    }
}
