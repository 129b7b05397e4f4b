//! The helper process of the tests in `tests/isolated.rs`; an app would have such a program.

fn main() {
    let error = ondol_delegate_isolated::serve();
    eprintln!("delegate-host: {error}");
    std::process::exit(1);
}
