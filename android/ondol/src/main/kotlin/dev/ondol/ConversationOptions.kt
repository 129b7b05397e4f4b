package dev.ondol

import dev.ondol.internal.pack

/**
 * A message of a conversation.
 *
 * @property role who speaks: "system", "user" or "assistant".
 * @property content the text.
 */
public data class ChatMessage(public val role: String, public val content: String)

internal fun List<ChatMessage>.toNative(): ByteArray =
    pack(flatMap { listOf(it.role, it.content) })

/** How a conversation begins, and the options of its answers. */
public class ConversationOptions {
    /** The system message, or null. */
    public var system: String? = null
        private set

    /** Messages that were exchanged before, after the system message. */
    public var messages: List<ChatMessage> = emptyList()
        private set

    /** Options of every answer that is not given its own. */
    public var answers: AnswerOptions = AnswerOptions()
        private set

    /** Sets the system message: instructions for the whole conversation. */
    public fun system(text: String): ConversationOptions = apply { system = text }

    /** Adds a message that was exchanged before. */
    public fun message(role: String, content: String): ConversationOptions =
        messages(messages + ChatMessage(role, content))

    /** Sets the messages that were exchanged before, in place of earlier ones. */
    public fun messages(messages: List<ChatMessage>): ConversationOptions =
        apply { this.messages = messages.toList() }

    /** Sets the options of every answer that is not given its own. */
    public fun answers(options: AnswerOptions): ConversationOptions = apply { answers = options }

    /** Sets the same options in a block: `answers { temperature = 0f }`. */
    @JvmSynthetic
    public fun answers(options: AnswerOptions.() -> Unit): ConversationOptions =
        answers(AnswerOptions().apply(options))
}
