package dev.ondol

import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.condition.EnabledIfSystemProperty

/** A real model, whose vocabulary cuts Hangul and emoji into several tokens. */
@EnabledIfSystemProperty(named = "ondol.smollm2", matches = ".+", disabledReason = "no file of SmolLM2")
class SmolLm2Test {
    @Test
    fun `it answers in Korean and English`() = runBlocking {
        Ondol.load(System.getProperty("ondol.smollm2")).use { model ->
            assertTrue(model.countTokens("🙂") > 1)
            val korean = "Repeat this exactly: 안녕하세요 🙂 안녕하세요 🙂 안녕하세요 🙂"
            for ((question, expected) in listOf(korean to "안녕하세요 🙂", "Hello! Who are you?" to "Hello!")) {
                val tokens = model.conversation().use { it.send(question, greedy(16)).toList() }
                val text = tokens.joinToString("")
                assertTrue(tokens.size > 4, text)
                assertTrue(expected in text, text)
                for (token in tokens) {
                    assertFalse(token.text.any { it == '\uFFFD' }, text)
                    assertFalse(token.text.first().isLowSurrogate(), text)
                }
            }
        }
    }
}
