package dev.ondol.docs

// The Kotlin of docs/android.md. A test compares it with the page.

import dev.ondol.AnswerEvent
import dev.ondol.AnswerOptions
import dev.ondol.LoadOptions
import dev.ondol.Model
import dev.ondol.Ondol
import dev.ondol.OndolException
import dev.ondol.events
import dev.ondol.load
import dev.ondol.memory
import dev.ondol.send
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch

class ChatModel : AutoCloseable {
    private var model: Model? = null

    suspend fun answer(path: String, question: String, show: (String) -> Unit) {
        val model = model ?: Ondol.load(path).also { model = it }
        model.conversation { system("You are a helpful assistant.") }.use { conversation ->
            conversation.send(question).collect { token -> show(token.text) }
        }
    }

    override fun close() {
        model?.close()
    }
}

suspend fun twoAtOnce(model: Model) = coroutineScope {
    val options = AnswerOptions().temperature(0.2f).maxTokens(300)
    for (question in listOf("안녕하세요", "Hello!")) {
        launch {
            model.conversation { answers(options) }.use { conversation ->
                conversation.events(question).collect { event ->
                    when (event) {
                        is AnswerEvent.Prompt -> println("${event.done} of ${event.total} tokens")
                        is AnswerEvent.Text -> print(event.token)
                        is AnswerEvent.End ->
                            println("${event.reason}, ${event.stats.decodeTokensPerSecond} tokens/s")
                    }
                }
            }
        }
    }
}

suspend fun fits(path: String): Boolean = try {
    val options = LoadOptions().context(2048).memoryLimit(600L shl 20)
    println(Ondol.memory(path, options).total)
    true
} catch (refused: OndolException.DoesNotFit) {
    println("needs ${refused.needed} bytes, ${refused.allowed} are allowed")
    false
}
