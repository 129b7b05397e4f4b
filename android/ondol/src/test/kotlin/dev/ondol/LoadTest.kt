package dev.ondol

import java.io.File
import java.io.RandomAccessFile
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

class LoadTest {
    private val folder = temporaryFolder()
    private val expected = hello().use { it.ask("Hello!") }

    private fun copy(name: String): File = helloFile.copyTo(File(folder, name))

    @Test
    fun `a model is read from a path and from inside an open file`() = runBlocking {
        Ondol.load(copy("한글 🙂.gguf").path).use { assertEquals(expected, it.ask("Hello!")) }
        val bytes = helloFile.readBytes()
        val archive = File(folder, "package").apply { writeBytes(ByteArray(3) + bytes + ByteArray(9)) }
        RandomAccessFile(archive, "r").use { file ->
            val source = ModelSource.descriptor(file.fd.number, 3, bytes.size.toLong())
            Ondol.load(source).use { assertEquals(expected, it.ask("Hello!")) }
            assertEquals(3 + bytes.size + 9L, file.length(), "the descriptor stays open")
        }
    }

    @Test
    fun `properties of a model`() = hello().use { model ->
        assertEquals(helloFile.length(), model.info.fileBytes)
        assertTrue(model.info.context <= model.info.trainedContext)
        assertTrue(model.info.vocabulary > 100)
        assertEquals(listOf<String>(), model.info.warnings)
        val text = "안녕하세요, hello 🙂"
        assertEquals(model.encode(text).size, model.countTokens(text))
        assertEquals(text, model.decode(model.encode(text)))
        assertEquals(0, model.countTokens(""))
        val messages = listOf(ChatMessage("user", text))
        assertTrue(model.countTokens(messages) > model.countTokens(text))
    }

    @Test
    fun `memory is exact, before and after loading`() = runBlocking {
        val options = LoadOptions().context(64)
        val before = Ondol.memory(helloFile.path, options)
        Ondol.load(helloFile.path, options).use { model ->
            assertEquals(before.total, model.memory().total)
            assertEquals(before.weightsMapped, model.memory(64).weightsMapped)
            assertTrue(model.memory(128).kvCache > before.kvCache)
        }
        val refused = assertThrows<OndolException.DoesNotFit> {
            runBlocking { Ondol.memory(helloFile.path, LoadOptions().context(64).memoryLimit(1000)) }
        }
        assertEquals(before.total, refused.needed)
        assertEquals(1000, refused.allowed)
    }

    @Test
    fun `a packed copy is made with progress`() = runBlocking {
        val options = LoadOptions().packedFolder(File(folder, "copies").path)
        val progress = MutableStateFlow<LoadProgress?>(null)
        Ondol.load(copy("hello.gguf").path, options, progress).use { model ->
            assertEquals(expected, model.ask("Hello!"))
            if (model.info.packedCopy != null) {
                val last = progress.value!!
                assertEquals(LoadStage.PACKING, last.stage)
                assertEquals(last.total, last.done)
            }
        }
    }

    @Test
    fun `an exception of the progress listener ends the load and arrives`() {
        val options = LoadOptions().packedFolder(File(folder, "copies").path)
        val path = copy("hello.gguf").path
        val calls = ArrayList<LoadProgress>()
        val thrown = assertThrows<IllegalStateException> {
            Ondol.loadBlocking(path, options) {
                calls.add(it)
                throw IllegalStateException("the app's")
            }
        }
        assertEquals("the app's", thrown.message)
        assertEquals(1, calls.size)
        Ondol.loadBlocking(path, options).use { assertEquals(expected, it.ask("Hello!")) }
    }

    @Test
    fun `a file that was removed goes on, and is an error then`() {
        val file = copy("removed.gguf")
        Ondol.loadBlocking(file.path).use { model ->
            assertTrue(file.delete())
            assertEquals(expected, model.ask("Hello!"))
        }
        val error = assertThrows<OndolException.ModelFile> { Ondol.loadBlocking(file.path) }
        assertEquals(ErrorCode.IO, error.code)
        assertTrue("removed.gguf" in error.message!!, error.message)
    }

    @Test
    fun `damaged files are told apart`() {
        val bytes = helloFile.readBytes()
        val damaged = mapOf(
            ErrorCode.NOT_GGUF to "not a model".encodeToByteArray(),
            ErrorCode.TRUNCATED to bytes.copyOf(bytes.size / 2),
            ErrorCode.UNSUPPORTED_VERSION to bytes.copyOf().also { it[4] = 77 },
        )
        for ((code, content) in damaged) {
            val file = File(folder, "$code").apply { writeBytes(content) }
            val error = assertThrows<OndolException.ModelFile> { Ondol.loadBlocking(file.path) }
            assertEquals(code, error.code)
        }
        assertThrows<OndolException.ModelFile> { Ondol.loadBlocking(folder.path) }
    }
}
