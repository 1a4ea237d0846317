//! Batches as arrays without a copy: the unsafe part of the loader's binding.
#![allow(unsafe_code)]

use lslm_dataset::{Batch, Buffer};
use numpy::ndarray::ArrayView2;
use numpy::{Element, PyArray2};
use pyo3::prelude::*;

/// Keeps a batch's memory as long as an array refers to it.
#[pyclass(frozen, module = "lslm._lslm", name = "BatchMemory")]
struct BatchMemory {
    _batch: Batch,
}

/// Where the numbers of a batch are.
enum Memory {
    Pairs(*mut i64),
    Narrow(*mut u16),
    Wide(*mut u32),
}

/// An array of some type.
pub(crate) type Array<'py> = Bound<'py, PyAny>;

/// The arrays of a batch with `rows` rows of sequences of `length`: inputs and targets, or rows.
///
/// They can be written to, as torch wants it; the batch goes back when none of them is left.
pub(crate) fn arrays(
    py: Python<'_>,
    mut batch: Batch,
    rows: usize,
    length: usize,
) -> PyResult<(Array<'_>, Option<Array<'_>>)> {
    // the pointers are taken here, where the batch may be changed, and stay valid when it moves
    let (numbers, memory) = match batch.buffer_mut() {
        Buffer::Pairs(numbers) => (numbers.len(), Memory::Pairs(numbers.as_mut_ptr())),
        Buffer::Narrow(tokens) => (tokens.len(), Memory::Narrow(tokens.as_mut_ptr())),
        Buffer::Wide(tokens) => (tokens.len(), Memory::Wide(tokens.as_mut_ptr())),
    };
    let expected = match memory {
        Memory::Pairs(_) => 2 * rows * length,
        Memory::Narrow(_) | Memory::Wide(_) => rows * (length + 1),
    };
    assert_eq!(numbers, expected, "a batch has the shape of its loader");
    let owner = Bound::new(py, BatchMemory { _batch: batch })?.into_any();
    // SAFETY: the buffer has as many numbers as the arrays together, which was just checked.
    // `owner` keeps it where it is and touches it only to give it back when no array refers to it
    // any more; inputs and targets do not overlap.
    let arrays = unsafe {
        match memory {
            Memory::Pairs(first) => {
                let targets = array(first.add(rows * length), (rows, length), owner.clone());
                (array(first, (rows, length), owner), Some(targets))
            }
            Memory::Narrow(first) => (array(first, (rows, length + 1), owner), None),
            Memory::Wide(first) => (array(first, (rows, length + 1), owner), None),
        }
    };
    Ok(arrays)
}

/// An array of `shape` over the memory at `first`, which `owner` keeps.
///
/// # Safety
/// `first` must point to that many elements, which stay where they are as long as `owner` lives and
/// are touched by nobody else.
unsafe fn array<T: Element>(
    first: *mut T,
    shape: (usize, usize),
    owner: Bound<'_, PyAny>,
) -> Array<'_> {
    // SAFETY: as the caller promises.
    unsafe {
        let view = ArrayView2::from_shape_ptr(shape, first.cast_const());
        PyArray2::borrow_from_array(&view, owner).into_any()
    }
}
