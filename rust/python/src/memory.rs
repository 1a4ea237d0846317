//! Batches as numpy arrays without a copy: the unsafe part of the loader's binding.
#![allow(unsafe_code)]

use lslm_dataset::{Batch, Buffer};
use numpy::ndarray::ArrayView2;
use numpy::{Element, PyArray2};
use pyo3::prelude::*;

/// Owns the memory of a batch for as long as an array refers to it.
#[pyclass(frozen, module = "lslm._lslm", name = "BatchMemory")]
struct BatchMemory {
    _batch: Batch,
}

/// The first number of a batch, by the type of its numbers.
enum Memory {
    Pairs(*mut i64),
    Narrow(*mut u16),
    Wide(*mut u32),
}

/// A numpy array of any type.
pub(crate) type Array<'py> = Bound<'py, PyAny>;

/// Returns the arrays of a batch of `rows` sequences of `length`: inputs and targets, or rows.
///
/// They are writable, as torch requires; the loader reuses the memory once none of them is left.
pub(crate) fn arrays(
    py: Python<'_>,
    mut batch: Batch,
    rows: usize,
    length: usize,
) -> PyResult<(Array<'_>, Option<Array<'_>>)> {
    // the pointers are taken while the batch is borrowed, and stay valid when it moves: the buffer
    // is on the heap
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
    // `owner` keeps it in place, and returns it to the loader only when no array refers to it any
    // more; inputs and targets do not overlap.
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

/// Returns an array of `shape` over the memory at `first`, which `owner` keeps alive.
///
/// # Safety
/// `first` must point to that many elements, which stay in place as long as `owner` lives and are
/// accessed only through this array.
unsafe fn array<T: Element>(
    first: *mut T,
    shape: (usize, usize),
    owner: Bound<'_, PyAny>,
) -> Array<'_> {
    // SAFETY: the caller guarantees it.
    unsafe {
        let view = ArrayView2::from_shape_ptr(shape, first.cast_const());
        PyArray2::borrow_from_array(&view, owner).into_any()
    }
}
