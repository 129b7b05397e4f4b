package dev.ondol

import java.util.Collections
import java.util.WeakHashMap

/** The models that are open, for calls that concern all of them. */
internal object OpenModels {
    // The references are weak, so that this set does not keep a model that was not closed.
    private val models = Collections.synchronizedSet(
        Collections.newSetFromMap(WeakHashMap<Model, Boolean>()),
    )

    fun add(model: Model) {
        models.add(model)
    }

    fun remove(model: Model) {
        models.remove(model)
    }

    /** Releases memory that no answer needs to the system, for all models. */
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
