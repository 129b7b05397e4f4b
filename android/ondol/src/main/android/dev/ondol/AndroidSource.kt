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

/** Sources of models on Android other than paths. Such a model can have no packed copy. */
public object AndroidSource {
    /**
     * An asset of the app, which must be stored without compression:
     * `androidResources { noCompress += "gguf" }` in Gradle.
     *
     * @param name the asset's path below `assets`.
     */
    @JvmStatic
    public fun asset(context: Context, name: String): ModelSource {
        val assets = context.applicationContext.assets
        return Opened { assets.openFd(name) }
    }

    /** A file that a document picker returned, if its provider opens a real file. */
    @JvmStatic
    public fun content(context: Context, uri: Uri): ModelSource {
        val resolver: ContentResolver = context.applicationContext.contentResolver
        return Opened {
            resolver.openAssetFileDescriptor(uri, "r")
                ?: throw FileNotFoundException("$uri: its content provider returned no file")
        }
    }

    /**
     * A range of bytes of an open file; the range holds a whole GGUF file.
     *
     * @param descriptor is open for reading until the model is loaded; the caller closes it.
     * @param offset the first byte of the range.
     * @param length bytes of the range; null is the rest of the file.
     */
    @JvmStatic
    @JvmOverloads
    public fun descriptor(
        descriptor: ParcelFileDescriptor,
        offset: Long = 0,
        length: Long? = null,
    ): ModelSource = ModelSource.descriptor(descriptor.fd, offset, length)

    /** A file that is open only during the load. */
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
