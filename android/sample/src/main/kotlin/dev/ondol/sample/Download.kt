package dev.ondol.sample

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.net.HttpURLConnection
import java.net.URL

/**
 * A download into a file. The bytes are written into a second file beside it, which is
 * renamed at the end. A download that was interrupted continues where it stopped if the
 * server's ETag shows that its file is the same; the ETag is stored in a third file.
 */
internal class Download(private val url: URL, private val file: File) {
    private val part = File("$file.part")
    private val tag = File("$file.etag")

    /**
     * Downloads the file; returns when it is complete.
     *
     * @param progress is called with the bytes so far and the bytes of the file, which are
     * 0 if the server does not say; an exception that it throws ends the download.
     * @throws IOException the download failed; the next call continues it if possible.
     */
    fun run(progress: (Long, Long) -> Unit) {
        if (file.exists()) return
        file.absoluteFile.parentFile?.mkdirs()
        if (!tag.exists()) part.delete()
        val connection = url.openConnection() as HttpURLConnection
        try {
            receive(connection, progress)
        } finally {
            connection.disconnect()
        }
        tag.delete()
        if (!part.renameTo(file)) throw IOException("$part can't be renamed")
    }

    private fun receive(connection: HttpURLConnection, progress: (Long, Long) -> Unit) {
        val from = request(connection)
        // Bytes of the response's body; with chunked encoding there is no such header.
        val length = connection.getHeaderFieldLong("Content-Length", -1)
        val total = if (length < 0) 0 else from + length
        connection.inputStream.use { input ->
            FileOutputStream(part, from > 0).use { output ->
                val buffer = ByteArray(BUFFER_BYTES)
                var done = from
                while (true) {
                    progress(done, total)
                    val count = input.read(buffer)
                    if (count < 0) break
                    output.write(buffer, 0, count)
                    done += count
                }
                if (total != 0L && done != total) throw IOException("the download ended after $done of $total bytes")
                output.fd.sync()
            }
        }
    }

    /** Requests the missing bytes. Returns the byte of the file at which the body begins. */
    private fun request(connection: HttpURLConnection): Long {
        val have = part.length()
        connection.connectTimeout = TIMEOUT_MS
        connection.readTimeout = TIMEOUT_MS
        connection.setRequestProperty("Accept-Encoding", "identity")
        if (have > 0) {
            connection.setRequestProperty("Range", "bytes=$have-")
            connection.setRequestProperty("If-Range", tag.readText())
        }
        when (connection.responseCode) {
            HttpURLConnection.HTTP_PARTIAL -> {
                val range = connection.getHeaderField("Content-Range")
                if (have > 0 && range?.startsWith("bytes $have-") == true) return have
                throw IOException("$url: the server sent an unexpected range: $range")
            }
            HttpURLConnection.HTTP_OK -> {
                remember(connection.getHeaderField("ETag"))
                return 0
            }
            else -> {
                // The stored part may be longer than the file; the next try starts again.
                tag.delete()
                throw IOException("$url: the server responded with status ${connection.responseCode}")
            }
        }
    }

    /** Stores the ETag; a weak ETag does not guarantee that the bytes are the same. */
    private fun remember(etag: String?) {
        if (etag == null || etag.startsWith("W/")) tag.delete() else tag.writeText(etag)
    }

    private companion object {
        const val BUFFER_BYTES = 1 shl 16
        const val TIMEOUT_MS = 30_000
    }
}
