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
 * Its history is always defined: an answer that ended, or was cancelled after some of its
 * text had been taken, stays with that text, after the user's message. An answer that
 * failed, or was cancelled before any text, leaves no trace: the user's message is removed
 * too.
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

    /** Whether an answer is being generated; false after [close]. */
    public val isAnswering: Boolean
        get() {
            handle.callIfOpen { return Native.conversationIsAnswering(it) }
            return false
        }

    /**
     * Answers a message on a thread of the library, which calls the listener. This
     * function returns at once.
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
     * Answers a message token by token; each token is computed when it is taken.
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
     * Cancels the answer that is being generated, if there is one. The answer ends with
     * [FinishReason.CANCELLED], within the time of one token, or of one layer during the
     * prompt. After [close] there is none.
     */
    public fun cancel(): Unit = handle.callIfOpen(Native::conversationCancel)

    /**
     * Keeps the first messages and forgets the rest.
     *
     * @param messages the number of messages to keep, the system message included.
     * @throws OndolException.Busy
     * @throws OndolException.InvalidArgument the number is negative.
     * @throws OndolException.Closed
     */
    public fun truncate(messages: Int): Unit =
        handle.call { Native.conversationTruncate(it, messages) }

    /**
     * The number of tokens of the next answer's prompt, without the user's next message.
     *
     * @throws OndolException.ModelFile the chat template can't render the messages.
     * @throws OndolException.Closed
     */
    public fun countTokens(): Int = handle.call { Native.conversationCountTokens(it) }

    /**
     * A second conversation with the same history, which continues independently. The KV
     * cache is copied, so call this function on a background thread.
     *
     * @throws OndolException.Busy
     * @throws OndolException.DoesNotFit
     * @throws OndolException.MemoryPressure
     * @throws OndolException.Closed
     */
    public fun forkBlocking(): Conversation =
        Conversation(model, handle.call { Native.conversationFork(it) }, answers.copy())

    /**
     * Writes the conversation and its KV cache to a file, so that [Model.restoreBlocking]
     * does not compute it again. Afterwards the file is either complete or not there. Call
     * this function on a background thread.
     *
     * @throws OndolException.Busy
     * @throws OndolException.ModelFile the system refused the file.
     * @throws OndolException.Snapshot a write to the file failed.
     * @throws OndolException.Closed
     */
    public fun saveBlocking(path: String): Unit =
        handle.call { Native.conversationSave(it, path.encodeToByteArray()) }

    /**
     * Computes the messages so far, so that the next answer computes only what the user
     * adds. Call this function on a background thread, which may be interrupted.
     *
     * @throws OndolException.Busy
     * @throws OndolException.ContextFull
     * @throws OndolException.Cancelled the thread was interrupted.
     * @throws OndolException.Closed
     */
    public fun prewarmBlocking(): Unit = Cancel().use { cancel ->
        Workers.interruptibly(cancel::cancel) { prewarm(cancel) }
    }

    internal fun prewarm(cancel: Cancel) = handle.call { conversation ->
        cancel.handle.call { Native.conversationPrewarm(conversation, it) }
    }

    /**
     * Releases memory that the idle conversation does not need to the system.
     *
     * @throws OndolException.Closed
     */
    public fun releaseUnused(): Unit = handle.call { Native.conversationReleaseUnused(it) }

    /**
     * Ends the conversation and frees its memory. An answer that is being generated is
     * cancelled, and the memory is freed when the answer has ended. This function returns
     * at once; a second call does nothing.
     */
    override fun close() {
        handle.callIfOpen(Native::conversationClose)
        handle.close()
    }
}
