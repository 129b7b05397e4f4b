package dev.ondol.sample

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.net.HttpURLConnection
import java.net.URL

/**
 * A download into a file. The bytes are written into a file beside it, which gets the
 * name at the end. A download that was interrupted goes on where it ended if the server
 * says that its file is the same: by its ETag, which is kept in a third file.
 */
internal class Download(private val url: URL, private val file: File) {
    private val part = File("$file.part")
    private val tag = File("$file.etag")

    /**
     * Returns when the file is whole.
     *
     * @param progress is called with the bytes so far and the bytes of the file, 0 if the
     * server does not say; what it throws ends the download.
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
        // The bytes of the answer's body, which are not there if they come in chunks.
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
                if (total != 0L && done != total) throw IOException("$done of $total bytes came")
                output.fd.sync()
            }
        }
    }

    /** Asks for what is missing. Returns where the answer begins in the file. */
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
                throw IOException("$url: the server sends the part $range")
            }
            HttpURLConnection.HTTP_OK -> {
                remember(connection.getHeaderField("ETag"))
                return 0
            }
            else -> {
                // What was kept may be more than the file has; the next try is new.
                tag.delete()
                throw IOException("$url: the server answers ${connection.responseCode}")
            }
        }
    }

    /** A weak ETag, or none, does not say that the bytes are the same. */
    private fun remember(etag: String?) {
        if (etag == null || etag.startsWith("W/")) tag.delete() else tag.writeText(etag)
    }

    private companion object {
        const val BUFFER_BYTES = 1 shl 16
        const val TIMEOUT_MS = 30_000
    }
}
