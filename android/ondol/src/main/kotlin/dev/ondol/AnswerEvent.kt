package dev.ondol

/**
 * A piece of an answer's text: complete characters, never empty.
 *
 * @property text the text.
 * @property id the id of the token that completed it; null for text that was held back
 * until the end, because it could have been the beginning of a stop string.
 */
public class Token internal constructor(public val text: String, public val id: Int?) {
    override fun toString(): String = text
}

/** What an answer reports, in this order: the prompt's progress, text, one end. */
public sealed class AnswerEvent {
    /**
     * Tokens of the prompt were computed.
     *
     * @property done tokens so far, those in the cache included.
     * @property total tokens of the prompt.
     */
    public class Prompt internal constructor(public val done: Int, public val total: Int) :
        AnswerEvent()

    /**
     * More text.
     *
     * @property token the text.
     */
    public class Text internal constructor(public val token: Token) : AnswerEvent()

    /**
     * The answer has ended.
     *
     * @property reason why.
     * @property stats counts and speeds.
     */
    public class End internal constructor(
        public val reason: FinishReason,
        public val stats: AnswerStats,
    ) : AnswerEvent()
}

/** Why an answer ended. */
public enum class FinishReason {
    /** The model ended it. */
    END_OF_GENERATION,

    /** The text reached a stop string. */
    STOP,

    /** The answer has [AnswerOptions.maxTokens] tokens. */
    MAX_TOKENS,

    /** The context is full. */
    CONTEXT_FULL,

    /** It was cancelled. */
    CANCELLED,

    /** It failed. */
    FAILED,
}

/** Counts and speeds of an answer. */
public class AnswerStats private constructor(
    /** Tokens of the prompt. */
    public val promptTokens: Int,
    /** Of these, tokens that were in the cache and were not computed again. */
    public val cachedTokens: Int,
    /** Tokens of the answer. */
    public val generatedTokens: Int,
    /** Seconds from the first step to the first token. */
    public val firstTokenSeconds: Double,
    /** Prompt tokens computed per second. */
    public val prefillTokensPerSecond: Double,
    /** Tokens of the answer per second, after the first. */
    public val decodeTokensPerSecond: Double,
    /** The peak memory of the process in bytes; 0 if the system does not report it. */
    public val peakMemoryBytes: Long,
) {
    internal companion object {
        const val FIELDS = 7

        /** Reads the fields in the order of `answer_end` in `bindings/jni/src/answer.rs`. */
        fun of(n: DoubleArray) = AnswerStats(
            n[0].toInt(),
            n[1].toInt(),
            n[2].toInt(),
            n[3],
            n[4],
            n[5],
            n[6].toLong(),
        )
    }
}
