package dev.ondol.robolectric

import android.app.Activity
import android.content.Intent
import android.net.Uri
import android.os.Looper
import android.view.View
import android.view.ViewGroup
import android.widget.EditText
import android.widget.TextView
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.annotation.Config

/** Uses the sample app as a person does, on Android 7. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [24])
class SampleTest {
    private val hello = File(System.getProperty("ondol.root"), "models/hello/hello.gguf")

    @Suppress("UNCHECKED_CAST")
    private val type = Class.forName("dev.ondol.sample.MainActivity") as Class<Activity>

    private var shown: ActivityController<Activity> = Robolectric.buildActivity(type).setup()

    private fun views(root: View = shown.get().window.decorView): List<View> = when (root) {
        is ViewGroup -> (0 until root.childCount).flatMap { views(root.getChildAt(it)) }
        else -> listOf(root)
    }

    private fun texts(): String = views().filterIsInstance<TextView>().joinToString("\n") { it.text }

    private fun button(text: String): TextView =
        views().filterIsInstance<TextView>().first { "${it.text}" == text }

    private fun field(hint: String): EditText =
        views().filterIsInstance<EditText>().first { "${it.hint}" == hint }

    /** Runs the main thread until a condition holds. */
    private fun waitFor(what: String, condition: () -> Boolean) {
        val end = System.nanoTime() + 60_000_000_000
        while (!condition()) {
            assertTrue("$what:\n${texts()}", System.nanoTime() < end)
            shadowOf(Looper.getMainLooper()).idle()
            Thread.sleep(5)
        }
    }

    private fun pick() {
        button(PICK).performClick()
        val picker = shadowOf(shown.get()).nextStartedActivityForResult
        assertEquals(Intent.ACTION_OPEN_DOCUMENT, picker.intent.action)
        val result = Intent().setData(Uri.fromFile(hello))
        shadowOf(shown.get()).receiveResult(picker.intent, Activity.RESULT_OK, result)
    }

    private fun loadModel() {
        pick()
        waitFor("the memory") { "hello.gguf: takes " in texts() && button(LOAD).isEnabled }
        assertTrue(texts(), Regex("maps [\\d,]{7,} bytes").containsMatchIn(texts()))
        button(LOAD).performClick()
        waitFor("the model") { "Loaded: hello.gguf" in texts() && button(SEND).isEnabled }
    }

    private fun ask(question: String) {
        field(QUESTION).setText(question)
        button(SEND).performClick()
    }

    @Test
    fun `a model is picked and answers, and the answer outlives a turn`() {
        loadModel()
        ask("안녕하세요")
        waitFor("the end") { "tokens/s" in texts() }
        val answer = Regex("You: 안녕하세요\n\nModel: \\S").containsMatchIn(texts())
        assertTrue(texts(), answer)
        val before = texts()
        shown = shown.recreate()
        shadowOf(Looper.getMainLooper()).idle()
        assertEquals(before, texts())
    }

    @Test
    fun `an answer is cancelled`() {
        loadModel()
        ask("Hello! ".repeat(150))
        waitFor("the prompt") { button(CANCEL).isEnabled }
        button(CANCEL).performClick()
        waitFor("the end") { button(SEND).isEnabled }
        assertFalse(button(CANCEL).isEnabled)
        assertFalse(texts(), "Failed" in texts() || "tokens/s" in texts())
    }

    @Test
    fun `a download that fails is told`() {
        field("Address of a GGUF file").setText("no address")
        button("Download").performClick()
        waitFor("the error") { "Failed: " in texts() }
        assertTrue(button(PICK).isEnabled)
    }

    @Test
    @Config(qualifiers = "ko")
    fun `it speaks Korean`() {
        shadowOf(Looper.getMainLooper()).idle()
        assertTrue(texts(), "모델을 내려받거나 고르세요." in texts())
    }

    private companion object {
        const val PICK = "Pick a file"
        const val LOAD = "Load"
        const val SEND = "Send"
        const val CANCEL = "Cancel"
        const val QUESTION = "Ask in Korean or English"
    }
}
