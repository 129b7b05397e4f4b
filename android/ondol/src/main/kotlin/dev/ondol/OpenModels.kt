package dev.ondol

import java.util.Collections
import java.util.WeakHashMap

/** The models that are open, for what concerns all of them. */
internal object OpenModels {
    // Weak, so that a model that nobody closed is not kept here.
    private val models = Collections.synchronizedSet(
        Collections.newSetFromMap(WeakHashMap<Model, Boolean>()),
    )

    fun add(model: Model) {
        models.add(model)
    }

    fun remove(model: Model) {
        models.remove(model)
    }

    /** Gives memory that no answer needs back to the system. */
    fun releaseUnused() {
        val open = synchronized(models) { models.toList() }
        open.forEach { model ->
            try {
                model.releaseUnused()
            } catch (_: OndolException.Closed) {
                // Another thread closed it just now.
            }
        }
    }
}
