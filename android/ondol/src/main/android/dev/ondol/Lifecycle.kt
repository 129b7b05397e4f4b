package dev.ondol

import android.app.Activity
import android.app.Application.ActivityLifecycleCallbacks
import android.content.ComponentCallbacks2
import android.content.res.Configuration
import android.os.Bundle

/**
 * Pauses answers while none of the app's activities is visible, and releases memory when
 * the system asks for it. The system calls it on the main thread.
 */
internal class Lifecycle(private val pauseInBackground: Boolean) :
    ActivityLifecycleCallbacks, ComponentCallbacks2 {
    /** The number of visible activities. */
    private var visible = 0

    override fun onActivityStarted(activity: Activity) {
        visible += 1
        Governor.memoryPressure = MemoryPressure.NORMAL
        if (pauseInBackground) Governor.isPaused = false
    }

    override fun onActivityStopped(activity: Activity) {
        visible -= 1
        // A rotated activity is stopped and started again; the app stays visible.
        val leaves = visible == 0 && !activity.isChangingConfigurations
        if (leaves && pauseInBackground) Governor.isPaused = true
    }

    override fun onTrimMemory(level: Int) {
        Governor.memoryPressure = pressure(level)
        OpenModels.releaseUnused()
        // The memory is released now, and Android never reports that there is enough
        // again. So the pressure ends at once if an activity is visible, and otherwise
        // when an activity becomes visible (`onActivityStarted`).
        if (visible > 0) Governor.memoryPressure = MemoryPressure.NORMAL
    }

    @Deprecated("Android calls it where onTrimMemory is not known.")
    override fun onLowMemory() = onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_COMPLETE)

    override fun onActivityCreated(activity: Activity, state: Bundle?) = Unit

    override fun onActivityResumed(activity: Activity) = Unit

    override fun onActivityPaused(activity: Activity) = Unit

    override fun onActivitySaveInstanceState(activity: Activity, state: Bundle) = Unit

    override fun onActivityDestroyed(activity: Activity) = Unit

    override fun onConfigurationChanged(configuration: Configuration) = Unit

    internal companion object {
        /** The pressure that a level of `onTrimMemory` stands for. */
        fun pressure(level: Int): MemoryPressure = when {
            level == ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL -> MemoryPressure.CRITICAL
            level >= ComponentCallbacks2.TRIM_MEMORY_COMPLETE -> MemoryPressure.CRITICAL
            else -> MemoryPressure.LOW
        }
    }
}
