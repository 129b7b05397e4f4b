package dev.ondol

import dev.ondol.internal.Native
import dev.ondol.internal.pack

/**
 * How an answer is generated. In Kotlin set the properties; in Java call the functions of
 * the same names, which return this object.
 */
public class AnswerOptions {
    /** Divides the logits: 0 always takes the likeliest token; higher values vary more. */
    @set:JvmSynthetic
    public var temperature: Float = 0.7f

    /** Samples from this many of the likeliest tokens; 0 is all. */
    @set:JvmSynthetic
    public var topK: Int = 40

    /** Samples from the likeliest tokens whose probabilities add up to this; 1 is all. */
    @set:JvmSynthetic
    public var topP: Float = 0.95f

    /** Leaves out tokens less probable than this share of the likeliest token; 0 is off. */
    @set:JvmSynthetic
    public var minP: Float = 0.05f

    /** Divides positive and multiplies negative logits of recent tokens; 1 is off. */
    @set:JvmSynthetic
    public var repetitionPenalty: Float = 1f

    /** Is subtracted from a recent token's logit for each time it occurs; 0 is off. */
    @set:JvmSynthetic
    public var frequencyPenalty: Float = 0f

    /** Is subtracted once from the logit of each recent token; 0 is off. */
    @set:JvmSynthetic
    public var presencePenalty: Float = 0f

    /** How many of the last tokens count as recent for the penalties. */
    @set:JvmSynthetic
    public var penaltyWindow: Int = 64

    /** The same seed gives the same answer; null takes a new seed for each answer. */
    @set:JvmSynthetic
    public var seed: Long? = null

    /** The most tokens of an answer; null sets no limit. */
    @set:JvmSynthetic
    public var maxTokens: Int? = null

    /** The text ends before the first of these strings. */
    @set:JvmSynthetic
    public var stop: List<String> = emptyList()

    public fun temperature(temperature: Float): AnswerOptions =
        apply { this.temperature = temperature }

    public fun topK(tokens: Int): AnswerOptions = apply { topK = tokens }

    public fun topP(share: Float): AnswerOptions = apply { topP = share }

    public fun minP(share: Float): AnswerOptions = apply { minP = share }

    public fun repetitionPenalty(factor: Float): AnswerOptions = apply { repetitionPenalty = factor }

    public fun frequencyPenalty(penalty: Float): AnswerOptions = apply { frequencyPenalty = penalty }

    public fun presencePenalty(penalty: Float): AnswerOptions = apply { presencePenalty = penalty }

    public fun penaltyWindow(tokens: Int): AnswerOptions = apply { penaltyWindow = tokens }

    public fun seed(seed: Long?): AnswerOptions = apply { this.seed = seed }

    public fun maxTokens(tokens: Int?): AnswerOptions = apply { maxTokens = tokens }

    public fun stop(strings: List<String>): AnswerOptions = apply { stop = strings.toList() }

    /** New options with the same values. */
    public fun copy(): AnswerOptions = AnswerOptions()
        .temperature(temperature)
        .topK(topK)
        .topP(topP)
        .minP(minP)
        .repetitionPenalty(repetitionPenalty)
        .frequencyPenalty(frequencyPenalty)
        .presencePenalty(presencePenalty)
        .penaltyWindow(penaltyWindow)
        .seed(seed)
        .maxTokens(maxTokens)
        .stop(stop)

    /** Begins an answer; returns the address of its value in Rust. */
    internal fun send(conversation: Long, text: String): Long = Native.send(
        conversation = conversation,
        text = text.encodeToByteArray(),
        temperature = temperature,
        topK = topK,
        topP = topP,
        minP = minP,
        repetitionPenalty = repetitionPenalty,
        frequencyPenalty = frequencyPenalty,
        presencePenalty = presencePenalty,
        penaltyWindow = penaltyWindow,
        hasSeed = seed != null,
        seed = seed ?: 0,
        maxTokens = maxTokens ?: Native.NO_INT,
        stop = pack(stop),
    )
}
