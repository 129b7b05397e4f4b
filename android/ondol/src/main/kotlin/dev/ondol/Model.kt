package dev.ondol

import dev.ondol.internal.Cancel
import dev.ondol.internal.Handle
import dev.ondol.internal.Native
import dev.ondol.internal.Workers
import dev.ondol.internal.pack
import dev.ondol.internal.unpack

/**
 * A loaded model. It may be used from any thread. Its file stays mapped until the model
 * and all of its conversations are closed; there is no finalizer, so close it.
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
     * @param context the conversation's context in tokens; null is the context that the
     * model was loaded with.
     * @throws OndolException.DoesNotFit the memory is more than [LoadOptions.memoryLimit].
     * @throws OndolException.InvalidArgument the context is negative.
     * @throws OndolException.Closed
     */
    @JvmOverloads
    public fun memory(context: Int? = null): Memory =
        Memory.of(handle.call { Native.modelMemory(it, context ?: Native.NO_INT) })

    /**
     * The number of tokens of a user's text: control tokens that it spells count as text.
     *
     * @throws OndolException.Closed
     */
    public fun countTokens(text: String): Int =
        handle.call { Native.countTokens(it, text.encodeToByteArray()) }

    /**
     * The number of tokens of messages with the chat template around them: the length of
     * the prompt for an answer to them.
     *
     * @throws OndolException.ModelFile the template can't render the messages.
     * @throws OndolException.Closed
     */
    public fun countTokens(messages: List<ChatMessage>): Int =
        handle.call { Native.countChatTokens(it, messages.toNative()) }

    /**
     * The ids of a text's tokens; control tokens that the text spells are encoded as text.
     *
     * @throws OndolException.Closed
     */
    public fun encode(text: String): IntArray =
        handle.call { Native.encode(it, text.encodeToByteArray()) }

    /**
     * The text of token ids. Bytes that are not UTF-8 become U+FFFD.
     *
     * @throws OndolException.Closed
     */
    public fun decode(ids: IntArray): String =
        handle.call { Native.decode(it, ids) }.decodeToString()

    /**
     * Makes the threads and the memory that the conversations share, and reads all weights
     * once, so that the first answer does not wait for the disk. Call this function on a
     * background thread, which may be interrupted.
     *
     * @throws OndolException.DoesNotFit
     * @throws OndolException.MemoryPressure
     * @throws OndolException.Cancelled the thread was interrupted.
     * @throws OndolException.Closed
     */
    public fun prewarmBlocking(): Unit = Cancel().use { cancel ->
        Workers.interruptibly(cancel::cancel) { prewarm(cancel) }
    }

    internal fun prewarm(cancel: Cancel) = handle.call { model ->
        cancel.handle.call { Native.modelPrewarm(model, it) }
    }

    /**
     * A new conversation. The first one allocates [Memory.total] bytes, less those of the
     * loaded model; each further one allocates only [Memory.furtherConversation] bytes.
     * This function takes milliseconds.
     *
     * @throws OndolException.DoesNotFit
     * @throws OndolException.MemoryPressure
     * @throws OndolException.Closed
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
     * model and type of KV cache; nothing is computed again. Call this function on a
     * background thread.
     *
     * @param answers options of the conversation's answers.
     * @throws OndolException.Snapshot the file is not a saved conversation, is damaged, or
     * belongs to another model.
     * @throws OndolException.ModelFile the system refused the file.
     * @throws OndolException.DoesNotFit
     * @throws OndolException.MemoryPressure
     * @throws OndolException.Closed
     */
    @JvmOverloads
    public fun restoreBlocking(
        path: String,
        answers: AnswerOptions = AnswerOptions(),
    ): Conversation {
        val address = handle.call { Native.conversationRestore(it, path.encodeToByteArray()) }
        return Conversation(this, address, answers.copy())
    }

    /**
     * Releases memory that no answer needs at this moment to the system.
     *
     * @throws OndolException.Closed
     */
    public fun releaseUnused(): Unit = handle.call { Native.modelReleaseUnused(it) }

    /**
     * Closes the model. Its conversations continue; the memory is freed when the last of
     * them is closed.
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
    /** Whether the file has a chat template of its own; otherwise the library chooses one. */
    public val hasChatTemplate: Boolean,
    /** The path of the packed copy that the model runs from, or null. */
    public val packedCopy: String?,
    /** Why the model has no packed copy although one was asked for, or null. */
    public val noPackedCopy: String?,
    /** Faults of the file that were repaired, and how. */
    public val warnings: List<String>,
) {
    internal companion object {
        private const val FIELDS = 9

        /** Reads the fields in the order of `model_info` in `bindings/jni/src/model.rs`. */
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
    /** Activations: the values that one step passes to the next. */
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
    /** The memory of each further conversation of the same model. */
    public val furtherConversation: Long,
) {
    override fun toString(): String =
        "$total bytes, $weightsMapped mapped, $furtherConversation for each further conversation"

    internal companion object {
        /** Reads the fields in the order of `memory_to_java` in `bindings/jni/src/model.rs`. */
        fun of(n: LongArray) =
            Memory(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11])
    }
}
