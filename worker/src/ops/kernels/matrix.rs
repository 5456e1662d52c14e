//! Matrix products over the `gemm` crate, with bounds checked once.

use std::cell::Cell;

use gemm::Parallelism;

thread_local! {
    /// Whether products on this thread are its own work alone.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

#[cfg(test)]
thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Products that this thread has begun.
#[cfg(test)]
pub(crate) fn products_of_this_thread() -> usize {
    COUNT.get()
}

/// Runs `f` with products that are not shared out to other threads: they have
/// pieces of work of the same kind.
pub(in crate::ops) fn alone<R>(f: impl FnOnce() -> R) -> R {
    /// Also when `f` panics, and the panic is caught further up.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _before = Before(ALONE.replace(true));
    f()
}

/// A matrix in a slice: element (i, j) is at `i·row + j·column`.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    /// Dense, row by row.
    pub fn new(data: &'a [f32], columns: usize) -> Self {
        Self::strided(data, data.len() / columns, columns, columns)
    }

    /// Rows that begin `stride` apart.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            data.len() >= extent(rows, columns, stride),
            "matrix within its slice"
        );
        Self {
            data,
            rows,
            columns,
            row: stride,
            column: 1,
        }
    }

    /// Transposed, without a copy.
    pub fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row: self.column,
            column: self.row,
            ..self
        }
    }
}

/// A matrix to write into.
pub(in crate::ops) struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row: usize,
}

impl<'a> MatrixMut<'a> {
    /// Dense, row by row.
    pub fn new(data: &'a mut [f32], columns: usize) -> Self {
        let rows = data.len() / columns;
        Self::strided(data, rows, columns, columns)
    }

    /// Rows that begin `stride` apart.
    pub fn strided(data: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride, "rows apart from each other");
        assert!(
            data.len() >= extent(rows, columns, stride),
            "matrix within its slice"
        );
        Self {
            data,
            rows,
            columns,
            row: stride,
        }
    }
}

/// Elements from the first to the last of a matrix.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1) * stride + columns
    }
}

/// out = a·b, or out += a·b. Its bits don't depend on the number of threads: they
/// share out rows and columns, never the sum.
pub(in crate::ops) fn product(out: MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    assert_eq!(
        (out.rows, out.columns, a.columns),
        (a.rows, b.columns, b.rows),
        "shapes fit"
    );
    // SAFETY: `out` holds rows of so many columns, apart from each other, as its
    // constructor proved; it is borrowed mutably, so it overlaps neither factor.
    unsafe { multiply(out.data.as_mut_ptr(), out.row, a, b, add) }
}

/// a·b in new memory, dense, row by row.
pub(in crate::ops) fn new_product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "shapes fit");
    let len = a.rows * b.columns;
    if a.columns == 0 {
        return vec![0.0; len];
    }
    let mut out = Vec::with_capacity(len);
    // SAFETY: there is room for all rows; without `add` every element is written and
    // none is read, so that they are values when the length is set.
    unsafe {
        multiply(out.as_mut_ptr(), b.columns, a, b, false);
        out.set_len(len);
    }
    out
}

/// Writes (or adds) a·b to rows that begin `row` elements apart.
///
/// # Safety
/// They must be there, overlap neither each other nor a factor, and hold values if
/// `add`; b must have as many rows as a has columns.
unsafe fn multiply(out: *mut f32, row: usize, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    #[cfg(test)]
    COUNT.set(COUNT.get() + 1);
    let parallelism = match rayon::current_num_threads() {
        threads if threads > 1 && !ALONE.get() => Parallelism::Rayon(threads),
        _ => Parallelism::None,
    };
    // SAFETY: of `out` as the caller promises; the constructors proved that every
    // element of a and b is within its slice.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            row as isize,
            add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}
