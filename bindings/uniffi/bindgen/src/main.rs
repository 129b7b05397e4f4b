//! Writes UniFFI's code for Swift, Python and Kotlin.

fn main() {
    uniffi::uniffi_bindgen_main();
}
