package dev.ondol

import dev.ondol.internal.Cancel
import dev.ondol.internal.Native
import dev.ondol.internal.ProgressSink
import dev.ondol.internal.Workers

/**
 * Quantized GGUF models on the device: where everything begins. Kotlin has suspending
 * functions beside these, `Ondol.load` and `Ondol.memory`.
 */
public object Ondol {
    /** The library's version. */
    @JvmStatic
    public val version: String by lazy { Native.version().decodeToString() }

    /**
     * Loads a model: maps its file and, as the options ask, makes or checks its packed
     * copy and compiles programs for an NPU. Call it on a background thread, which may
     * be interrupted. No other program may change the file while the model is open.
     *
     * @throws OndolException.ModelFile a file that can't be used.
     * @throws OndolException.InvalidArgument an option that can't be used.
     * @throws OndolException.Unsupported
     * @throws OndolException.Store
     * @throws OndolException.Delegate
     * @throws OndolException.DoesNotFit no space for the packed copy.
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

    /** As the other one, with the path of a file. */
    @JvmStatic
    @JvmOverloads
    public fun loadBlocking(
        path: String,
        options: LoadOptions = LoadOptions(),
        listener: LoadListener? = null,
    ): Model = loadBlocking(ModelSource.path(path), options, listener)

    /**
     * The exact memory that a model's first conversation would take, before it is
     * loaded: only the file's header is read.
     *
     * @throws OndolException.DoesNotFit more than [LoadOptions.memoryLimit].
     * @throws OndolException.ModelFile a file that can't be used.
     * @throws OndolException.InvalidArgument an option that can't be used.
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

    /** As the other one, with the path of a file. */
    @JvmStatic
    @JvmOverloads
    public fun memoryBlocking(path: String, options: LoadOptions = LoadOptions()): Memory =
        memoryBlocking(ModelSource.path(path), options)

    /**
     * Passes the log to a logger: lines of this level and of more important ones. Null,
     * as in the beginning, switches it off.
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
