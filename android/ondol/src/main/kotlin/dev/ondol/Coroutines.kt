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

// What needs kotlinx-coroutines is in this file alone: apps in Java run without it.

private val workers = Workers.executor.asCoroutineDispatcher()

/**
 * Loads a model in the background: maps its file and, as the options ask, makes or
 * checks its packed copy and compiles programs for an NPU. Cancelling the coroutine ends
 * it. No other program may change the file while the model is open.
 *
 * @param progress is set to how far it is.
 * @throws OndolException.ModelFile a file that can't be used.
 * @throws OndolException.InvalidArgument an option that can't be used.
 * @throws OndolException.Unsupported
 * @throws OndolException.Store
 * @throws OndolException.Delegate
 * @throws OndolException.DoesNotFit no space for the packed copy.
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

/** As the other one, with the path of a file. */
@JvmSynthetic
public suspend fun Ondol.load(
    path: String,
    options: LoadOptions = LoadOptions(),
    progress: MutableStateFlow<LoadProgress?>? = null,
): Model = load(ModelSource.path(path), options, progress)

/**
 * The exact memory that a model's first conversation would take, before it is loaded:
 * only the file's header is read.
 *
 * @throws OndolException.DoesNotFit more than [LoadOptions.memoryLimit].
 * @throws OndolException.ModelFile a file that can't be used.
 * @throws OndolException.InvalidArgument an option that can't be used.
 */
@JvmSynthetic
public suspend fun Ondol.memory(
    source: ModelSource,
    options: LoadOptions = LoadOptions(),
): Memory = withContext(workers) { memoryBlocking(source, options) }

/** As the other one, with the path of a file. */
@JvmSynthetic
public suspend fun Ondol.memory(path: String, options: LoadOptions = LoadOptions()): Memory =
    memory(ModelSource.path(path), options)

/**
 * Makes what the conversations share and reads all weights once, so that the first
 * answer starts at once.
 *
 * @throws OndolException.DoesNotFit
 * @throws OndolException.MemoryPressure
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
 * The tokens of an answer to a message. Each collection sends the message; tokens come
 * as they are computed, and the next is computed while the collector works on one.
 *
 * Cancelling the collector, or an exception in it, ends the answer at once, in the
 * prompt too. `collect` returns when the conversation is ready for the next message; its
 * history has the text that was collected, and at most two tokens more.
 *
 * @throws OndolException.Busy another answer is being generated.
 * @throws OndolException.ContextFull the message does not fit in the context.
 * @throws OndolException.InvalidArgument options out of range.
 * @throws OndolException.Closed
 */
@JvmSynthetic
public fun Conversation.send(text: String, options: AnswerOptions = answers): Flow<Token> =
    events(text, options).transform { if (it is AnswerEvent.Text) emit(it.token) }

/** As the other one, with options in a block: `send("…") { temperature = 0f }`. */
@JvmSynthetic
public fun Conversation.send(text: String, options: AnswerOptions.() -> Unit): Flow<Token> =
    send(text, answers.copy().apply(options))

/** As [send], with the progress of the prompt, and the end with its reason and speeds. */
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
 * A second conversation with the same history, which goes on independently. What was
 * computed is copied.
 *
 * @throws OndolException.Busy
 * @throws OndolException.DoesNotFit
 * @throws OndolException.MemoryPressure
 */
@JvmSynthetic
public suspend fun Conversation.fork(): Conversation = working { forkBlocking() }

/**
 * Writes the conversation to a file, with what was computed, so that [Model.restore] goes
 * on without computing it again. The file is complete or not there.
 *
 * @throws OndolException.Busy
 * @throws OndolException.ModelFile the system refused the file.
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
 */
@JvmSynthetic
public suspend fun Conversation.prewarm(): Unit = working { cancel -> prewarm(cancel) }

/**
 * Calls on a thread of the library. Cancelling the coroutine ends the call, and what it
 * returned all the same is closed.
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

/** Runs a block; calls [cancel] as soon as the scope is cancelled, while it runs. */
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
