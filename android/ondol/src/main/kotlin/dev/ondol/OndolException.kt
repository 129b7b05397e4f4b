package dev.ondol

/**
 * Why a call failed. The subclasses are the kinds that an app handles differently; [code]
 * is more precise. The message is English and says what was wrong, where, and what to do.
 */
public sealed class OndolException(
    /** The kind of error. */
    public val code: ErrorCode,
    message: String,
) : RuntimeException(message) {
    /** An argument or option can't be used: a mistake of the caller. */
    public class InvalidArgument internal constructor(code: ErrorCode, message: String) :
        OndolException(code, message)

    /** The conversation is answering: wait for the answer, or cancel it. */
    public class Busy internal constructor(message: String) :
        OndolException(ErrorCode.BUSY, message)

    /** The object was closed. */
    public class Closed internal constructor(message: String) :
        OndolException(ErrorCode.CLOSED, message)

    /**
     * The work was cancelled: by a cancel, by an interrupt of the thread, or by closing
     * the conversation. A cancelled answer is no error ([FinishReason.CANCELLED]),
     * except for the thread that was interrupted.
     */
    public class Cancelled internal constructor(message: String) :
        OndolException(ErrorCode.CANCELLED, message)

    /** More memory is needed than is allowed, or than the system provides. */
    public class DoesNotFit internal constructor(
        message: String,
        /** Bytes that are needed. */
        public val needed: Long,
        /** Bytes that are allowed; 0 if the system refused them. */
        public val allowed: Long,
    ) : OndolException(ErrorCode.DOES_NOT_FIT, message)

    /** The tokens do not fit in the context: shorten the history or the message. */
    public class ContextFull internal constructor(
        message: String,
        /** Tokens that the conversation would have. */
        public val needed: Long,
        /** Tokens of the context. */
        public val allowed: Long,
    ) : OndolException(ErrorCode.CONTEXT_FULL, message)

    /**
     * A file can't be used (error codes 10 to 23): it is absent, unreadable, damaged, not a
     * GGUF file, or a model that this version does not support.
     */
    public class ModelFile internal constructor(code: ErrorCode, message: String) :
        OndolException(code, message)

    /** This device or model does not support the kernels or the type of KV cache. */
    public class Unsupported internal constructor(code: ErrorCode, message: String) :
        OndolException(code, message)

    /** The app reported critical memory pressure: no conversation can be made. */
    public class MemoryPressure internal constructor(message: String) :
        OndolException(ErrorCode.MEMORY_PRESSURE, message)

    /** A conversation can't be saved, or the file is not one of this model, or is damaged. */
    public class Snapshot internal constructor(message: String) :
        OndolException(ErrorCode.SNAPSHOT, message)

    /** An NPU's plug-in failed, or can't run the model. */
    public class Delegate internal constructor(message: String) :
        OndolException(ErrorCode.DELEGATE, message)

    /** A packed copy of the model can't be made. */
    public class Store internal constructor(message: String) :
        OndolException(ErrorCode.STORE, message)

    /** A bug in Ondol ([ErrorCode.PANICKED]), or an error without a kind of its own. */
    public class Internal internal constructor(code: ErrorCode, message: String) :
        OndolException(code, message)
}
