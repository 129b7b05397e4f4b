//! Runs two functions at the same time.

use std::thread;

/// Runs both functions, and fails if one fails. For builds that mostly link, which uses only one
/// core. The builds must have separate target folders, because cargo locks a target folder.
pub fn both<A: Send, B>(
    first: impl FnOnce() -> Result<A, String> + Send,
    second: impl FnOnce() -> Result<B, String>,
) -> Result<(A, B), String> {
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        let first = first.join().map_err(|_| "a thread".to_owned())?;
        Ok((first?, second?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_is_told() {
        let good = || Ok::<_, String>(1);
        let bad = || Err::<u8, _>("this".to_owned());
        assert_eq!(both(good, good), Ok((1, 1)));
        assert_eq!(both(good, bad), Err("this".to_owned()));
        assert_eq!(both(bad, good), Err("this".to_owned()));
    }
}
