@file:JvmName("OndolCoroutines")

package dev.ondol

import dev.ondol.internal.Cancel
import dev.ondol.internal.Workers
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.flow.transform
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

// Only this file needs kotlinx-coroutines: apps in Java run without it.

private val workers = Workers.executor.asCoroutineDispatcher()

/**
 * Loads a model in the background: maps its file and, as the options ask, makes or
 * checks its packed copy and compiles programs for an NPU. Cancelling the coroutine ends
 * the load. No other program may change the file while the model is open. A packed copy
 * that can't be made is no error: [ModelInfo.noPackedCopy] then has the reason.
 *
 * @param progress is set to the progress of the load.
 * @throws OndolException.ModelFile the file can't be used.
 * @throws OndolException.InvalidArgument an option can't be used.
 * @throws OndolException.Unsupported this device or model does not support the kernels or
 * the type of KV cache of the options.
 * @throws OndolException.Delegate the plug-in failed, or can't run the model.
 * @throws OndolException.DoesNotFit the system does not provide the memory.
 */
@JvmSynthetic
public suspend fun Ondol.load(
    source: ModelSource,
    options: LoadOptions = LoadOptions(),
    progress: MutableStateFlow<LoadProgress?>? = null,
): Model {
    val listener = progress?.let { LoadListener { at -> progress.value = at } }
    return working { cancel -> load(source, options, cancel, listener) }
}

/** Loads the model of the file at [path], as the function above. */
@JvmSynthetic
public suspend fun Ondol.load(
    path: String,
    options: LoadOptions = LoadOptions(),
    progress: MutableStateFlow<LoadProgress?>? = null,
): Model = load(ModelSource.path(path), options, progress)

/**
 * The exact memory of a model with its first conversation, before the model is loaded:
 * only the file's header is read.
 *
 * @throws OndolException.DoesNotFit the memory is more than [LoadOptions.memoryLimit].
 * @throws OndolException.ModelFile the file can't be used.
 * @throws OndolException.InvalidArgument an option can't be used.
 */
@JvmSynthetic
public suspend fun Ondol.memory(
    source: ModelSource,
    options: LoadOptions = LoadOptions(),
): Memory = withContext(workers) { memoryBlocking(source, options) }

/** The same for the file at [path]. */
@JvmSynthetic
public suspend fun Ondol.memory(path: String, options: LoadOptions = LoadOptions()): Memory =
    memory(ModelSource.path(path), options)

/**
 * Makes the threads and the memory that the conversations share, and reads all weights
 * once, so that the first answer does not wait for the disk.
 *
 * @throws OndolException.DoesNotFit
 * @throws OndolException.MemoryPressure
 * @throws OndolException.Closed
 */
@JvmSynthetic
public suspend fun Model.prewarm(): Unit = working { cancel -> prewarm(cancel) }

/**
 * A conversation from a file that [Conversation.save] wrote, with the same model and
 * type of KV cache; nothing is computed again.
 *
 * @throws OndolException.Snapshot the file is not a saved conversation, is damaged, or
 * belongs to another model.
 * @throws OndolException.ModelFile the system refused the file.
 * @throws OndolException.DoesNotFit
 * @throws OndolException.MemoryPressure
 */
@JvmSynthetic
public suspend fun Model.restore(
    path: String,
    answers: AnswerOptions = AnswerOptions(),
): Conversation = working { restoreBlocking(path, answers) }

/**
 * The tokens of an answer to a message. Each collection sends the message. Each token is
 * emitted when it is computed, and the next one is computed while the collector handles it.
 *
 * Cancelling the collector, or an exception in it, ends the answer at once, during the
 * prompt too. `collect` returns when the conversation is ready for the next message. The
 * history then has the text that was collected, and at most two tokens more.
 *
 * @throws OndolException.Busy another answer is being generated.
 * @throws OndolException.ContextFull the message does not fit in the context.
 * @throws OndolException.InvalidArgument options out of range.
 * @throws OndolException.Closed
 */
@JvmSynthetic
public fun Conversation.send(text: String, options: AnswerOptions = answers): Flow<Token> =
    events(text, options).transform { if (it is AnswerEvent.Text) emit(it.token) }

/** The same with options in a block: `send("…") { temperature = 0f }`. */
@JvmSynthetic
public fun Conversation.send(text: String, options: AnswerOptions.() -> Unit): Flow<Token> =
    send(text, answers.copy().apply(options))

/** As [send], and also emits the progress of the prompt, and the end with its reason. */
@JvmSynthetic
public fun Conversation.events(
    text: String,
    options: AnswerOptions = answers,
): Flow<AnswerEvent> {
    val chosen = options.copy()
    return channelFlow {
        begin(text, chosen).use { answer ->
            cancelling(answer::cancel) {
                do {
                    val event = answer.next()
                    send(event)
                } while (event !is AnswerEvent.End)
            }
        }
    }.buffer(Channel.RENDEZVOUS).flowOn(workers)
}

/**
 * A second conversation with the same history, which continues independently. The KV
 * cache is copied.
 *
 * @throws OndolException.Busy
 * @throws OndolException.DoesNotFit
 * @throws OndolException.MemoryPressure
 * @throws OndolException.Closed
 */
@JvmSynthetic
public suspend fun Conversation.fork(): Conversation = working { forkBlocking() }

/**
 * Writes the conversation and its KV cache to a file, so that [Model.restore] does not
 * compute it again. Afterwards the file is either complete or not there.
 *
 * @throws OndolException.Busy
 * @throws OndolException.ModelFile the system refused the file.
 * @throws OndolException.Snapshot a write to the file failed.
 * @throws OndolException.Closed
 */
@JvmSynthetic
public suspend fun Conversation.save(path: String): Unit = withContext(workers) {
    saveBlocking(path)
}

/**
 * Computes the messages so far, so that the next answer computes only what the user
 * adds.
 *
 * @throws OndolException.Busy
 * @throws OndolException.ContextFull
 * @throws OndolException.Closed
 */
@JvmSynthetic
public suspend fun Conversation.prewarm(): Unit = working { cancel -> prewarm(cancel) }

/**
 * Runs [call] on a thread of the library. Cancelling the coroutine ends the call; if it
 * has returned an object nevertheless, the object is closed.
 */
private suspend fun <T : Any> working(call: (Cancel) -> T): T {
    var result: T? = null
    try {
        withContext(workers) {
            Cancel().use { cancel ->
                cancelling(cancel::cancel) {
                    try {
                        result = call(cancel)
                    } catch (cancelled: OndolException.Cancelled) {
                        ensureActive()
                        throw cancelled
                    }
                }
            }
            ensureActive()
        }
        return result!!
    } catch (failed: Throwable) {
        (result as? AutoCloseable)?.close()
        throw failed
    }
}

/** Runs [block]; calls [cancel] if the scope is cancelled while the block runs. */
private inline fun CoroutineScope.cancelling(noinline cancel: () -> Unit, block: () -> Unit) {
    val watch = launch(Dispatchers.Unconfined) {
        try {
            awaitCancellation()
        } finally {
            cancel()
        }
    }
    try {
        block()
    } finally {
        watch.cancel()
    }
}
