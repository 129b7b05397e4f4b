package dev.ondol

import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

class ConversationTest {
    private val model = hello()

    @AfterEach
    fun close() = model.close()

    private suspend fun Conversation.collected(text: String, tokens: Int = 30): String =
        send(text, greedy(tokens)).toList().joinToString("")

    private suspend fun Conversation.statsOf(text: String): AnswerStats =
        (events(text, greedy(30)).toList().last() as AnswerEvent.End).stats

    /** After an answer ended, a new answer is the same as with the history computed again. */
    private fun goesOn(conversation: Conversation) {
        assertFalse(conversation.isAnswering)
        val history = conversation.history()
        val anew = model.conversation(ConversationOptions().messages(history))
        assertEquals(anew.use { it.ask("And now?") }, conversation.ask("And now?"))
    }

    /**
     * Checks that a cancel takes effect in time. Other programs may use this machine, so
     * the fastest of a few rounds counts.
     */
    private fun endsSoon(round: () -> Long) {
        val taken = (1..5).map { round() }
        assertTrue(taken.min() < 100, "$taken ms")
    }

    @Test
    fun `answers in Korean and English come in whole characters`() = runBlocking {
        for (question in listOf("안녕하세요", "Hello!", "🙂 이모지 👩‍👩‍👧 emoji")) {
            model.conversation { system("Answer briefly. 🙂") }.use { conversation ->
                val tokens = conversation.send(question, greedy(100)).toList()
                assertTrue(tokens.size > 2, "$tokens")
                assertTrue(tokens.none { '\uFFFD' in it.text }, "$tokens")
                val text = tokens.joinToString("")
                val messages = conversation.history()
                assertEquals(
                    listOf(
                        ChatMessage("system", "Answer briefly. 🙂"),
                        ChatMessage("user", question),
                        ChatMessage("assistant", text),
                    ),
                    messages,
                )
                assertEquals(text, model.decode(model.encode(text)))
            }
        }
    }

    @Test
    fun `text that is longer than the buffer is whole`() {
        // The conversation is made from messages, so that the test chooses its text.
        val long = "한글과 emoji 🙂 ".repeat(200)
        model.conversation { message("user", long) }.use {
            assertEquals(long, it.history().single().content)
        }
    }

    @Test
    fun `a flow is cold, and each collection sends`() = runBlocking {
        model.conversation().use { conversation ->
            val flow = conversation.send("Hello!", greedy(5))
            assertEquals(0, conversation.history().size)
            flow.toList()
            flow.toList()
            assertEquals(4, conversation.history().size)
        }
    }

    @Test
    fun `events are the prompt, the text, and one end with speeds`() = runBlocking {
        model.conversation().use { conversation ->
            val events = conversation.events("Hello!", greedy(5)).toList()
            val prompt = events.takeWhile { it is AnswerEvent.Prompt }.last() as AnswerEvent.Prompt
            assertEquals(prompt.total, prompt.done)
            val end = events.last() as AnswerEvent.End
            assertEquals(1, events.count { it is AnswerEvent.End })
            assertEquals(prompt.total, end.stats.promptTokens)
            assertEquals(5, end.stats.generatedTokens)
            assertEquals(FinishReason.MAX_TOKENS, end.reason)
            assertTrue(end.stats.decodeTokensPerSecond > 0)
        }
    }

    @Test
    fun `tokens come while they are computed, and wait for the collector`() = runBlocking {
        model.conversation().use { conversation ->
            var collected = 0
            conversation.send("안녕하세요", greedy(100)).collect {
                collected += 1
                if (collected == 2) {
                    // There is time to compute all of it.
                    delay(200)
                    assertTrue(conversation.isAnswering)
                }
            }
            assertTrue(collected > 3, "$collected")
        }
    }

    @Test
    fun `a second turn computes its new tokens only`() = runBlocking {
        model.conversation().use { conversation ->
            val first = conversation.statsOf("Hello!")
            val second = conversation.statsOf("안녕하세요")
            val had = first.promptTokens + first.generatedTokens
            assertTrue(second.cachedTokens + 1 >= had, "${second.cachedTokens} of $had")
        }
    }

