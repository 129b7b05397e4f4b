package dev.ondol.aar

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipFile
import javax.xml.parsers.DocumentBuilderFactory
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.w3c.dom.Element

class ContentsTest {
    private val abis = System.getProperty("ondol.abis").split(',')

    /** The numbers that stand for the machines in ELF files. */
    private val machines = mapOf("arm64-v8a" to 183, "armeabi-v7a" to 40, "x86_64" to 62)

    @Test
    fun `it has these files and no others`() {
        val files = ZipFile(aar).use { zip ->
            zip.entries().asSequence().filter { !it.isDirectory }.map { it.name }.toList()
        }
        val whole = listOf("AndroidManifest.xml", "R.txt", "classes.jar", "proguard.txt")
        assertEquals((whole + abis.map { "jni/$it/libondol_jni.so" }).sorted(), files.sorted())
        assertEquals(0, part("R.txt").size)
    }

    @Test
    fun `each library is of its ABI`() {
        for (abi in abis) {
            val header = ByteBuffer.wrap(part("jni/$abi/libondol_jni.so"))
            assertEquals(0x7F454C46, header.getInt(0), "ELF")
            header.order(ByteOrder.LITTLE_ENDIAN)
            assertEquals(machines[abi], header.getShort(18).toInt(), abi)
        }
    }

    @Test
    fun `the manifest says what it needs, and whether an NDK linked it`() {
        val documents = DocumentBuilderFactory.newInstance().newDocumentBuilder()
        val manifest = documents.parse(part("AndroidManifest.xml").inputStream()).documentElement
        assertEquals("dev.ondol", manifest.getAttribute("package"))
        val sdk = manifest.getElementsByTagName("uses-sdk").item(0) as Element
        assertEquals("24", sdk.getAttribute("android:minSdkVersion"))
        val data = manifest.getElementsByTagName("meta-data")
        val names = (0 until data.length).map { data.item(it) as Element }
            .map { it.getAttribute("android:name") }
        val unlinked = if (aar.name == "ondol-unlinked.aar") listOf("dev.ondol.UNLINKED") else listOf()
        assertEquals(unlinked, names)
    }

    @Test
    fun `every class loads`() {
        val archive = unpacked("classes.jar")
        val loader = loader(archive)
        val names = classes(archive)
        assertTrue("dev.ondol.OndolAndroid" in names && "dev.ondol.Conversation" in names, "$names")
        val later = names.filter { name ->
            try {
                val loaded = Class.forName(name, false, loader)
                // These calls verify the code, and load the classes of all signatures.
                loaded.declaredMethods
                loaded.declaredConstructors
                loaded.declaredFields
                false
            } catch (missing: NoClassDefFoundError) {
                true
            }
        }
        assertEquals(listOf<String>(), later, "what needs a later Android")
    }
}
