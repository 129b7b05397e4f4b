package dev.ondol

import dev.ondol.internal.Cancel
import dev.ondol.internal.Native
import dev.ondol.internal.ProgressSink
import dev.ondol.internal.Workers

/**
 * The library's entry: loads quantized GGUF models, which run on the device. Kotlin also
 * has the suspending functions `Ondol.load` and `Ondol.memory`.
 */
public object Ondol {
    /** The library's version. */
    @JvmStatic
    public val version: String by lazy { Native.version().decodeToString() }

    /**
     * Loads a model: maps its file and, as the options ask, makes or checks its packed
     * copy and compiles programs for an NPU. Call this function on a background thread,
     * which may be interrupted. No other program may change the file while the model is
     * open. A packed copy that can't be made is no error: [ModelInfo.noPackedCopy] then
     * has the reason.
     *
     * @throws OndolException.ModelFile the file can't be used.
     * @throws OndolException.InvalidArgument an option can't be used.
     * @throws OndolException.Unsupported this device or model does not support the kernels
     * or the type of KV cache of the options.
     * @throws OndolException.Delegate the plug-in failed, or can't run the model.
     * @throws OndolException.DoesNotFit the system does not provide the memory.
     * @throws OndolException.Cancelled the thread was interrupted.
     */
    @JvmStatic
    @JvmOverloads
    public fun loadBlocking(
        source: ModelSource,
        options: LoadOptions = LoadOptions(),
        listener: LoadListener? = null,
    ): Model = Cancel().use { cancel ->
        Workers.interruptibly(cancel::cancel) { load(source, options, cancel, listener) }
    }

    /** Loads the model of the file at [path], as the function above. */
    @JvmStatic
    @JvmOverloads
    public fun loadBlocking(
        path: String,
        options: LoadOptions = LoadOptions(),
        listener: LoadListener? = null,
    ): Model = loadBlocking(ModelSource.path(path), options, listener)

    /**
     * The exact memory of a model with its first conversation, before the model is loaded:
     * only the file's header is read.
     *
     * @throws OndolException.DoesNotFit the memory is more than [LoadOptions.memoryLimit].
     * @throws OndolException.ModelFile the file can't be used.
     * @throws OndolException.InvalidArgument an option can't be used.
     */
    @JvmStatic
    @JvmOverloads
    public fun memoryBlocking(source: ModelSource, options: LoadOptions = LoadOptions()): Memory =
        options.toNative().use { chosen ->
            source.open { place ->
                Memory.of(
                    chosen.call {
                        Native.memoryBeforeLoad(
                            place.path,
                            place.descriptor,
                            place.offset,
                            place.length,
                            it,
                        )
                    },
                )
            }
        }

    /** The same for the file at [path]. */
    @JvmStatic
    @JvmOverloads
    public fun memoryBlocking(path: String, options: LoadOptions = LoadOptions()): Memory =
        memoryBlocking(ModelSource.path(path), options)

    /**
     * Passes the log's lines of this level and of more important ones to [logger], in place
     * of the previous logger. Null switches the log off; at the start it is off.
     */
    @JvmStatic
    public fun setLogger(level: LogLevel, logger: Logger?): Unit =
        Native.setLogger(level.ordinal, logger?.toSink())

    internal fun load(
        source: ModelSource,
        options: LoadOptions,
        cancel: Cancel,
        listener: LoadListener?,
    ): Model {
        val sink = listener?.let { it ->
            ProgressSink { stage, done, total ->
                it.onProgress(LoadProgress(LoadStage.entries[stage], done, total))
            }
        }
        return options.toNative().use { chosen ->
            source.open { place ->
                val model = cancel.handle.call { token ->
                    chosen.call {
                        Native.load(
                            place.path,
                            place.descriptor,
                            place.offset,
                            place.length,
                            it,
                            token,
                            sink,
                        )
                    }
                }
                Model(model)
            }
        }
    }
}
