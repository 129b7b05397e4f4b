//! Arrays made element by element in the caller itself. The standard library's
//! `map` and `from_fn` call their closures from functions of their own, which lack
//! an ISA's target features: what such a closure does with vectors is then a call
//! for each instruction, unless the build happens to inline all of them.
//!
//! A closure that uses an ISA's instructions is `#[inline(always)]` too.

use core::mem::MaybeUninit;

/// `[f(0), f(1), ...]`.
#[inline(always)]
pub(crate) fn from_fn<T, const N: usize>(mut f: impl FnMut(usize) -> T) -> [T; N] {
    let mut array = [const { MaybeUninit::uninit() }; N];
    for (i, element) in array.iter_mut().enumerate() {
        element.write(f(i));
    }
    // SAFETY: every element was written, and has the size of its `MaybeUninit`.
    unsafe { core::mem::transmute_copy(&array) }
}

/// `[f(array[0]), f(array[1]), ...]`.
#[inline(always)]
pub(crate) fn map<T: Copy, U, const N: usize>(array: [T; N], mut f: impl FnMut(T) -> U) -> [U; N] {
    from_fn(
        #[inline(always)]
        |i| f(array[i]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_in_order() {
        assert_eq!(from_fn::<_, 4>(|i| i.to_string()), ["0", "1", "2", "3"]);
        assert_eq!(map([3_u8, 1, 2], |x| 10 * u32::from(x)), [30, 10, 20]);
        assert!(map([0_u8; 0], u32::from).is_empty());
    }
}
