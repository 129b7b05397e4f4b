package dev.ondol.internal

import java.nio.ByteBuffer

/**
 * The native methods, as `bindings/jni/src/methods.rs` registers them. A handle is the
 * address of a value in Rust; [Handle] owns and frees it. Texts are UTF-8; [pack] packs
 * lists of texts into one array.
 */
internal object Native {
    /** Stands for null where an Int is expected. */
    const val NO_INT: Int = Int.MIN_VALUE

    /** Stands for null where a Long is expected. */
    const val NO_LONG: Long = Long.MIN_VALUE

    init {
        System.loadLibrary("ondol_jni")
    }

    @JvmStatic external fun version(): ByteArray
    @JvmStatic external fun setLogger(level: Int, sink: LogSink?)

    @JvmStatic external fun setThermal(state: Int)
    @JvmStatic external fun thermal(): Int
    @JvmStatic external fun thermalFromAndroid(status: Int): Int
    @JvmStatic external fun setMemoryPressure(state: Int)
    @JvmStatic external fun memoryPressure(): Int
    @JvmStatic external fun setPaused(paused: Boolean)
    @JvmStatic external fun isPaused(): Boolean

    @JvmStatic external fun cancelNew(): Long
    @JvmStatic external fun cancel(token: Long)
    @JvmStatic external fun cancelFree(token: Long)

    @JvmStatic external fun optionsNew(
        threads: Int,
        context: Int,
        kvType: Int,
        prefillChunk: Int,
        drafts: Int,
        memoryLimit: Long,
        kernels: ByteArray?,
        bigCores: Boolean,
        packedFolder: ByteArray?,
        packedLimit: Long,
        delegate: ByteArray?,
        delegateRows: Int,
        delegateDecode: Int,
        delegateStrict: Boolean,
        delegateDeadlineMs: Long,
        delegateCache: ByteArray?,
    ): Long
    @JvmStatic external fun optionsFree(options: Long)

    /** Loads the file at the path, else that of the descriptor, else the built-in model. */
    @JvmStatic external fun load(
        path: ByteArray?,
        descriptor: Int,
        offset: Long,
        length: Long,
        options: Long,
        cancel: Long,
        progress: ProgressSink?,
    ): Long
    @JvmStatic external fun memoryBeforeLoad(
        path: ByteArray?,
        descriptor: Int,
        offset: Long,
        length: Long,
        options: Long,
    ): LongArray

    @JvmStatic external fun modelFree(model: Long)
    @JvmStatic external fun modelMemory(model: Long, context: Int): LongArray
    @JvmStatic external fun modelInfo(model: Long): ByteArray
    @JvmStatic external fun modelPrewarm(model: Long, cancel: Long)
    @JvmStatic external fun modelReleaseUnused(model: Long)
    @JvmStatic external fun countTokens(model: Long, text: ByteArray): Int
    @JvmStatic external fun countChatTokens(model: Long, messages: ByteArray): Int
    @JvmStatic external fun encode(model: Long, text: ByteArray): IntArray
    @JvmStatic external fun decode(model: Long, ids: IntArray): ByteArray

    @JvmStatic external fun conversationNew(model: Long, system: ByteArray?, messages: ByteArray): Long
    @JvmStatic external fun conversationRestore(model: Long, path: ByteArray): Long
    @JvmStatic external fun conversationFork(conversation: Long): Long
    @JvmStatic external fun conversationSave(conversation: Long, path: ByteArray)
    @JvmStatic external fun conversationPrewarm(conversation: Long, cancel: Long)
    @JvmStatic external fun conversationCancel(conversation: Long)
    @JvmStatic external fun conversationIsAnswering(conversation: Long): Boolean
    @JvmStatic external fun conversationHistory(conversation: Long): ByteArray
    @JvmStatic external fun conversationTruncate(conversation: Long, messages: Int)
    @JvmStatic external fun conversationCountTokens(conversation: Long): Int
    @JvmStatic external fun conversationReleaseUnused(conversation: Long)
    @JvmStatic external fun conversationClose(conversation: Long)
    @JvmStatic external fun conversationFree(conversation: Long)

    @JvmStatic external fun send(
        conversation: Long,
        text: ByteArray,
        temperature: Float,
        topK: Int,
        topP: Float,
        minP: Float,
        repetitionPenalty: Float,
        frequencyPenalty: Float,
        presencePenalty: Float,
        penaltyWindow: Int,
        hasSeed: Boolean,
        seed: Long,
        maxTokens: Int,
        stop: ByteArray,
    ): Long

    /** Returns an event as one number, which [Answer] reads. */
    @JvmStatic external fun answerNext(answer: Long, buffer: ByteBuffer): Long

    /** Returns the ordinal of the finish reason, and stores the statistics in [stats]. */
    @JvmStatic external fun answerEnd(answer: Long, stats: DoubleArray): Int
    @JvmStatic external fun answerCancel(answer: Long)
    @JvmStatic external fun answerFree(answer: Long)
}

/** Receives the progress from [Native.load], on the thread that called it. */
internal fun interface ProgressSink {
    fun progress(stage: Int, done: Long, total: Long)
}

/** Receives a line of the log; any thread may call it. */
internal fun interface LogSink {
    fun log(level: Int, line: ByteArray)
}
