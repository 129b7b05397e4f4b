package dev.ondol

import dev.ondol.internal.Handle
import dev.ondol.internal.Native

/** The type of a KV cache. */
public enum class KvType {
    /** Half floats. */
    F16,

    /** 8-bit blocks, about half the memory. The head dimension must be a multiple of 32. */
    Q8_0,

    /** Floats: twice the memory of half floats, nothing is rounded. For comparisons. */
    F32,
}

/**
 * How a model is loaded and run; all its conversations share these options. They are read
 * when loading begins. In Kotlin set the properties; in Java call the functions of the
 * same names, which return this object.
 */
public class LoadOptions {
    /** Threads that compute, the calling one included; null uses one for each big core. */
    @set:JvmSynthetic
    public var threads: Int? = null

    /** Context in tokens; null uses what the model was trained for, at most 4096. */
    @set:JvmSynthetic
    public var context: Int? = null

    /** The type of the KV cache. */
    @set:JvmSynthetic
    public var kvType: KvType = KvType.F16

    /** The largest number of tokens in one pass over a prompt. */
    @set:JvmSynthetic
    public var prefillChunk: Int = 256

    /** The largest number of drafts in one decode pass; 0 switches drafts off. */
    @set:JvmSynthetic
    public var drafts: Int = 7

    /**
     * The most bytes that all conversations and the model's own heap may take together,
     * without the mapped file; null sets no limit.
     */
    @set:JvmSynthetic
    public var memoryLimit: Long? = null

    /** The name of the kernels; null uses the fastest that the CPU can run. */
    @set:JvmSynthetic
    public var kernels: String? = null

    /** Whether the threads stay on the big cores; otherwise the system chooses. */
    @set:JvmSynthetic
    public var bigCores: Boolean = false

    /**
     * A folder for the packed copy, which decodes faster and takes about as many bytes as
     * the file; null makes no packed copy. On Android use a folder in `noBackupFilesDir`.
     */
    @set:JvmSynthetic
    public var packedFolder: String? = null

    /** The most bytes of all packed copies in the folder; null sets no limit. */
    @set:JvmSynthetic
    public var packedLimit: Long? = null

    /** A plug-in that runs parts of the model on an NPU; null runs all on the CPU. */
    @set:JvmSynthetic
    public var delegate: DelegateOptions? = null

    public fun threads(threads: Int?): LoadOptions = apply { this.threads = threads }

    public fun context(tokens: Int?): LoadOptions = apply { context = tokens }

    public fun kvType(type: KvType): LoadOptions = apply { kvType = type }

    public fun prefillChunk(tokens: Int): LoadOptions = apply { prefillChunk = tokens }

    public fun drafts(drafts: Int): LoadOptions = apply { this.drafts = drafts }

    public fun memoryLimit(bytes: Long?): LoadOptions = apply { memoryLimit = bytes }

    public fun kernels(name: String?): LoadOptions = apply { kernels = name }

    public fun bigCores(bigCores: Boolean): LoadOptions = apply { this.bigCores = bigCores }

    public fun packedFolder(folder: String?): LoadOptions = apply { packedFolder = folder }

    public fun packedLimit(bytes: Long?): LoadOptions = apply { packedLimit = bytes }

    public fun delegate(options: DelegateOptions?): LoadOptions = apply { delegate = options }

    internal fun toNative(): Handle {
        val npu = delegate ?: DelegateOptions("")
        val address = Native.optionsNew(
            threads = threads ?: Native.NO_INT,
            context = context ?: Native.NO_INT,
            kvType = kvType.ordinal,
            prefillChunk = prefillChunk,
            drafts = drafts,
            memoryLimit = memoryLimit ?: Native.NO_LONG,
            kernels = kernels?.encodeToByteArray(),
            bigCores = bigCores,
            packedFolder = packedFolder?.encodeToByteArray(),
            packedLimit = packedLimit ?: Native.NO_LONG,
            delegate = delegate?.path?.encodeToByteArray(),
            delegateRows = npu.rows,
            delegateDecode = npu.decode?.compareTo(false) ?: Native.NO_INT,
            delegateStrict = npu.strict,
            delegateDeadlineMs = npu.deadlineMs,
            delegateCache = npu.cache?.encodeToByteArray(),
        )
        return Handle(address, "options", Native::optionsFree)
    }
}

/**
 * An NPU's plug-in, and how it is used. Its code is trusted.
 *
 * @property path the plug-in: a library that keeps the contract of `ondol_npu.h`.
 */
public class DelegateOptions(public val path: String) {
    /** The largest number of rows of a prefill program. */
    @set:JvmSynthetic
    public var rows: Int = 256

    /**
     * Whether decode runs on the device, as prefill does. With null, the stages run on the device
     * that `ondol bench --auto` found faster on it, where that was stored in [cache], or else
     * prefill alone.
     */
    @set:JvmSynthetic
    public var decode: Boolean? = null

    /** Whether a failure of the device is an error; otherwise the CPU computes the span. */
    @set:JvmSynthetic
    public var strict: Boolean = false

    /** The time limit of one call of the device, in milliseconds. */
    @set:JvmSynthetic
    public var deadlineMs: Long = 5000

    /**
     * A folder in which compiled programs are stored for later runs, or a bundle: the file
     * that `ondol compile` wrote, from which all programs come; null stores none.
     */
    @set:JvmSynthetic
    public var cache: String? = null

    public fun rows(rows: Int): DelegateOptions = apply { this.rows = rows }

    public fun decode(decode: Boolean?): DelegateOptions = apply { this.decode = decode }

    public fun strict(strict: Boolean): DelegateOptions = apply { this.strict = strict }

    public fun deadlineMs(milliseconds: Long): DelegateOptions = apply { deadlineMs = milliseconds }

    public fun cache(folder: String?): DelegateOptions = apply { cache = folder }
}

/** A stage of loading. */
public enum class LoadStage {
    /** Another process makes a packed copy in the folder. */
    WAITING,

    /** The file and its packed copy are hashed. */
    VERIFYING,

    /** The packed copy is written. */
    PACKING,

    /** Programs for the NPU are compiled. */
    COMPILING,
}

/**
 * The progress of a load. A load without a packed folder and without a delegate only maps
 * the file, and reports no progress.
 *
 * @property stage what is being done.
 * @property done bytes that are done; programs in [LoadStage.COMPILING].
 * @property total all bytes of the stage, or all programs; 0 in [LoadStage.WAITING].
 */
public class LoadProgress internal constructor(
    public val stage: LoadStage,
    public val done: Long,
    public val total: Long,
) {
    override fun toString(): String = "$stage $done of $total"
}

/** Receives the progress of loading. */
public fun interface LoadListener {
    /** Is called often, on a thread of the library. An exception ends the load. */
    public fun onProgress(progress: LoadProgress)
}
