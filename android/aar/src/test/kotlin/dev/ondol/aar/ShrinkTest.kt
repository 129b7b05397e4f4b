package dev.ondol.aar

import java.io.File
import java.io.IOException
import java.lang.reflect.Modifier
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import proguard.Configuration
import proguard.ConfigurationParser
import proguard.ProGuard

/** Shrinks and obfuscates the sample app with the AAR, as an app's release build does. */
class ShrinkTest {
    /** The rule that keeps the classes which the sample app's manifest names. */
    private val entries = "-keep class dev.ondol.sample.SampleApp,dev.ondol.sample.MainActivity " +
        "{ public <init>(); }"

    /** The only class that uses functions newer than API level 24; older systems skip it. */
    private val later = "-dontwarn dev.ondol.OndolAndroid\$Thermal**"

    private val archive = unpacked("classes.jar")
    private val rules = "-include ${unpacked("proguard.txt")}"

    /** ProGuard's result. An unresolved class, method or field is an exception. */
    private fun shrink(vararg options: String): File {
        val result = temporary("jar").apply { delete() }
        val java = File(System.getProperty("java.home"), "jmods/java.base.jmod")
        val all = listOf(sample, archive).map { "-injars $it(!META-INF/**)" } +
            "-outjars $result" +
            // Android's classes take precedence over those of java.base.
            libraries.map { "-libraryjars $it" } +
            "-libraryjars $java(!**.jar;!module-info.class)" +
            "-dontnote" + entries + options
        val lines = temporary("pro").apply { writeText(all.joinToString("\n")) }
        val configuration = Configuration()
        ConfigurationParser(lines, System.getProperties()).use { it.parse(configuration) }
        ProGuard(configuration).execute()
        return result
    }

    /** The names that Rust looks up and that an archive contains. */
    private fun found(archive: File): Set<String> {
        val loader = loader(archive)
        return Rust.classes.filter { it in classes(archive) }
            .map { Class.forName(it, false, loader) }
            .flatMap { type -> methods(type).map { "${type.name}.$it" } + type.name }
            .toSet()
    }

    private fun methods(type: Class<*>): List<String> = type.declaredMethods
        .filter { Modifier.isNative(it.modifiers) || it.name in Rust.members }
        .map { it to it.parameterTypes.joinToString { parameter -> parameter.name } }
        .filter { (it, parameters) -> Modifier.isNative(it.modifiers) || parameters in Rust.parameters }
        .map { (it, parameters) -> "${it.name}($parameters): ${it.returnType.name}" }

    /** The names that Rust looks up, all of which must be in the archive. */
    private fun expected(): Set<String> {
        val all = found(archive)
        val missing = Rust.classes - all
        assertEquals(setOf<String>(), missing, "classes")
        for (name in Rust.methods + Rust.members) assertTrue(all.any { ".$name(" in it }, name)
        return all
    }

    @Test
    fun `what the native side looks up keeps its name`() {
        assertTrue(Rust.classes.size >= 5, "${Rust.classes}")
        assertEquals(Rust.announced, Rust.methods.size, "the methods of the table")
        val shrunk = shrink(rules, later)
        assertEquals(setOf<String>(), expected() - found(shrunk), "lost")
        // ProGuard renamed or removed the other names.
        assertTrue("dev.ondol.Conversation" !in classes(shrunk), "${classes(shrunk)}")
    }

    @Test
    fun `without its rules it does not`() {
        val lost = expected() - found(shrink(later))
        for (name in Rust.members) assertTrue(lost.any { ".$name(" in it }, "$name: $lost")
        assertTrue(lost.count { "internal.Native." in it } > Rust.methods.size / 2, "$lost")
    }

    @Test
    fun `a single class needs a later Android`() {
        assertThrows(IOException::class.java) { shrink(rules) }
    }
}

/** The names in Rust's sources. */
private object Rust {
    private val folder = File(root, "bindings/jni/src")

    /** All code without comments and without code that only tests use. */
    private val code = folder.listFiles()!!
        .filter { it.name != "testing.rs" }
        .joinToString("\n") { it.readText().substringBefore("#[cfg(test)]\nmod ") }
        .replace(Regex("//.*"), "")

    private val table = File(folder, "methods.rs").readText()

    /** The native methods. */
    val methods: List<String> = Regex("""method!\((\w+)\(""").findAll(table)
        .map { camelCase(it.groupValues[1]) }
        .toList()

    /** Their number. */
    val announced: Int? = Regex("""TABLE: \[NativeMethod<'static>; (\d+)]""").find(table)
        ?.groupValues?.get(1)?.toInt()

    /** Classes, by their name in the JVM or in a descriptor. */
    val classes: Set<String> = Regex("""dev[./]ondol([./]\w+)+""").findAll(code)
        .map { it.value.replace('/', '.') }
        .toSet()

    /** Methods that Rust calls. */
    val members: Set<String> = Regex("""jni_str!\("(\w+)"\)""").findAll(code)
        .map { it.groupValues[1] }
        .toSet()

    /** The parameters of these methods. */
    val parameters: Set<String> = Regex("""jni_sig!\(\((.*?)\)""").findAll(code)
        .map { found -> found.groupValues[1].split(", ").joinToString { javaType(it) } }
        .toSet()

    /** `name: type`, with a type of JNI. */
    private fun javaType(parameter: String): String = when (val type = parameter.substringAfter(": ")) {
        "jbyte[]" -> "[B"
        else -> type.removePrefix("j")
    }

    private fun camelCase(name: String): String =
        name.replace(Regex("_(\\w)")) { it.groupValues[1].uppercase() }
}
