package dev.ondol

import java.io.File
import java.lang.management.ManagementFactory
import javax.management.ObjectName
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Nothing grows: memory, references, threads, files. `-Dondol.long=true` runs the full counts. */
class LeakTest {
    private val long = System.getProperty("ondol.long") == "true"

    private class Use(val kilobytes: Long, val references: Int, val threads: Int, val files: Int) {
        override fun toString() = "$kilobytes KB, $references references, $threads threads, $files files"
    }

    private fun use(): Use {
        repeat(3) {
            System.gc()
            Thread.sleep(50)
        }
        return Use(
            kilobytes = status("VmRSS"),
            references = globalReferences(),
            threads = File("/proc/self/task").list()!!.size,
            files = File("/proc/self/fd").list()!!.size,
        )
    }

    private fun status(key: String): Long = File("/proc/self/status").readLines()
        .first { it.startsWith("$key:") }
        .filter(Char::isDigit)
        .toLong()

    /** The number of global references, which the JVM prints at the end of a thread dump. */
    private fun globalReferences(): Int {
        val command = ObjectName("com.sun.management:type=DiagnosticCommand")
        val dump = ManagementFactory.getPlatformMBeanServer().invoke(
            command,
            "threadPrint",
            arrayOf(arrayOf<String>()),
            arrayOf(Array<String>::class.java.name),
        )
        return Regex("""JNI global refs: (\d+)""").find("$dump")!!.groupValues[1].toInt()
    }

    /** Runs the work in ten parts: after the first three parts nothing may grow. */
    private fun holds(name: String, times: Int, work: (Int) -> Unit) {
        repeat(times * 3 / 10, work)
        val before = use()
        repeat(times * 7 / 10, work)
        val after = use()
        println("$name, $times times: $before, then $after")
        assertTrue(after.kilobytes < before.kilobytes + 20_000, "$before, then $after")
        assertTrue(after.references <= before.references, "$before, then $after")
        // The JVM starts compiler and collector threads when it needs them; a leak would
        // add one thread with each round.
        assertTrue(after.threads <= before.threads + 10, "$before, then $after")
        assertTrue(after.files <= before.files, "$before, then $after")
    }

    @Test
    fun `models that are loaded and closed`() = holds("loads", if (long) 1000 else 100) { n ->
        val source = if (n % 2 == 0) ModelSource.hello() else ModelSource.path(helloFile.path)
        Ondol.loadBlocking(source).use { model ->
            model.conversation().use { it.ask("Hello!", 3) }
        }
    }

    @Test
    fun `answers of every kind`() = hello().use { model ->
        holds("answers", if (long) 10_000 else 500) { n ->
            model.conversation().use { conversation -> answer(conversation, n) }
        }
    }

    private val silent = object : AnswerListener {
        override fun onToken(token: Token) = Unit
    }

    private fun answer(conversation: Conversation, kind: Int) {
        when (kind % 5) {
            0 -> conversation.ask("Hello!", 10)
            1 -> runBlocking { conversation.send("안녕하세요", greedy(10)).collect() }
            2 -> runBlocking { conversation.send("Hello!").take(2).collect() }
            3 -> conversation.stream("Hello!").close()
            else -> conversation.send("Hello!", silent, greedy(10)).await()
        }
    }

    @Test
    fun `errors and log lines`() = hello(LoadOptions().context(64)).use { model ->
        holds("errors", if (long) 10_000 else 500) {
            try {
                Ondol.loadBlocking("/nowhere/model.gguf")
            } catch (_: OndolException.ModelFile) {
            }
            try {
                model.conversation().use { it.stream("안녕하세요 ".repeat(60)) }
            } catch (_: OndolException.ContextFull) {
            }
            Ondol.setLogger(LogLevel.DEBUG) { _, _ -> }
            Ondol.setLogger(LogLevel.DEBUG, null)
        }
    }
}
