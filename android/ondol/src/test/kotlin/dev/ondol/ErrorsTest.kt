package dev.ondol

import dev.ondol.internal.Errors
import dev.ondol.internal.NativeTesting
import java.io.File
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

/** Provokes every type of error. */
class ErrorsTest {
    private val model = hello()

    @AfterEach
    fun close() = model.close()

    private inline fun <reified E : OndolException> refused(code: ErrorCode, work: () -> Unit): E {
        val error = assertThrows<E> { work() }
        assertEquals(code, error.code)
        assertTrue(error.message!!.length > 5, error.message)
        return error
    }

    @Test
    fun `invalid arguments`() {
        val wrong = listOf(
            LoadOptions().threads(-1),
            LoadOptions().prefillChunk(0),
            LoadOptions().drafts(-2),
            LoadOptions().memoryLimit(-1),
            LoadOptions().delegate(DelegateOptions("npu.so").deadlineMs(0)),
        )
        for (options in wrong) {
            refused<OndolException.InvalidArgument>(ErrorCode.INVALID_ARGUMENT) { hello(options) }
        }
        model.conversation().use { conversation ->
            refused<OndolException.InvalidArgument>(ErrorCode.SAMPLER) {
                conversation.stream("Hello!", AnswerOptions().topP(2f))
            }
            refused<OndolException.InvalidArgument>(ErrorCode.INVALID_ARGUMENT) {
                conversation.stream("Hello!", AnswerOptions().maxTokens(-1))
            }
            refused<OndolException.InvalidArgument>(ErrorCode.INVALID_ARGUMENT) {
                conversation.truncate(-1)
            }
            assertEquals(0, conversation.history().size)
        }
    }

    @Test
    fun unsupported() {
        refused<OndolException.Unsupported>(ErrorCode.UNSUPPORTED_KERNELS) {
            hello(LoadOptions().kernels("fastest"))
        }
    }

    @Test
    fun `what does not fit`() {
        hello(LoadOptions().memoryLimit(1000)).use { small ->
            val error = refused<OndolException.DoesNotFit>(ErrorCode.DOES_NOT_FIT) { small.memory(64) }
            assertTrue(error.needed > 1000)
            assertEquals(1000, error.allowed)
            refused<OndolException.DoesNotFit>(ErrorCode.DOES_NOT_FIT) { small.conversation() }
        }
    }

    @Test
    fun `a full context`() = hello(LoadOptions().context(64)).use { small ->
        small.conversation().use { conversation ->
            val error = refused<OndolException.ContextFull>(ErrorCode.CONTEXT_FULL) {
                conversation.stream("안녕하세요 ".repeat(60))
            }
            assertEquals(64, error.allowed)
            assertTrue(error.needed > 64)
            // An answer that fills the context ends with CONTEXT_FULL.
            val stream = conversation.stream("Hello!", AnswerOptions().temperature(0f))
            stream.forEach { _ -> }
            val reason = stream.end!!.reason
            assertTrue(reason == FinishReason.CONTEXT_FULL || reason == FinishReason.END_OF_GENERATION)
        }
    }

    @Test
    fun `memory pressure`() {
        Governor.memoryPressure = MemoryPressure.CRITICAL
        try {
            refused<OndolException.MemoryPressure>(ErrorCode.MEMORY_PRESSURE) { model.conversation() }
        } finally {
            Governor.memoryPressure = MemoryPressure.NORMAL
        }
        model.conversation().close()
    }

    @Test
    fun `a saved conversation that is none`() {
        val folder = temporaryFolder()
        val file = File(folder, "chat").apply { writeText("nothing of ours, in a file") }
        refused<OndolException.Snapshot>(ErrorCode.SNAPSHOT) { model.restoreBlocking(file.path) }
        refused<OndolException.ModelFile>(ErrorCode.IO) {
            model.restoreBlocking(File(folder, "absent").path)
        }
        model.conversation().use { conversation ->
            refused<OndolException.ModelFile>(ErrorCode.IO) {
                conversation.saveBlocking(File(folder, "absent/chat").path)
            }
        }
    }

    @Test
    fun `a plug-in that is none`() {
        refused<OndolException.Delegate>(ErrorCode.DELEGATE) {
            hello(LoadOptions().delegate(DelegateOptions("/nowhere/npu.so")))
        }
    }

    @Test
    fun `an interrupt`() {
        Thread.currentThread().interrupt()
        refused<OndolException.Cancelled>(ErrorCode.CANCELLED) { model.prewarmBlocking() }
        assertTrue(Thread.interrupted(), "the thread stays interrupted")
    }

    @Test
    fun `a closed object`() {
        val conversation = model.conversation()
        conversation.close()
        conversation.close()
        val calls = listOf<() -> Unit>(
            { conversation.history() },
            { conversation.stream("Hello!") },
            { conversation.forkBlocking() },
            { conversation.prewarmBlocking() },
        )
        calls.forEach { refused<OndolException.Closed>(ErrorCode.CLOSED, it) }
        conversation.cancel()
        assertFalse(conversation.isAnswering)
    }

    @Test
    fun `a panic`() {
        refused<OndolException.Internal>(ErrorCode.PANICKED) { model.handle.call(NativeTesting::panic) }
        assertTrue(model.ask("Hello!").isNotEmpty(), "the model goes on")
    }

    @Test
    fun `every code is an exception with that code`() {
        for (code in ErrorCode.entries) {
            val error = Errors.create(code.number, "한글 🙂".encodeToByteArray(), 9, 4)
            assertEquals(code, error.code)
            assertEquals("한글 🙂", error.message)
        }
        assertEquals(ErrorCode.OTHER, Errors.create(999, ByteArray(0), 0, 0).code)
    }
}
