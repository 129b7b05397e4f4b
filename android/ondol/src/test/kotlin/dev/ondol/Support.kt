package dev.ondol

import java.io.File
import java.io.FileDescriptor
import kotlin.io.path.createTempDirectory

/** The folder of the workspace. */
internal val root = File(System.getProperty("ondol.root"))

/** The file of the built-in model. */
internal val helloFile = File(root, "models/hello/hello.gguf")

internal fun hello(options: LoadOptions = LoadOptions()): Model =
    Ondol.loadBlocking(ModelSource.hello(), options)

/** Always takes the likeliest token. */
internal fun greedy(tokens: Int): AnswerOptions = AnswerOptions().temperature(0f).maxTokens(tokens)

/** The text of a whole answer. */
internal fun Conversation.ask(text: String, tokens: Int = 30): String =
    stream(text, greedy(tokens)).use { it.joinToString("") }

/** The answer of a new conversation. */
internal fun Model.ask(text: String, tokens: Int = 30): String =
    conversation().use { it.ask(text, tokens) }

/** A model whose context has room for [LONG_PROMPT]. */
internal fun roomy(): Model = hello(LoadOptions().context(16384))

/** A prompt of more than 10,000 tokens, which takes longer than a test may wait. */
internal val LONG_PROMPT: String = "안녕하세요 hello ".repeat(1200)

/** Runs a block while answers are paused: they wait in native code before a token. */
internal inline fun <T> paused(work: () -> T): T {
    Governor.isPaused = true
    try {
        return work()
    } finally {
        Governor.isPaused = false
    }
}

internal fun temporaryFolder(): File =
    createTempDirectory("ondol").toFile().apply { deleteOnExit() }

/** The number of an open file in this process. */
internal val FileDescriptor.number: Int
    get() = FileDescriptor::class.java.getDeclaredField("fd").apply { isAccessible = true }.getInt(this)

internal fun milliseconds(work: () -> Unit): Long {
    val start = System.nanoTime()
    work()
    return (System.nanoTime() - start) / 1_000_000
}
