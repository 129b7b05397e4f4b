package dev.ondol.docs

// The Kotlin of docs/android.md that needs Android. A test compares it with the page.

import android.app.Application
import android.content.Context
import android.net.Uri
import dev.ondol.AndroidSource
import dev.ondol.LogLevel
import dev.ondol.Logcat
import dev.ondol.Model
import dev.ondol.Ondol
import dev.ondol.OndolAndroid
import dev.ondol.load
import java.io.File

class App : Application() {
    override fun onCreate() {
        super.onCreate()
        OndolAndroid.follow(this)
        Ondol.setLogger(LogLevel.WARN, Logcat)
    }
}

suspend fun load(context: Context, picked: Uri): List<Model> = listOf(
    Ondol.load(File(context.filesDir, "model.gguf").path),
    Ondol.load(AndroidSource.asset(context, "model.gguf")),
    Ondol.load(AndroidSource.content(context, picked)),
)
