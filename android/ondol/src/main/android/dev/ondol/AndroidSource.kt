package dev.ondol

import android.content.ContentResolver
import android.content.Context
import android.content.res.AssetFileDescriptor
import android.net.Uri
import android.os.ParcelFileDescriptor
import dev.ondol.internal.Errors
import dev.ondol.internal.Native
import java.io.FileNotFoundException
import java.io.IOException

/** Places of models that Android has beside paths. None can have a packed copy. */
public object AndroidSource {
    /**
     * An asset of the app, which must be stored without compression:
     * `androidResources { noCompress += "gguf" }` in Gradle.
     *
     * @param name its path below `assets`.
     */
    @JvmStatic
    public fun asset(context: Context, name: String): ModelSource {
        val assets = context.applicationContext.assets
        return Opened { assets.openFd(name) }
    }

    /** What a document picker returned, of a provider that gives out a real file. */
    @JvmStatic
    public fun content(context: Context, uri: Uri): ModelSource {
        val resolver: ContentResolver = context.applicationContext.contentResolver
        return Opened {
            resolver.openAssetFileDescriptor(uri, "r")
                ?: throw FileNotFoundException("$uri: its provider does not answer")
        }
    }

    /**
     * A part of an open file.
     *
     * @param descriptor open for reading until the model is loaded; it stays the caller's.
     * @param offset the first byte.
     * @param length bytes; null is the rest of the file.
     */
    @JvmStatic
    @JvmOverloads
    public fun descriptor(
        descriptor: ParcelFileDescriptor,
        offset: Long = 0,
        length: Long? = null,
    ): ModelSource = ModelSource.descriptor(descriptor.fd, offset, length)

    /** A file that is opened for the time of the load. */
    private class Opened(private val file: () -> AssetFileDescriptor) : ModelSource() {
        override fun <T> open(call: (Place) -> T): T {
            val opened = try {
                file()
            } catch (refused: IOException) {
                throw Errors.create(ErrorCode.IO, refused.toString())
            }
            return opened.use {
                val length = it.declaredLength
                val known = length != AssetFileDescriptor.UNKNOWN_LENGTH
                call(
                    Place(
                        descriptor = it.parcelFileDescriptor.fd,
                        offset = it.startOffset,
                        length = if (known) length else Native.NO_LONG,
                    ),
                )
            }
        }
    }
}
