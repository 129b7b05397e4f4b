package dev.ondol

import dev.ondol.internal.NativeTesting
import java.io.File
import java.util.Collections
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class LogTest {
    private val lines: MutableList<String> = Collections.synchronizedList(ArrayList())

    @AfterEach
    fun end() = Ondol.setLogger(LogLevel.ERROR, null)

    private fun log(level: LogLevel): List<String> {
        lines.clear()
        Ondol.setLogger(level) { at, line -> lines.add("$at $line") }
        NativeTesting.logFromAThread()
        return lines.toList()
    }

    @Test
    fun `lines of a thread that the JVM does not know arrive`() {
        val threads = javaThreads()
        val all = LogLevel.entries.map { "$it 한글 🙂" }
        assertEquals(all, log(LogLevel.DEBUG))
        assertEquals(all.take(2), log(LogLevel.WARN))
        Ondol.setLogger(LogLevel.DEBUG, null)
        lines.clear()
        NativeTesting.logFromAThread()
        assertEquals(listOf<String>(), lines)
        assertEquals(threads, javaThreads(), "the thread was detached")
    }

    @Test
    fun `a warning of the library arrives`() {
        val repaired = helloFile.readText(Charsets.ISO_8859_1).replace("tokenizer.ggml.pre", "tokenizer.ggml.prx")
        val file = File(temporaryFolder(), "repaired.gguf").apply { writeText(repaired, Charsets.ISO_8859_1) }
        Ondol.setLogger(LogLevel.WARN) { at, line -> lines.add("$at $line") }
        val warning = Ondol.loadBlocking(file.path).use { it.info.warnings.single() }
        val line = lines.single()
        assertTrue(line.startsWith("WARN ") && warning in line, line)
    }

    @Test
    fun `a logger that throws does no harm`() {
        Ondol.setLogger(LogLevel.DEBUG) { _, _ -> throw IllegalStateException("the app's") }
        NativeTesting.logFromAThread()
        hello().use { it.ask("Hello!") }
    }

    private fun javaThreads(): Int =
        Thread.getAllStackTraces().keys.count { it.name.startsWith("Thread-") }
}
