package dev.ondol.sample

import dev.ondol.AnswerEvent
import dev.ondol.AnswerStats
import dev.ondol.ChatMessage
import dev.ondol.Conversation
import dev.ondol.Memory
import dev.ondol.Model
import dev.ondol.ModelSource
import dev.ondol.Ondol
import dev.ondol.events
import dev.ondol.load
import dev.ondol.memory
import java.io.File
import java.net.URL
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** What the app does at this moment. */
internal sealed class Work {
    object None : Work()

    object Loading : Work()

    class Downloading(val done: Long, val total: Long) : Work()

    class Reading(val done: Int, val total: Int) : Work()

    object Answering : Work()

    class Failed(val message: String) : Work()
}

/** What the activity shows. */
internal data class State(
    /** The model's name, when one was chosen. */
    val name: String? = null,
    /** The memory that the model takes. */
    val memory: Memory? = null,
    val isLoaded: Boolean = false,
    val messages: List<ChatMessage> = emptyList(),
    val work: Work = Work.None,
    /** The statistics of the last answer. */
    val stats: AnswerStats? = null,
) {
    val isBusy: Boolean
        get() = work !is Work.None && work !is Work.Failed
}

/** One model and one conversation. All functions are called on the scope's thread. */
internal class Chat(private val scope: CoroutineScope) {
    private val changing = MutableStateFlow(State())
    private var source: ModelSource? = null
    private var model: Model? = null
    private var conversation: Conversation? = null
    private var job: Job? = null

    val state: StateFlow<State> = changing.asStateFlow()

    /** Downloads a model into a folder, and chooses it. */
    fun download(address: String, folder: File) = work(Work.Downloading(0, 0)) {
        val url = URL(address)
        val file = File(folder, File(url.path).name.ifEmpty { "model.gguf" })
        withContext(Dispatchers.IO) {
            Download(url, file).run { done, total ->
                ensureActive()
                show(Work.Downloading(done, total))
            }
        }
        measure(file.name, ModelSource.path(file.path))
    }

    /** Chooses a model, and shows the memory that it would take. */
    fun choose(name: String, chosen: ModelSource) = work(Work.Loading) { measure(name, chosen) }

    private suspend fun measure(name: String, chosen: ModelSource) {
        val memory = Ondol.memory(chosen)
        close()
        source = chosen
        changing.value = State(name, memory)
    }

    /** Loads the chosen model. */
    fun load() = work(Work.Loading) {
        val loaded = Ondol.load(source ?: return@work)
        close()
        model = loaded
        conversation = loaded.conversation()
        changing.update { it.copy(isLoaded = true, messages = emptyList(), stats = null) }
    }

    /** Sends a message, and shows the answer while it is generated. */
    fun send(text: String) = work(Work.Answering) {
        val conversation = conversation ?: return@work
        val before = conversation.history() + ChatMessage("user", text)
        val answer = StringBuilder()
        changing.update { it.copy(messages = before) }
        try {
            conversation.events(text).collect { event ->
                when (event) {
                    is AnswerEvent.Prompt -> show(Work.Reading(event.done, event.total))
                    is AnswerEvent.Text -> {
                        answer.append(event.token)
                        val messages = before + ChatMessage("assistant", answer.toString())
                        changing.update { it.copy(messages = messages, work = Work.Answering) }
                    }
                    is AnswerEvent.End -> changing.update { it.copy(stats = event.stats) }
                }
            }
        } finally {
            // A cancelled answer stays in the history with its text so far.
            changing.update { it.copy(messages = conversation.history()) }
        }
    }

    /** Cancels the current work. */
    fun cancel() {
        job?.cancel()
    }

    private fun close() {
        conversation?.close()
        model?.close()
        conversation = null
        model = null
    }

    private fun show(work: Work) = changing.update { it.copy(work = work) }

    /** Runs [block] unless other work is running, and shows the reason if it fails. */
    private fun work(begin: Work, block: suspend CoroutineScope.() -> Unit) {
        if (state.value.isBusy) return
        show(begin)
        job = scope.launch {
            try {
                block()
                show(Work.None)
            } catch (cancelled: CancellationException) {
                show(Work.None)
                throw cancelled
            } catch (failed: Exception) {
                show(Work.Failed(failed.message ?: failed.toString()))
            }
        }
    }
}
