package dev.ondol.sample

import java.io.File
import javax.xml.parsers.DocumentBuilderFactory
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.w3c.dom.Element

class StringsTest {
    /** The names of the strings, with their sorted placeholders. */
    private fun strings(folder: String): Map<String, List<String>> {
        val file = File("src/main/res/$folder/strings.xml")
        val document = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file)
        val elements = document.getElementsByTagName("string")
        return (0 until elements.length).map { elements.item(it) as Element }.associate {
            val places = Regex("%\\d\\$[,.\\d]*[a-z]").findAll(it.textContent).map { it.value }
            it.getAttribute("name") to places.sorted().toList()
        }
    }

    @Test
    fun `Korean and English have the same strings`() {
        val english = strings("values")
        assertTrue(english.size > 10, "$english")
        assertEquals(english, strings("values-ko"))
    }
}
