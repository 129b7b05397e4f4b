package dev.ondol

/** The kind of an error, with the number that it has in every language of Ondol. */
public enum class ErrorCode(
    /** The number. */
    public val number: Int,
) {
    /** An argument is missing, out of range or unknown. */
    INVALID_ARGUMENT(1),

    /** A buffer is too short. */
    BUFFER_TOO_SMALL(2),

    /** Another call or an answer uses the conversation at this moment. */
    BUSY(3),

    /** The library panicked: a bug in Ondol. */
    PANICKED(4),

    /** Another error; the message says which. */
    OTHER(5),

    /** The object was closed. */
    CLOSED(6),

    /** The operating system refused the file. */
    IO(10),

    /** The file is not a GGUF file. */
    NOT_GGUF(11),

    /** The file is shorter than its header says. */
    TRUNCATED(12),

    /** The version or byte order of GGUF is not supported. */
    UNSUPPORTED_VERSION(13),

    /** A quantization type is not supported. */
    UNSUPPORTED_TYPE(14),

    /** The file was packed in another version of the packed layout. */
    UNSUPPORTED_PACKING(15),

    /** The architecture is not supported. */
    UNKNOWN_ARCHITECTURE(16),

    /** A metadata key is missing. */
    MISSING_KEY(17),

    /** A metadata key has a value of the wrong type or out of range. */
    BAD_VALUE(18),

    /** A tensor is missing. */
    MISSING_TENSOR(19),

    /** A tensor has the wrong dimensions. */
    BAD_SHAPE(20),

    /** The file breaks the rules of its format. */
    MALFORMED(21),

    /** The vocabulary can't be used. */
    TOKENIZER(22),

    /** The chat template can't be compiled or rendered. */
    TEMPLATE(23),

    /** More memory is needed than is allowed, or than the system provides. */
    DOES_NOT_FIT(30),

    /** The tokens do not fit in the context. */
    CONTEXT_FULL(31),

    /** A token is outside the vocabulary. */
    BAD_TOKEN(32),

    /** The prompt has no tokens. */
    EMPTY_PROMPT(33),

    /** The work was cancelled. */
    CANCELLED(34),

    /** The kernels that were asked for can't run on this CPU, or have no such name. */
    UNSUPPORTED_KERNELS(35),

    /** An option of the sampler is out of range, or no token can be chosen. */
    SAMPLER(36),

    /** This model does not support this type of KV cache. */
    UNSUPPORTED_KV_TYPE(37),

    /** A conversation can't be saved or restored. */
    SNAPSHOT(38),

    /** Memory pressure is critical: no conversation can be made. */
    MEMORY_PRESSURE(39),

    /** More sessions than a batch allows. */
    BATCH_FULL(40),

    /** An object belongs to another model. */
    OTHER_OWNER(41),

    /** An NPU's plug-in failed, or can't run the model. */
    DELEGATE(42),

    /** There can be no packed copy of the model. */
    STORE(43),
    ;

    internal companion object {
        /** The error code with this number; [OTHER] for a number that is not known here. */
        fun of(number: Int): ErrorCode = entries.find { it.number == number } ?: OTHER
    }
}
