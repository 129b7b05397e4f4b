package dev.ondol

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Tag
import org.junit.jupiter.api.Test

/** What a call and a streamed token cost: `cargo xtask kotlin --bench`. */
@Tag("bench")
class BenchTest {
    private val options = AnswerOptions()
        .temperature(50f)
        .topK(0)
        .topP(1f)
        .minP(0f)
        .seed(7)
        .maxTokens(200)

    /** As `bindings/app/examples/stream.rs` does: the fastest of many rounds. */
    private fun token(name: String, model: Model, tokens: (Conversation, onText: () -> Unit) -> Unit) {
        val fastest = (1..60).minOf {
            model.conversation().use { conversation ->
                var first = 0L
                var count = 0
                tokens(conversation) {
                    if (count == 0) first = System.nanoTime()
                    count += 1
                }
                (System.nanoTime() - first) / (count - 1)
            }
        }
        println("$name: $fastest ns a streamed token")
    }

    private fun call(name: String, call: () -> Unit) {
        val times = 100_000
        val fastest = (1..20).minOf {
            val start = System.nanoTime()
            repeat(times) { call() }
            (System.nanoTime() - start) / times
        }
        println("$name: $fastest ns a call")
    }

    @Test
    fun bench() = hello(LoadOptions().threads(1)).use { model ->
        call("Governor.isPaused") { Governor.isPaused }
        call("countTokens(\"\")") { model.countTokens("") }
        token("the native method and the text", model) { conversation, onText ->
            conversation.begin("Hello!", options).use { answer ->
                do {
                    val event = answer.next()
                    if (event is AnswerEvent.Text) onText()
                } while (event !is AnswerEvent.End)
            }
        }
        token("a listener", model) { conversation, onText ->
            val listener = object : AnswerListener {
                override fun onToken(token: Token) = onText()
            }
            conversation.send("Hello!", listener, options).await()
        }
        token("TokenStream", model) { conversation, onText ->
            conversation.stream("Hello!", options).use { stream -> stream.forEach { _ -> onText() } }
        }
        token("Flow", model) { conversation, onText ->
            runBlocking(Dispatchers.Default) {
                conversation.send("Hello!", options).collect { onText() }
            }
        }
    }
}
