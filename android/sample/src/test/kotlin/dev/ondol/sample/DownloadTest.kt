package dev.ondol.sample

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import java.io.File
import java.io.IOException
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.URL
import kotlin.io.path.createTempDirectory
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test

class DownloadTest {
    private val folder = createTempDirectory("download").toFile()
    private val file = File(folder, "models/model.gguf")
    private val loopback = InetSocketAddress(InetAddress.getLoopbackAddress(), 0)
    private val server = HttpServer.create(loopback, 0).apply { createContext("/", ::answer) }

    /** The server's file, and how the server responds. */
    private var bytes = ByteArray(300_000) { (it * 31 + it / 256).toByte() }
    private var etag: String? = "\"one\""
    private var knowsRanges = true
    private var status = 200

    /** Bytes of the response's body that the server sends before it closes the connection. */
    private var sends = Int.MAX_VALUE
    private val ranges = ArrayList<String?>()

    init {
        server.start()
    }

    @AfterEach
    fun end() {
        server.stop(0)
        folder.deleteRecursively()
    }

    private fun answer(exchange: HttpExchange) = exchange.use {
        val range = it.requestHeaders.getFirst("Range")
        ranges.add(range)
        etag?.let { tag -> it.responseHeaders.add("ETag", tag) }
        val same = it.requestHeaders.getFirst("If-Range") == etag
        val from = if (range != null && knowsRanges && same) {
            range.removePrefix("bytes=").removeSuffix("-").toInt()
        } else {
            0
        }
        val code = if (status == 200 && from > 0) 206 else status
        if (from > 0) {
            it.responseHeaders.add("Content-Range", "bytes $from-${bytes.size - 1}/${bytes.size}")
        }
        it.sendResponseHeaders(code, (bytes.size - from).toLong())
        it.responseBody.write(bytes, from, minOf(sends, bytes.size - from))
        it.responseBody.flush()
    }

    private fun download(progress: (Long, Long) -> Unit = { _, _ -> }) =
        Download(URL("http://localhost:${server.address.port}/model.gguf"), file).run(progress)

    /** A download of which 100,000 bytes have arrived. */
    private fun interrupted() {
        sends = 100_000
        assertThrows(IOException::class.java) { download() }
        sends = Int.MAX_VALUE
        assertFalse(file.exists(), "only whole files have the name")
        assertEquals(100_000, File("$file.part").length())
    }

    private fun assertWhole() {
        assertArrayEquals(bytes, file.readBytes())
        assertEquals(listOf("model.gguf"), file.parentFile.list()!!.toList())
    }

    @Test
    fun `a file comes with its progress, and once`() {
        val seen = ArrayList<Pair<Long, Long>>()
        download { done, total -> seen.add(done to total) }
        assertWhole()
        assertEquals(0L to 300_000L, seen.first())
        assertEquals(300_000L to 300_000L, seen.last())
        assertEquals(seen.sortedBy { it.first }, seen)
        download()
        assertEquals(1, ranges.size, "a file that is there is not asked for")
    }

    @Test
    fun `an interrupted download goes on`() {
        interrupted()
        val seen = ArrayList<Long>()
        download { done, _ -> seen.add(done) }
        assertEquals(listOf(null, "bytes=100000-"), ranges)
        assertEquals(100_000, seen.first())
        assertWhole()
    }

    @Test
    fun `a cancelled download goes on`() {
        val cancelled = IllegalStateException("cancelled")
        val thrown = assertThrows(IllegalStateException::class.java) {
            download { done, _ -> if (done >= 150_000) throw cancelled }
        }
        assertEquals(cancelled, thrown)
        download()
        assertEquals("bytes=${ranges[1]!!.filter(Char::isDigit).toInt()}-", ranges[1])
        assertWhole()
    }

    @Test
    fun `another file at the same address is taken whole`() {
        interrupted()
        bytes = bytes.reversedArray()
        etag = "\"two\""
        download()
        assertWhole()
    }

    @Test
    fun `a server without ranges sends all`() {
        interrupted()
        knowsRanges = false
        download()
        assertWhole()
    }

    @Test
    fun `what has no strong ETag is not continued`() {
        for (weak in listOf(null, "W/\"one\"")) {
            etag = weak
            interrupted()
            download()
            assertEquals(null, ranges.last())
            assertWhole()
            file.delete()
        }
    }

    @Test
    fun `an error of the server is told, and the next try is new`() {
        interrupted()
        status = 416
        val error = assertThrows(IOException::class.java) { download() }
        assertEquals(true, error.message?.contains("416"))
        status = 200
        download()
        assertEquals(listOf(null, "bytes=100000-", null), ranges)
        assertWhole()
    }
}
