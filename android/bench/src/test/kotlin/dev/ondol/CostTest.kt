package dev.ondol

import java.util.concurrent.CountDownLatch
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Test
import uniffi.ondol_ffi.AnswerEnd
import uniffi.ondol_ffi.AnswerListener as JnaListener
import uniffi.ondol_ffi.AnswerOptions as JnaAnswerOptions
import uniffi.ondol_ffi.ConversationOptions as JnaConversationOptions
import uniffi.ondol_ffi.Governor as JnaGovernor
import uniffi.ondol_ffi.LoadOptions as JnaLoadOptions
import uniffi.ondol_ffi.Model as JnaModel
import uniffi.ondol_ffi.Source

/** Measures the time of a call and of a streamed token: `cargo xtask kotlin --bench`. */
class CostTest {
    /** Takes the fastest of many rounds, as `bindings/app/examples/stream.rs` does. */
    private fun token(name: String, answer: (onText: () -> Unit) -> Unit) {
        val fastest = (1..60).minOf {
            var first = 0L
            var count = 0
            answer {
                if (count == 0) first = System.nanoTime()
                count += 1
            }
            (System.nanoTime() - first) / (count - 1)
        }
        println("$name: $fastest ns a streamed token")
    }

    private fun call(name: String, times: Int, call: () -> Unit) {
        val fastest = (1..20).minOf {
            val start = System.nanoTime()
            repeat(times) { call() }
            (System.nanoTime() - start) / times
        }
        println("$name: $fastest ns a call")
    }

    private val options = AnswerOptions()
        .temperature(50f)
        .topK(0)
        .topP(1f)
        .minP(0f)
        .seed(7)
        .maxTokens(200)

    @Test
    fun jni() = Ondol.loadBlocking(ModelSource.hello(), LoadOptions().threads(1)).use { model ->
        call("JNI, Governor.isPaused", 100_000) { Governor.isPaused }
        call("JNI, countTokens(\"\")", 100_000) { model.countTokens("") }
        token("JNI, TokenStream") { onText ->
            model.conversation().use { conversation ->
                conversation.stream("Hello!", options).use { stream -> stream.forEach { _ -> onText() } }
            }
        }
        token("JNI, a listener") { onText ->
            val listener = object : AnswerListener {
                override fun onToken(token: Token) = onText()
            }
            model.conversation().use { it.send("Hello!", listener, options).await() }
        }
        token("JNI, Flow") { onText ->
            model.conversation().use { conversation ->
                runBlocking(Dispatchers.Default) {
                    conversation.send("Hello!", options).collect { onText() }
                }
            }
        }
    }

    private val jnaOptions = JnaAnswerOptions(
        temperature = 50f,
        topK = 0u,
        topP = 1f,
        minP = 0f,
        seed = 7u,
        maxTokens = 200u,
    )

    @Test
    fun jna() {
        val model = JnaModel.load(Source.Hello, JnaLoadOptions(threads = 1u))
        val governor = JnaGovernor()
        call("JNA, Governor.isPaused", 10_000) { governor.isPaused() }
        call("JNA, countTokens(\"\")", 10_000) { model.countTokens("") }
        token("JNA, a listener") { onText ->
            val ended = CountDownLatch(1)
            val listener = object : JnaListener {
                override fun prompt(done: UInt, total: UInt) = Unit

                override fun text(text: String, token: UInt?) = onText()

                override fun end(end: AnswerEnd) = ended.countDown()
            }
            model.conversation(JnaConversationOptions()).use { conversation ->
                conversation.send("Hello!", jnaOptions, listener).use { ended.await() }
            }
        }
        governor.close()
        model.close()
    }
}