    @Test
    fun `a cancel in the prompt leaves no trace`() = roomy().use { roomy ->
        roomy.conversation().use { conversation ->
            endsSoon {
                runBlocking {
                    val started = CompletableDeferred<Unit>()
                    val job = launch(Dispatchers.Default) {
                        conversation.events(LONG_PROMPT).collect {
                            assertTrue(it is AnswerEvent.Prompt)
                            started.complete(Unit)
                        }
                    }
                    started.await()
                    milliseconds { runBlocking { job.cancelAndJoin() } }
                }
            }
            assertEquals(listOf<ChatMessage>(), conversation.history())
            assertEquals(model.ask("And now?"), conversation.ask("And now?"))
        }
    }

    @Test
    fun `a cancel in the answer keeps what was collected`() = endsSoon {
        model.conversation().use { conversation ->
            val text = StringBuffer()
            val some = CompletableDeferred<Unit>()
            val taken = runBlocking {
                val job = launch(Dispatchers.Default) {
                    conversation.send("안녕하세요", greedy(100)).collect {
                        text.append(it)
                        Governor.isPaused = true
                        some.complete(Unit)
                    }
                }
                some.await()
                paused { milliseconds { runBlocking { job.cancelAndJoin() } } }
            }
            val answer = conversation.history()[1].content
            assertTrue(answer.startsWith(text.toString()), "$answer\n$text")
            goesOn(conversation)
            taken
        }
    }

    @Test
    fun `a cancel while tokens are computed ends the answer`() = endsSoon {
        model.conversation().use { conversation ->
            val taken = runBlocking {
                val job = launch(Dispatchers.Default) {
                    // Nearly every token is as likely as the end token.
                    conversation.send("Hello!") {
                        temperature = 50f
                        topK = 0
                        topP = 1f
                        minP = 0f
                    }.collect()
                }
                delay(20)
                milliseconds { runBlocking { job.cancelAndJoin() } }
            }
            conversation.truncate(0)
            goesOn(conversation)
            taken
        }
    }

    @Test
    fun `a collector that has enough ends the answer`() = runBlocking {
        model.conversation().use { conversation ->
            conversation.send("안녕하세요", greedy(100)).take(3).toList()
            goesOn(conversation)
        }
    }

    @Test
    fun `an exception in the collector ends the answer and arrives`() = runBlocking {
        model.conversation().use { conversation ->
            val mistake = IllegalStateException("the app's")
            val thrown = assertThrows<IllegalStateException> {
                runBlocking { conversation.send("Hello!", greedy(100)).collect { throw mistake } }
            }
            assertEquals(mistake.message, thrown.message)
            goesOn(conversation)
        }
    }

    @Test
    fun `cancel() of the conversation ends a flow normally`() = runBlocking {
        model.conversation().use { conversation ->
            val events = ArrayList<AnswerEvent>()
            conversation.events("안녕하세요", greedy(100)).collect {
                events.add(it)
                if (it is AnswerEvent.Text) conversation.cancel()
            }
            assertEquals(FinishReason.CANCELLED, (events.last() as AnswerEvent.End).reason)
            goesOn(conversation)
        }
    }

    @Test
    fun `conversations at the same time answer as alone`() = runBlocking {
        val questions = listOf("Hello!", "안녕하세요", "Tell me a story", "Hello!")
        val alone = questions.map { model.ask(it) }
        val together = withContext(Dispatchers.Default) {
            questions.map { question ->
                async { model.conversation().use { it.collected(question) } }
            }.awaitAll()
        }
        assertEquals(alone, together)
    }

    @Test
    fun `one answer at a time`() = runBlocking {
        model.conversation().use { conversation ->
            val first = conversation.stream("Hello!")
            assertThrows<OndolException.Busy> { conversation.stream("More") }
            assertThrows<OndolException.Busy> { conversation.send("More").toList() }
            assertThrows<OndolException.Busy> { conversation.fork() }
            assertThrows<OndolException.Busy> { conversation.truncate(0) }
            first.close()
            assertTrue(conversation.collected("More").isNotEmpty())
        }
    }

    @Test
    fun `a close during an answer ends it`() = runBlocking {
        val conversation = model.conversation()
        val reason = CompletableDeferred<FinishReason>()
        launch(Dispatchers.Default) {
            conversation.events("안녕하세요", greedy(100)).collect {
                if (it is AnswerEvent.Text) conversation.close()
                if (it is AnswerEvent.End) reason.complete(it.reason)
            }
        }
        assertEquals(FinishReason.CANCELLED, reason.await())
        assertThrows<OndolException.Closed> { conversation.history() }
        assertThrows<OndolException.Closed> { runBlocking { conversation.send("More").first() } }
        conversation.close()
    }

