package dev.ondol

import dev.ondol.internal.Cancel
import dev.ondol.internal.Handle
import dev.ondol.internal.Native
import dev.ondol.internal.Workers
import dev.ondol.internal.pack
import dev.ondol.internal.unpack

/**
 * A loaded model. It may be used from any thread. Its file stays mapped until it and all
 * of its conversations are closed; there is no finalizer, so close it.
 */
public class Model internal constructor(address: Long) : AutoCloseable {
    internal val handle = Handle(address, "model", Native::modelFree)

    /** Properties of the model. */
    public val info: ModelInfo = ModelInfo.of(unpack(Native.modelInfo(address)))

    init {
        OpenModels.add(this)
    }

    /**
     * The exact memory of the model with one conversation; nothing is allocated.
     *
     * @param context its context in tokens; null is the one that it was loaded with.
     * @throws OndolException.DoesNotFit more than [LoadOptions.memoryLimit].
     */
    @JvmOverloads
    public fun memory(context: Int? = null): Memory =
        Memory.of(handle.call { Native.modelMemory(it, context ?: Native.NO_INT) })

    /** Tokens of a text, as a user's text is counted: control tokens in it are text. */
    public fun countTokens(text: String): Int =
        handle.call { Native.countTokens(it, text.encodeToByteArray()) }

    /**
     * Tokens of messages with the chat template around them: what an answer to them
     * would have as its prompt.
     *
     * @throws OndolException.ModelFile the template can't render them.
     */
    public fun countTokens(messages: List<ChatMessage>): Int =
        handle.call { Native.countChatTokens(it, messages.toNative()) }

    /** The ids of a text's tokens. */
    public fun encode(text: String): IntArray =
        handle.call { Native.encode(it, text.encodeToByteArray()) }

    /** The text of token ids. Bytes that are not UTF-8 become U+FFFD. */
    public fun decode(ids: IntArray): String =
        handle.call { Native.decode(it, ids) }.decodeToString()

    /**
     * Makes what the conversations share and reads all weights once, so that the first
     * answer starts at once. Call it on a background thread, which may be interrupted.
     *
     * @throws OndolException.DoesNotFit
     * @throws OndolException.MemoryPressure
     * @throws OndolException.Cancelled the thread was interrupted.
     */
    public fun prewarmBlocking(): Unit = Cancel().use { cancel ->
        Workers.interruptibly(cancel::cancel) { prewarm(cancel) }
    }

    internal fun prewarm(cancel: Cancel) = handle.call { model ->
        cancel.handle.call { Native.modelPrewarm(model, it) }
    }

    /**
     * A new conversation. The first one takes the memory that [memory] says, each
     * further one only [Memory.furtherConversation]. Takes milliseconds.
     *
     * @throws OndolException.DoesNotFit
     * @throws OndolException.MemoryPressure
     */
    @JvmOverloads
    public fun conversation(options: ConversationOptions = ConversationOptions()): Conversation {
        val address = handle.call {
            Native.conversationNew(
                it,
                options.system?.encodeToByteArray(),
                options.messages.toNative(),
            )
        }
        return Conversation(this, address, options.answers.copy())
    }

    /** A new conversation, with options in a block: `model.conversation { system("…") }`. */
    @JvmSynthetic
    public fun conversation(options: ConversationOptions.() -> Unit): Conversation =
        conversation(ConversationOptions().apply(options))

    /**
     * A conversation from a file that [Conversation.saveBlocking] wrote, with the same
     * model and type of KV cache; nothing is computed again. Call it on a background
     * thread.
     *
     * @param answers options of its answers.
     * @throws OndolException.Snapshot the file is not a saved conversation, is damaged, or
     * belongs to another model.
     * @throws OndolException.ModelFile the system refused the file.
     * @throws OndolException.DoesNotFit
     * @throws OndolException.MemoryPressure
     */
    @JvmOverloads
    public fun restoreBlocking(
        path: String,
        answers: AnswerOptions = AnswerOptions(),
    ): Conversation {
        val address = handle.call { Native.conversationRestore(it, path.encodeToByteArray()) }
        return Conversation(this, address, answers.copy())
    }

    /** Gives memory that no answer needs at this moment back to the system. */
    public fun releaseUnused(): Unit = handle.call { Native.modelReleaseUnused(it) }

    /**
     * Closes the model. Its conversations go on, and the last of them frees the memory.
     */
    override fun close() {
        OpenModels.remove(this)
        handle.close()
    }
}

/** Properties of a model. */
public class ModelInfo private constructor(
    /** Its name in the file, or "unnamed". */
    public val name: String,
    /** The architecture's name. */
    public val architecture: String,
    /** The context that it was trained for, in tokens. */
    public val trainedContext: Int,
    /** The context of its conversations, in tokens. */
    public val context: Int,
    /** Tokens of the vocabulary. */
    public val vocabulary: Int,
    /** Bytes of its files. */
    public val fileBytes: Long,
    /** Whether the file has a chat template of its own; else one is guessed. */
    public val hasChatTemplate: Boolean,
    /** The packed copy that it runs from, or null. */
    public val packedCopy: String?,
    /** Why it runs from its own file although a packed copy was asked for, or null. */
    public val noPackedCopy: String?,
    /** Faults of the file that were repaired, and how. */
    public val warnings: List<String>,
) {
    internal companion object {
        private const val FIELDS = 9

        /** In the order of `model_info` in `bindings/jni/src/model.rs`. */
        fun of(texts: List<String>) = ModelInfo(
            name = texts[0],
            architecture = texts[1],
            trainedContext = texts[2].toInt(),
            context = texts[3].toInt(),
            vocabulary = texts[4].toInt(),
            fileBytes = texts[5].toLong(),
            hasChatTemplate = texts[6].toBoolean(),
            packedCopy = texts[7].ifEmpty { null },
            noPackedCopy = texts[8].ifEmpty { null },
            warnings = texts.drop(FIELDS),
        )
    }
}

/** The memory of a model with one conversation, in bytes. */
public class Memory private constructor(
    /**
     * Bytes of the file that are mapped, not allocated: clean pages, which the system
     * can drop and read again.
     */
    public val weightsMapped: Long,
    /** The KV cache and other states of one conversation. */
    public val kvCache: Long,
    /** Values that pass from step to step. */
    public val activations: Long,
    /** Rows of logits. */
    public val logits: Long,
    /** Bounds and lists of a screened output head. */
    public val screen: Long,
    /** Scratch of the threads. */
    public val scratch: Long,
    /** Norm weights and biases. */
    public val vectors: Long,
    /** The list of steps, and the ids of the tokens in the context. */
    public val steps: Long,
    /** Buffers that are shared with an NPU. */
    public val delegate: Long,
    /** The vocabulary, graph and chat template. */
    public val model: Long,
    /** Everything except [weightsMapped]. */
    public val total: Long,
    /** Each further conversation of the same model. */
    public val furtherConversation: Long,
) {
    override fun toString(): String =
        "$total bytes, $weightsMapped mapped, $furtherConversation for each further conversation"

    internal companion object {
        /** In the order of `memory_to_java` in `bindings/jni/src/model.rs`. */
        fun of(n: LongArray) =
            Memory(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11])
    }
}
