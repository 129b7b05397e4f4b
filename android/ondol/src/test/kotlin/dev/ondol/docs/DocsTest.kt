package dev.ondol.docs

import dev.ondol.ModelSource
import dev.ondol.Ondol
import dev.ondol.helloFile
import dev.ondol.load
import dev.ondol.root
import java.io.File
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class DocsTest {
    /** Lines without their indentation. */
    private fun lines(text: String): String =
        text.lines().joinToString("\n", "\n", "\n") { it.trim() }

    @Test
    fun `the code of the page is compiled`() {
        val sources = listOf("ondol/src/test/kotlin", "ondol/src/test/java", "api34/src/test/kotlin")
            .flatMap { File(root, "android/$it/dev/ondol/docs").listFiles()!!.toList() }
            .map { lines(it.readText()) }
        val page = File(root, "docs/android.md").readText()
        val blocks = Regex("```(kotlin|java)\n(.*?)\n```", RegexOption.DOT_MATCHES_ALL).findAll(page)
            .map { it.groupValues[2] }
            .toList()
        assertTrue(blocks.size >= 8, "${blocks.size} blocks")
        for (block in blocks) {
            assertTrue(sources.any { lines(block) in it }, "not compiled:\n$block")
        }
    }

    @Test
    fun `the first examples are short`() {
        val page = File(root, "docs/android.md").readText()
        for (language in listOf("kotlin", "java")) {
            val first = page.substringAfter("```$language\n").substringBefore("\n```")
            assertTrue(first.lines().size < 20, first)
        }
    }

    @Test
    fun `the code of the page runs`() = runBlocking {
        val shown = StringBuilder()
        ChatModel().use { it.answer(helloFile.path, "Hello!") { text -> shown.append(text) } }
        assertTrue(shown.isNotEmpty())
        Ondol.load(ModelSource.hello()).use { model ->
            twoAtOnce(model)
            JavaSnippets().answer(helloFile.path, "Hello!")
            model.conversation().use { conversation ->
                val text = StringBuffer()
                JavaSnippets().ask(conversation, "안녕하세요", text).await()
                assertEquals(conversation.history().last().content, text.toString())
            }
        }
        assertTrue(fits(helloFile.path))
        assertFalse(runCatching { fits("/nowhere") }.isSuccess)
    }
}
