package dev.ondol

import dev.ondol.internal.Native
import dev.ondol.internal.NativeTesting
import dev.ondol.internal.pack
import dev.ondol.internal.unpack
import java.io.File
import java.lang.reflect.Modifier
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Checks that Kotlin and Rust declare the same methods, numbers, names and defaults. */
class NativeTest {
    private fun descriptor(type: Class<*>): String = when (type) {
        Void.TYPE -> "V"
        else -> java.lang.reflect.Array.newInstance(type, 0).javaClass.name.drop(1).replace('.', '/')
    }

    @Test
    fun `the table is the native methods of the class`() {
        val methods = Native::class.java.declaredMethods.filter { Modifier.isNative(it.modifiers) }
        val declared = methods.map { method ->
            val parameters = method.parameterTypes.joinToString("") { descriptor(it) }
            "${method.name}($parameters)${descriptor(method.returnType)}"
        }
        assertEquals(declared.sorted(), unpack(NativeTesting.methods()).sorted())
    }

    @Test
    fun `codes have the names and numbers of Rust`() {
        val source = File(root, "runtime/src/error_code.rs").readText()
        val rust = Regex("""^ {4}(\w+) = (\d+),$""", RegexOption.MULTILINE).findAll(source)
            .map { "${upperCase(it.groupValues[1])}=${it.groupValues[2]}" }
            .toList()
        assertTrue(rust.size > 30, "$rust")
        assertEquals(rust, ErrorCode.entries.map { "$it=${it.number}" })
    }

    @Test
    fun `options have the names and defaults of Rust`() {
        val kotlin = listOf(AnswerOptions(), LoadOptions(), DelegateOptions("")).flatMap(::properties)
        val rust = unpack(NativeTesting.defaults()).map { line ->
            val (name, value) = line.split('=', limit = 2)
            val path = name.split('.', limit = 2)
            "${path[0]}.${camelCase(path[1])}=$value"
        }
        assertEquals(rust.sorted(), kotlin.sorted())
    }

    /** Names and values of an object, as Rust writes them. */
    private fun properties(options: Any): List<String> = options.javaClass.methods
        .filter { it.name.startsWith("get") && it.declaringClass == options.javaClass }
        .map { it.name.removePrefix("get").replaceFirstChar(Char::lowercase) to it.invoke(options) }
        .filter { (name, _) -> name != "delegate" && name != "path" }
        .map { (name, value) ->
            when (name) {
                "bigCores" -> "affinity" to if (value == true) "BigCores" else "Free"
                else -> name to (value?.toString() ?: "None")
            }
        }
        .map { (name, value) -> "${options.javaClass.simpleName}.$name=$value" }

    @Test
    fun `enums have the order of Rust`() {
        val kotlin = FinishReason.entries.map { "FinishReason.$it" } +
            KvType.entries.map { "KvType.$it" } +
            LogLevel.entries.map { "LogLevel.$it" }
        val rust = unpack(NativeTesting.names()).map { name ->
            val (type, variant) = name.split('.')
            "$type.${if (type == "KvType") variant else upperCase(variant)}"
        }
        assertEquals(rust, kotlin)
    }

    @Test
    fun `lists survive packing`() {
        for (texts in listOf(listOf(), listOf(""), listOf("한글", "", "🙂 emoji"))) {
            assertEquals(texts, unpack(pack(texts)))
        }
    }

    @Test
    fun `versions are the same for Maven and Gradle`() {
        val catalog = File(root, "android/gradle/libs.versions.toml").readText()
        val pom = File(root, "android/pom.xml").readText()
        for ((gradle, maven) in listOf("kotlin" to "kotlin", "coroutines" to "coroutines")) {
            val version = Regex("""^$gradle = "(.+)"$""", RegexOption.MULTILINE).find(catalog)
            val expected = "<$maven.version>${version?.groupValues?.get(1)}</$maven.version>"
            assertTrue(expected in pom, expected)
        }
    }

    private fun upperCase(name: String): String =
        name.replace(Regex("(?<=[a-z0-9])(?=[A-Z])"), "_").uppercase()

    private fun camelCase(name: String): String =
        name.split('_').joinToString("") { it.replaceFirstChar(Char::uppercase) }
            .replaceFirstChar(Char::lowercase)
}
