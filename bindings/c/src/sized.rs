//! Structs that may grow: the first field is the size of the caller's struct.
//!
//! A program and the library may have different versions. Fields that the caller's
//! struct lacks have their defaults; fields that the library does not know must be
//! zero. The library fills in fields only up to the end of the caller's struct.

use crate::call::Failure;
use core::mem::size_of;

/// A struct of the interface that starts with `struct_size`.
///
/// # Safety
/// The type is `repr(C)`, its first field is a `u32`, and zeros are a value of it.
pub unsafe trait Sized32: Copy {}

/// The caller's struct, or zeros if the pointer is null.
///
/// # Errors
/// As for [`read_or`].
///
/// # Safety
/// As for [`read_or`].
#[cfg(any(feature = "std", test))]
pub unsafe fn read<T: Sized32>(from: *const T) -> Result<T, Failure> {
    // SAFETY: zeros are a value of the type, by the trait; the rest is passed on.
    unsafe { read_or(from, core::mem::zeroed()) }
}

/// The caller's struct; `value` if the pointer is null, and in the fields that the struct
/// lacks.
///
/// # Errors
/// [`Failure::Argument`] if `struct_size` is not set, or a field that this version does not
/// know is not zero.
///
/// # Safety
/// `from` is null or points to a struct of as many bytes as its first field says.
pub unsafe fn read_or<T: Sized32>(from: *const T, mut value: T) -> Result<T, Failure> {
    if from.is_null() {
        return Ok(value);
    }
    // SAFETY: the first field is a u32, and the caller's struct is that long.
    let bytes = unsafe {
        let size = from.cast::<u32>().read() as usize;
        core::slice::from_raw_parts(from.cast::<u8>(), size)
    };
    if bytes.len() < size_of::<u32>() {
        return Err(Failure::Argument("struct_size is not set"));
    }
    let known = bytes.len().min(size_of::<T>());
    if bytes[known..].iter().any(|&byte| byte != 0) {
        return Err(Failure::Argument(
            "a field that this version does not know is set",
        ));
    }
    // SAFETY: `known` bytes are there on both sides, which do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut value).cast(), known) };
    Ok(value)
}

/// The caller's array of structs, each with the `struct_size` of the first one.
///
/// # Errors
/// As for [`read_or`]; also if the structs have different values of `struct_size`.
///
/// # Safety
/// `from` is null or points to `count` such structs.
#[cfg(feature = "std")]
pub unsafe fn read_array<T: Sized32>(
    from: *const T,
    count: usize,
    null: &'static str,
) -> Result<Vec<T>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if from.is_null() {
        return Err(Failure::Argument(null));
    }
    // SAFETY: there is a first struct, and the first field of each is a u32.
    let length = unsafe { from.cast::<u32>().read() };
    if !(length as usize).is_multiple_of(align_of::<T>()) {
        return Err(Failure::Argument("struct_size is not set"));
    }
    let place = |index: usize| {
        from.cast::<u8>()
            .wrapping_add(index * length as usize)
            .cast::<T>()
    };
    let one = |index| {
        // SAFETY: passed on to the caller.
        unsafe {
            if place(index).cast::<u32>().read() != length {
                let wrong = "the structs of an array have different values of struct_size";
                return Err(Failure::Argument(wrong));
            }
            read(place(index))
        }
    };
    (0..count).map(one).collect()
}

/// Fills in the fields of the caller's struct after `struct_size`; does nothing for null.
///
/// # Safety
/// `to` is null or points to a struct of as many bytes as its first field says.
pub unsafe fn write<T: Sized32>(value: &T, to: *mut T) {
    if to.is_null() {
        return;
    }
    let head = size_of::<u32>();
    // SAFETY: the first field is a u32; no more bytes are copied than the caller's struct
    // and `value` have.
    unsafe {
        let size = to.cast::<u32>().read() as usize;
        let rest = size.min(size_of::<T>()).saturating_sub(head);
        let from = core::ptr::from_ref(value).cast::<u8>().add(head);
        core::ptr::copy_nonoverlapping(from, to.cast::<u8>().add(head), rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown {
        struct_size: u32,
        old: u32,
        new: u32,
    }
    // SAFETY: as the trait asks.
    unsafe impl Sized32 for Grown {}

    #[test]
    fn an_older_struct_reads_as_if_its_missing_fields_were_zero() {
        let older = [8u32, 5, 99];
        // SAFETY: the struct says that it has 8 bytes.
        let value = unsafe { read(older.as_ptr().cast::<Grown>()) }.unwrap();
        assert_eq!((value.old, value.new), (5, 0));
        // SAFETY: a null pointer stands for zeros.
        assert_eq!(unsafe { read::<Grown>(core::ptr::null()) }.unwrap().old, 0);
    }

    #[test]
    fn a_newer_struct_may_not_use_what_is_unknown() {
        let unset = [16u32, 5, 6, 0];
        let set = [16u32, 5, 6, 1];
        // SAFETY: both arrays have the 16 bytes that they say.
        unsafe {
            assert_eq!(read(unset.as_ptr().cast::<Grown>()).unwrap().new, 6);
            assert!(read(set.as_ptr().cast::<Grown>()).is_err());
            assert!(read([0u32; 3].as_ptr().cast::<Grown>()).is_err());
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn an_arrays_structs_are_as_long_as_the_first_one_says() {
        let older = [8u32, 5, 8, 6];
        let newer = [16u32, 1, 2, 0, 16, 3, 4, 0];
        let read = |from: &[u32], count| {
            // SAFETY: the structs of each array are as long as they say.
            unsafe { read_array(from.as_ptr().cast::<Grown>(), count, "null") }
        };
        let values = read(&older, 2).unwrap();
        assert_eq!([values[0].old, values[1].old], [5, 6]);
        let values = read(&newer, 2).unwrap();
        assert_eq!([values[1].old, values[1].new], [3, 4]);
        assert!(read(&[8, 5, 0, 0], 2).is_err());
        assert!(read(&[0, 5, 0, 0], 1).is_err());
        assert!(read(&[6, 5, 0, 0], 1).is_err());
        assert!(read(&[], 0).unwrap().is_empty());
    }

    #[test]
    fn writing_stops_at_the_end_of_the_callers_struct() {
        let value = Grown {
            struct_size: 0,
            old: 1,
            new: 2,
        };
        let mut older = [8u32, 0, 99];
        // SAFETY: the struct says that it has 8 bytes.
        unsafe { write(&value, older.as_mut_ptr().cast()) };
        assert_eq!(older, [8, 1, 99]);
    }
}
