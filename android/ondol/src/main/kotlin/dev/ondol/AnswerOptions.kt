package dev.ondol

import dev.ondol.internal.Native
import dev.ondol.internal.pack

/**
 * How an answer is generated. Kotlin sets the properties, Java calls the functions of
 * the same names.
 */
public class AnswerOptions {
    /** 0 always takes the likeliest token; higher values vary more. */
    @set:JvmSynthetic
    public var temperature: Float = 0.7f

    /** Samples from this many of the likeliest tokens; 0 is all. */
    @set:JvmSynthetic
    public var topK: Int = 40

    /** Samples from the likeliest tokens whose probabilities add up to this. */
    @set:JvmSynthetic
    public var topP: Float = 0.95f

    /** Leaves out tokens whose probability is less than this share of the likeliest's. */
    @set:JvmSynthetic
    public var minP: Float = 0.05f

    /** Divides positive and multiplies negative logits of recent tokens; 1 is off. */
    @set:JvmSynthetic
    public var repetitionPenalty: Float = 1f

    /** Subtracted from a recent token's logit for each time it occurs; 0 is off. */
    @set:JvmSynthetic
    public var frequencyPenalty: Float = 0f

    /** Subtracted once from the logit of recent tokens; 0 is off. */
    @set:JvmSynthetic
    public var presencePenalty: Float = 0f

    /** How many of the last tokens the penalties look at. */
    @set:JvmSynthetic
    public var penaltyWindow: Int = 64

    /** The same seed gives the same answer; null takes another one each time. */
    @set:JvmSynthetic
    public var seed: Long? = null

    /** The most tokens of an answer; null goes on until the model ends it. */
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

    /** Options with the same values, which change independently. */
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

    /** Begins an answer; returns its address. */
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
