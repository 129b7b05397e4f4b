package dev.ondol.internal

/** The methods of `bindings/jni/src/testing.rs`. */
internal object NativeTesting {
    init {
        // Loads the library, which registers these methods as well.
        Native.version()
    }

    @JvmStatic external fun methods(): ByteArray
    @JvmStatic external fun defaults(): ByteArray
    @JvmStatic external fun names(): ByteArray
    @JvmStatic external fun panic(model: Long)
    @JvmStatic external fun logFromAThread()
}
