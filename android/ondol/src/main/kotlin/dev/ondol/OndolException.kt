package dev.ondol

/**
 * Why a call failed. The subclasses are what an app handles differently; [code] is
 * finer. The message is English and says what was wrong, where, and what to do.
 */
public sealed class OndolException(
    /** The kind of error. */
    public val code: ErrorCode,
    message: String,
) : RuntimeException(message) {
    /** An argument or option that can't be used: a mistake of the caller. */
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
     * A file that can't be used (codes 10 to 23): it is absent, unreadable, damaged, no
     * GGUF file, or a model that this version does not support.
     */
    public class ModelFile internal constructor(code: ErrorCode, message: String) :
        OndolException(code, message)

    /** Kernels or a type of KV cache that this device or model does not support. */
    public class Unsupported internal constructor(code: ErrorCode, message: String) :
        OndolException(code, message)

    /** The app reported critical memory pressure: no conversation can be made. */
    public class MemoryPressure internal constructor(message: String) :
        OndolException(ErrorCode.MEMORY_PRESSURE, message)

    /** A file of a saved conversation is none, is damaged, or is of another model. */
    public class Snapshot internal constructor(message: String) :
        OndolException(ErrorCode.SNAPSHOT, message)

    /** An NPU's plug-in failed, or can't run the model. */
    public class Delegate internal constructor(message: String) :
        OndolException(ErrorCode.DELEGATE, message)

    /** There can be no packed copy of the model. */
    public class Store internal constructor(message: String) :
        OndolException(ErrorCode.STORE, message)

    /** A bug in Ondol ([ErrorCode.PANICKED]), or an error without a kind of its own. */
    public class Internal internal constructor(code: ErrorCode, message: String) :
        OndolException(code, message)
}
