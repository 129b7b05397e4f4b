package dev.ondol.aar

import java.io.File
import java.net.URLClassLoader
import java.util.zip.ZipFile
import kotlin.io.path.createTempFile

/** The folder of the workspace. */
internal val root = File(System.getProperty("ondol.root"))

/** The AAR. */
internal val aar = File(System.getProperty("ondol.aar"))

/** The sample app's classes. */
internal val sample = File(System.getProperty("ondol.sample"))

/** Android 7 (API level 24), and what the AAR depends on. */
internal val libraries = System.getProperty("ondol.libraries").split(':').map(::File)

/** A file of the AAR. */
internal fun part(name: String): ByteArray = ZipFile(aar).use { zip ->
    zip.getInputStream(zip.getEntry(name)).use { it.readBytes() }
}

/** A file of the AAR, extracted into a file on disk. */
internal fun unpacked(name: String): File =
    temporary(File(name).extension).apply { writeBytes(part(name)) }

internal fun temporary(extension: String): File =
    createTempFile("ondol", ".$extension").toFile().apply { deleteOnExit() }

/** The names of the classes in an archive. */
internal fun classes(archive: File): List<String> = ZipFile(archive).use { zip ->
    zip.entries().asSequence().map { it.name }
        .filter { it.endsWith(".class") }
        .map { it.removeSuffix(".class").replace('/', '.') }
        .toList()
}

/** A class loader for archives and Android's classes, without the classes of this test. */
internal fun loader(vararg archives: File): ClassLoader {
    val urls = (archives.toList() + libraries).map { it.toURI().toURL() }
    return URLClassLoader(urls.toTypedArray(), ClassLoader.getPlatformClassLoader())
}