    @Test
    fun `a close of the model leaves its conversations`() {
        val model = hello()
        val conversation = model.conversation()
        model.close()
        model.close()
        assertThrows<OndolException.Closed> { model.conversation() }
        assertThrows<OndolException.Closed> { model.countTokens("") }
        assertEquals(this.model.ask("Hello!"), conversation.ask("Hello!"))
        conversation.close()
    }

    @Test
    fun `closes while other threads call do no harm`() {
        repeat(20) {
            val model = hello()
            val conversation = model.conversation()
            val threads = List(3) {
                thread {
                    try {
                        while (true) {
                            model.countTokens("Hello!")
                            conversation.history()
                            conversation.ask("Hello!", 3)
                        }
                    } catch (_: OndolException.Closed) {
                    } catch (_: OndolException.Busy) {
                    }
                }
            }
            Thread.sleep(5)
            conversation.close()
            model.close()
            threads.forEach(Thread::join)
        }
    }

    @Test
    fun `a fork goes on independently`() = runBlocking {
        model.conversation().use { conversation ->
            conversation.collected("Hello!")
            conversation.fork().use { fork ->
                assertEquals(conversation.collected("안녕하세요"), fork.collected("안녕하세요"))
                fork.collected("More")
                assertEquals(6, fork.history().size)
                assertEquals(4, conversation.history().size)
                assertSame(model, fork.model)
            }
        }
    }

    @Test
    fun `a saved conversation goes on without computing it again`() = runBlocking {
        val path = java.io.File(temporaryFolder(), "chat").path
        model.conversation().use { conversation ->
            val first = conversation.statsOf("Hello!")
            conversation.save(path)
            val expected = conversation.collected("안녕하세요")
            model.restore(path).use { restored ->
                val stats = restored.statsOf("안녕하세요")
                assertTrue(stats.cachedTokens + 1 >= first.promptTokens + first.generatedTokens)
                assertEquals(expected, restored.history().last().content)
            }
        }
    }

    @Test
    fun `prewarm computes the system message`() = runBlocking {
        model.prewarm()
        model.conversation { system("Answer in Korean.") }.use { conversation ->
            conversation.prewarm()
            assertTrue(conversation.statsOf("Hello!").cachedTokens > 0)
        }
    }

    @Test
    fun `truncated messages are forgotten`() = runBlocking {
        model.conversation().use { conversation ->
            val first = conversation.collected("Hello!")
            conversation.truncate(0)
            assertEquals(listOf<ChatMessage>(), conversation.history())
            assertEquals(first, conversation.collected("Hello!"))
            assertTrue(conversation.countTokens() > model.countTokens(first))
        }
    }

    @Test
    fun `options of a conversation hold for its answers`() = runBlocking {
        model.conversation {
            answers {
                temperature = 0f
                maxTokens = 4
            }
        }.use { conversation ->
            assertEquals(4, conversation.send("Hello!").toList().size)
            assertEquals(2, conversation.send("Hello!") { maxTokens = 2 }.toList().size)
            assertEquals(4, conversation.send("Hello!").toList().size)
        }
    }

    @Test
    fun `a stop string ends the text, and a seed repeats it`() {
        val whole = model.ask("Hello!")
        val stop = whole.substring(4, 8)
        val options = greedy(30).stop(listOf(stop))
        model.conversation().use { conversation ->
            val stream = conversation.stream("Hello!", options)
            assertEquals(whole.substringBefore(stop), stream.use { it.joinToString("") })
            assertEquals(FinishReason.STOP, stream.end?.reason)
        }
        val seeded = { seed: Long ->
            val random = AnswerOptions().temperature(2f).maxTokens(30).seed(seed)
            model.conversation().use { it.stream("Hello!", random).joinToString("") }
        }
        assertEquals(seeded(-1), seeded(-1))
        assertFalse(seeded(1) == seeded(2))
    }

    @Test
    fun `a paused governor makes answers wait, and a cancel ends the wait`() = runBlocking {
        model.conversation().use { conversation ->
            paused {
                val job = launch(Dispatchers.Default) { conversation.collected("Hello!") }
                delay(100)
                assertTrue(conversation.isAnswering)
                job.cancelAndJoin()
            }
            assertEquals(model.ask("Hello!"), conversation.collected("Hello!"))
        }
    }
}
