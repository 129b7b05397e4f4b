package dev.ondol.internal

import java.nio.ByteBuffer

/**
 * A list of texts as one array: each text, in UTF-8, is preceded by its length in bytes, as
 * four big-endian bytes. `bindings/jni/src/bytes.rs` uses the same format.
 */
internal fun pack(texts: Iterable<String>): ByteArray {
    val encoded = texts.map { it.encodeToByteArray() }
    val packed = ByteBuffer.allocate(encoded.sumOf { 4 + it.size })
    encoded.forEach { packed.putInt(it.size).put(it) }
    return packed.array()
}

internal fun unpack(packed: ByteArray): List<String> {
    val from = ByteBuffer.wrap(packed)
    val texts = ArrayList<String>()
    while (from.hasRemaining()) {
        val bytes = ByteArray(from.getInt())
        from.get(bytes)
        texts.add(bytes.decodeToString())
    }
    return texts
}
