package dev.ondol

import dev.ondol.internal.Native

/** Where a model's bytes are: `path`, `descriptor`, `hello`; on Android also `AndroidSource`. */
public abstract class ModelSource internal constructor() {
    /** Opens the source during a call of [call]. */
    internal abstract fun <T> open(call: (Place) -> T): T

    internal class Place(
        val path: ByteArray? = null,
        val descriptor: Int = Native.NO_INT,
        val offset: Long = 0,
        val length: Long = Native.NO_LONG,
    )

    private class Fixed(private val place: Place) : ModelSource() {
        override fun <T> open(call: (Place) -> T): T = call(place)
    }

    public companion object {
        /** A GGUF file; of a split model the first part. */
        @JvmStatic
        public fun path(path: String): ModelSource = Fixed(Place(path.encodeToByteArray()))

        /**
         * A range of bytes of an open file; the range holds a whole GGUF file. Such a model
         * can have no packed copy.
         *
         * @param descriptor the file descriptor, open for reading until the model is
         * loaded; the caller closes it.
         * @param offset the first byte of the range.
         * @param length bytes of the range; null is the rest of the file.
         */
        @JvmStatic
        @JvmOverloads
        public fun descriptor(descriptor: Int, offset: Long = 0, length: Long? = null): ModelSource =
            Fixed(Place(null, descriptor, offset, length ?: Native.NO_LONG))

        /** The tiny built-in model, for tests and first steps. */
        @JvmStatic
        public fun hello(): ModelSource = Fixed(Place())
    }
}
