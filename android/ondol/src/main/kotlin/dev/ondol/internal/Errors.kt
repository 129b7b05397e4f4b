package dev.ondol.internal

import dev.ondol.ErrorCode
import dev.ondol.OndolException

/** Makes exceptions. */
internal object Errors {
    /** Called by `bindings/jni/src/call.rs`. */
    @JvmStatic
    fun create(code: Int, message: ByteArray, needed: Long, allowed: Long): OndolException =
        create(ErrorCode.of(code), message.decodeToString(), needed, allowed)

    fun create(code: ErrorCode, message: String, needed: Long = 0, allowed: Long = 0): OndolException =
        when (code) {
            ErrorCode.INVALID_ARGUMENT, ErrorCode.BUFFER_TOO_SMALL, ErrorCode.BAD_TOKEN,
            ErrorCode.EMPTY_PROMPT, ErrorCode.SAMPLER, ErrorCode.BATCH_FULL,
            ErrorCode.OTHER_OWNER,
            -> OndolException.InvalidArgument(code, message)

            ErrorCode.IO, ErrorCode.NOT_GGUF, ErrorCode.TRUNCATED, ErrorCode.UNSUPPORTED_VERSION,
            ErrorCode.UNSUPPORTED_TYPE, ErrorCode.UNSUPPORTED_PACKING,
            ErrorCode.UNKNOWN_ARCHITECTURE, ErrorCode.MISSING_KEY, ErrorCode.BAD_VALUE,
            ErrorCode.MISSING_TENSOR, ErrorCode.BAD_SHAPE, ErrorCode.MALFORMED,
            ErrorCode.TOKENIZER, ErrorCode.TEMPLATE,
            -> OndolException.ModelFile(code, message)

            ErrorCode.UNSUPPORTED_KERNELS, ErrorCode.UNSUPPORTED_KV_TYPE,
            -> OndolException.Unsupported(code, message)

            ErrorCode.BUSY -> OndolException.Busy(message)
            ErrorCode.CLOSED -> OndolException.Closed(message)
            ErrorCode.CANCELLED -> OndolException.Cancelled(message)
            ErrorCode.DOES_NOT_FIT -> OndolException.DoesNotFit(message, needed, allowed)
            ErrorCode.CONTEXT_FULL -> OndolException.ContextFull(message, needed, allowed)
            ErrorCode.MEMORY_PRESSURE -> OndolException.MemoryPressure(message)
            ErrorCode.SNAPSHOT -> OndolException.Snapshot(message)
            ErrorCode.DELEGATE -> OndolException.Delegate(message)
            ErrorCode.STORE -> OndolException.Store(message)
            ErrorCode.PANICKED, ErrorCode.OTHER -> OndolException.Internal(code, message)
        }

    fun closed(what: String): OndolException = create(ErrorCode.CLOSED, "the $what is closed")

    fun cancelled(): OndolException = create(ErrorCode.CANCELLED, "cancelled")
}
