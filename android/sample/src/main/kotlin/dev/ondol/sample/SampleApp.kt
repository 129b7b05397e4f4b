package dev.ondol.sample

import android.app.Application
import dev.ondol.LogLevel
import dev.ondol.Logcat
import dev.ondol.Ondol
import dev.ondol.OndolAndroid
import kotlinx.coroutines.MainScope

/** Has the objects that outlive the activity: the model and the conversation. */
internal class SampleApp : Application() {
    val chat = Chat(MainScope())

    override fun onCreate() {
        super.onCreate()
        Ondol.setLogger(LogLevel.WARN, Logcat)
        OndolAndroid.follow(this)
    }
}
