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

    /** Instructions for the whole conversation. */
    public fun system(text: String): ConversationOptions = apply { system = text }

    /** A message that was exchanged before. */
    public fun message(role: String, content: String): ConversationOptions =
        messages(messages + ChatMessage(role, content))

    /** The messages that were exchanged before. */
    public fun messages(messages: List<ChatMessage>): ConversationOptions =
        apply { this.messages = messages.toList() }

    /** Options of every answer that is not given its own. */
    public fun answers(options: AnswerOptions): ConversationOptions = apply { answers = options }

    /** As the other one, with a block: `answers { temperature = 0f }`. */
    @JvmSynthetic
    public fun answers(options: AnswerOptions.() -> Unit): ConversationOptions =
        answers(AnswerOptions().apply(options))
}
