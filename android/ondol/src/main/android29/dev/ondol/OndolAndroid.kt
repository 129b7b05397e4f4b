package dev.ondol

import android.app.Application
import android.content.Context
import android.os.Build
import android.os.PowerManager
import android.os.PowerManager.OnThermalStatusChangedListener
import dev.ondol.internal.Native

/** Passes Android's reports about the device on to the [Governor]. */
public object OndolAndroid {
    private const val API_WITH_THERMAL_STATUS = 29

    private var follows = false

    /**
     * Follows the app's lifecycle from now on, for all models: answers wait while no
     * activity is visible, memory is released when the system asks for it, and fewer
     * threads work on a hot device (Android 10 and later). Call it in
     * `Application.onCreate`. A second call does nothing.
     *
     * @param pauseInBackground whether answers wait while no activity is visible; false
     * for an app that answers in a foreground service.
     */
    @JvmStatic
    @JvmOverloads
    @Synchronized
    public fun follow(application: Application, pauseInBackground: Boolean = true) {
        if (follows) return
        follows = true
        val lifecycle = Lifecycle(pauseInBackground)
        application.registerActivityLifecycleCallbacks(lifecycle)
        application.registerComponentCallbacks(lifecycle)
        if (Build.VERSION.SDK_INT >= API_WITH_THERMAL_STATUS) Thermal.follow(application)
    }

    /** This code is in a class of its own, which older systems never load. */
    private object Thermal {
        fun follow(context: Context) {
            val power = context.getSystemService(PowerManager::class.java) ?: return
            power.addThermalStatusListener(
                OnThermalStatusChangedListener { status ->
                    Governor.thermal = ThermalState.entries[Native.thermalFromAndroid(status)]
                },
            )
        }
    }
}
