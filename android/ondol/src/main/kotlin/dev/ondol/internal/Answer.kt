package dev.ondol.internal

import dev.ondol.AnswerEvent
import dev.ondol.AnswerStats
import dev.ondol.FinishReason
import dev.ondol.Token
import java.nio.ByteBuffer

/**
 * An answer that is being generated, on the thread that calls [next]. It must be closed:
 * only then does the conversation get its session back.
 */
internal class Answer(address: Long) : AutoCloseable {
    private val handle = Handle(address, "answer", Native::answerFree)
    private val buffer = ByteBuffer.allocateDirect(BUFFER_BYTES)
    private val bytes = ByteArray(BUFFER_BYTES)

    /** Computes until there is an event to report; the last event is the end. */
    fun next(): AnswerEvent {
        var before: StringBuilder? = null
        while (true) {
            val next = handle.call { Native.answerNext(it, buffer) }
            val small = (next ushr 32).toInt() and 0xFFF_FFFF
            when ((next ushr 60).toInt()) {
                END -> return end()
                PROMPT -> return AnswerEvent.Prompt(small, next.toInt())
                TOKEN -> return text(before, small, next.toInt())
                REST -> return text(before, small, null)
                PART -> before = (before ?: StringBuilder()).append(read(small))
            }
        }
    }

    private fun text(before: StringBuilder?, length: Int, id: Int?): AnswerEvent.Text {
        val text = read(length)
        return AnswerEvent.Text(Token(before?.append(text)?.toString() ?: text, id))
    }

    private fun read(length: Int): String {
        buffer.position(0)
        buffer.get(bytes, 0, length)
        return String(bytes, 0, length, Charsets.UTF_8)
    }

    private fun end(): AnswerEvent.End {
        val stats = DoubleArray(AnswerStats.FIELDS)
        val reason = handle.call { Native.answerEnd(it, stats) }
        return AnswerEvent.End(FinishReason.entries[reason], AnswerStats.of(stats))
    }

    /** Ends the answer soon, from any thread. */
    fun cancel() = handle.callIfOpen(Native::answerCancel)

    override fun close() {
        // If another thread is in a call, that call ends soon, and then the value is freed.
        cancel()
        handle.close()
    }

    private companion object {
        /** Bytes of the buffer; a longer text arrives in parts. */
        const val BUFFER_BYTES = 512

        const val END = 0
        const val PROMPT = 1
        const val TOKEN = 2
        const val REST = 3
        const val PART = 4
    }
}
