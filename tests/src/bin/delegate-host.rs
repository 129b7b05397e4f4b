//! The helper of the tests in `tests/isolated.rs`, as an app would have one.

fn main() {
    let error = ondol_delegate_isolated::serve();
    eprintln!("delegate-host: {error}");
    std::process::exit(1);
}
