package dev.ondol

import android.app.Activity
import android.content.ComponentCallbacks2
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class LifecycleTest {
    private val lifecycle = Lifecycle(pauseInBackground = true)

    /** An activity whose constructor, which needs a phone, did not run. */
    private val activity: Activity = run {
        val unsafe = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe")
            .apply { isAccessible = true }
            .get(null)
        val allocate = unsafe.javaClass.getMethod("allocateInstance", Class::class.java)
        allocate.invoke(unsafe, Activity::class.java) as Activity
    }

    @AfterEach
    fun end() {
        Governor.isPaused = false
        Governor.memoryPressure = MemoryPressure.NORMAL
    }

    @Test
    fun `answers wait while nothing is visible`() {
        lifecycle.onActivityStarted(activity)
        lifecycle.onActivityStarted(activity)
        lifecycle.onActivityStopped(activity)
        assertFalse(Governor.isPaused, "another one is visible")
        lifecycle.onActivityStopped(activity)
        assertTrue(Governor.isPaused)
        lifecycle.onActivityStarted(activity)
        assertFalse(Governor.isPaused)
    }

    @Test
    fun `an app that answers in the background is not paused`() {
        val lifecycle = Lifecycle(pauseInBackground = false)
        lifecycle.onActivityStarted(activity)
        lifecycle.onActivityStopped(activity)
        assertFalse(Governor.isPaused)
    }

    @Test
    fun `memory is given back, and asked for again when the app is visible`() {
        Ondol.loadBlocking(ModelSource.hello()).use { model ->
            model.conversation().use { it.stream("Hello!").forEach { _ -> } }
            lifecycle.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_BACKGROUND)
            assertEquals(MemoryPressure.LOW, Governor.memoryPressure)
            model.conversation().close()
            lifecycle.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_COMPLETE)
            assertThrows(OndolException.MemoryPressure::class.java) { model.conversation() }
            lifecycle.onActivityStarted(activity)
            model.conversation().use { it.stream("Hello!").forEach { _ -> } }
            lifecycle.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL)
            model.conversation().close()
        }
    }

    @Test
    fun `levels of onTrimMemory`() {
        assertEquals(MemoryPressure.LOW, Lifecycle.pressure(ComponentCallbacks2.TRIM_MEMORY_RUNNING_LOW))
        assertEquals(MemoryPressure.LOW, Lifecycle.pressure(ComponentCallbacks2.TRIM_MEMORY_UI_HIDDEN))
        assertEquals(
            MemoryPressure.CRITICAL,
            Lifecycle.pressure(ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL),
        )
        assertEquals(MemoryPressure.CRITICAL, Lifecycle.pressure(ComponentCallbacks2.TRIM_MEMORY_COMPLETE))
    }

    @Test
    fun `states of Android's heat`() {
        val states = (-1..6).map { ThermalState.entries[dev.ondol.internal.Native.thermalFromAndroid(it)] }
        assertEquals(
            "NOMINAL NOMINAL FAIR FAIR SERIOUS CRITICAL CRITICAL CRITICAL",
            states.joinToString(" "),
        )
    }
}
