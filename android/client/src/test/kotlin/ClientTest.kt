import dev.ondol.AnswerEvent
import dev.ondol.ModelSource
import dev.ondol.Ondol
import dev.ondol.OndolException
import dev.ondol.events
import dev.ondol.load
import dev.ondol.send
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class ClientTest {
    @Test
    fun `an answer, its end and an error`() = runBlocking {
        assertEquals("2.1", KotlinVersion.CURRENT.toString().substringBeforeLast('.'))
        Ondol.load(ModelSource.hello()).use { model ->
            model.conversation { system("Answer briefly.") }.use { conversation ->
                val text = conversation.send("안녕하세요") { temperature = 0f }.toList()
                assertTrue(text.joinToString("").isNotEmpty())
                val end = conversation.events("Hello!").toList().last()
                assertTrue((end as AnswerEvent.End).stats.generatedTokens > 0)
            }
        }
        val kind = try {
            Ondol.load("/nowhere/model.gguf").close()
            "none"
        } catch (refused: OndolException) {
            // A `when` over a sealed class, whose subclasses the compiler has to know.
            when (refused) {
                is OndolException.ModelFile -> "file"
                is OndolException.DoesNotFit -> "memory"
                is OndolException.InvalidArgument, is OndolException.Busy,
                is OndolException.Closed, is OndolException.Cancelled,
                is OndolException.ContextFull, is OndolException.Unsupported,
                is OndolException.MemoryPressure, is OndolException.Snapshot,
                is OndolException.Delegate, is OndolException.Store,
                is OndolException.Internal,
                -> "other"
            }
        }
        assertEquals("file", kind)
    }
}
