package dev.ondol.sample

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import dev.ondol.AndroidSource
import java.io.File
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancelChildren
import kotlinx.coroutines.launch

/** Shows the app's chat and keeps no state, so the system may recreate it on rotation. */
internal class MainActivity : Activity() {
    private val scope = MainScope()
    private val chat by lazy { (application as SampleApp).chat }

    private lateinit var url: EditText
    private lateinit var download: Button
    private lateinit var pick: Button
    private lateinit var model: TextView
    private lateinit var load: Button
    private lateinit var messages: TextView
    private lateinit var work: TextView
    private lateinit var question: EditText
    private lateinit var send: Button
    private lateinit var cancel: Button

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        url = field(R.id.url, R.string.url)
        download = button(R.string.download) { chat.download(url.text.toString(), folder()) }
        pick = button(R.string.pick) { startActivityForResult(picker(), PICK) }
        model = TextView(this)
        load = button(R.string.load) { chat.load() }
        messages = TextView(this).apply { setTextIsSelectable(true) }
        work = TextView(this)
        question = field(R.id.question, R.string.question)
        send = button(R.string.send) {
            chat.send(question.text.toString())
            question.text.clear()
        }
        cancel = button(R.string.cancel) { chat.cancel() }
        setContentView(layout())
    }

    override fun onStart() {
        super.onStart()
        scope.launch { chat.state.collect(::show) }
    }

    override fun onStop() {
        super.onStop()
        scope.coroutineContext.cancelChildren()
    }

    @Deprecated("Its successor is in androidx.")
    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val uri = data?.data ?: return
        val name = uri.lastPathSegment?.substringAfterLast('/') ?: uri.toString()
        chat.choose(name, AndroidSource.content(this, uri))
    }

    private fun show(state: State) {
        model.text = when {
            state.name == null -> getString(R.string.no_model)
            state.isLoaded -> getString(R.string.loaded, state.name)
            else -> getString(
                R.string.memory,
                state.name,
                state.memory?.total,
                state.memory?.weightsMapped,
            )
        }
        messages.text = state.messages.joinToString("\n\n") { message ->
            val who = if (message.role == "user") R.string.user else R.string.assistant
            getString(who, message.content)
        }
        work.text = describe(state)
        val idle = !state.isBusy
        listOf(download, pick).forEach { it.isEnabled = idle }
        load.isEnabled = idle && state.name != null && !state.isLoaded
        send.isEnabled = idle && state.isLoaded
        cancel.isEnabled = !idle
    }

    private fun describe(state: State): String = when (val work = state.work) {
        is Work.None -> state.stats?.let {
            getString(
                R.string.speed,
                it.generatedTokens,
                it.decodeTokensPerSecond,
                it.prefillTokensPerSecond,
                it.peakMemoryBytes,
            )
        }.orEmpty()
        is Work.Loading -> getString(R.string.working)
        is Work.Downloading -> getString(R.string.downloading, work.done, work.total)
        is Work.Reading -> getString(R.string.reading, work.done, work.total)
        is Work.Answering -> getString(R.string.answering)
        is Work.Failed -> getString(R.string.failed, work.message)
    }

    private fun folder() = File(filesDir, "models")

    private fun picker() = Intent(Intent.ACTION_OPEN_DOCUMENT)
        .addCategory(Intent.CATEGORY_OPENABLE)
        .setType("*/*")

    private fun field(name: Int, words: Int) = EditText(this).apply {
        // Android keeps the text of a field with an id when the activity is rotated.
        id = name
        setHint(words)
    }

    private fun button(words: Int, action: () -> Unit) = Button(this).apply {
        setText(words)
        setOnClickListener { action() }
    }

    private fun layout(): View = column(
        url,
        row(download, pick, load),
        model,
        ScrollView(this).apply { addView(messages) },
        work,
        question,
        row(send, cancel),
    ).apply { fitsSystemWindows = true }

    private fun column(vararg views: View) = LinearLayout(this).apply {
        orientation = LinearLayout.VERTICAL
        for (view in views) {
            // The messages take the height that the other views leave.
            val rest = view is ScrollView
            val height = if (rest) 0 else WRAP_CONTENT
            addView(view, LinearLayout.LayoutParams(MATCH_PARENT, height, if (rest) 1f else 0f))
        }
    }

    private fun row(vararg views: View) = LinearLayout(this).apply { views.forEach(::addView) }

    private companion object {
        const val PICK = 1
    }
}
