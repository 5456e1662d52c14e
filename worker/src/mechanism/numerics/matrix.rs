//! Dense matrices, row by row, and their products over the `gemm` crate.

use gemm::Parallelism;

/// f32 or f64.
pub trait Number: Copy + Default + Send + Sync + 'static {
    /// 1.
    const ONE: Self;
}

impl Number for f32 {
    const ONE: Self = 1.0;
}

impl Number for f64 {
    const ONE: Self = 1.0;
}

/// A matrix that owns its elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix<T = f64> {
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
    /// Row by row.
    pub data: Vec<T>,
}

impl<T: Number> Matrix<T> {
    /// A matrix of these elements.
    ///
    /// # Panics
    /// If there are not `rows`·`columns` of them.
    pub fn new(rows: usize, columns: usize, data: Vec<T>) -> Self {
        assert_eq!(data.len(), rows * columns, "elements of a matrix");
        Self {
            rows,
            columns,
            data,
        }
    }

    /// All elements 0.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self::new(rows, columns, vec![T::default(); rows * columns])
    }

    /// The elements of a row.
    pub fn row(&self, row: usize) -> &[T] {
        &self.data[row * self.columns..][..self.columns]
    }

    /// The elements of a row, to write.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        &mut self.data[row * self.columns..][..self.columns]
    }

    /// All rows in order.
    pub fn iter_rows(&self) -> impl Iterator<Item = &[T]> + Clone {
        (0..self.rows).map(|row| self.row(row))
    }

    /// Without a copy.
    pub fn view(&self) -> View<'_, T> {
        View::new(&self.data, self.rows, self.columns)
    }

    /// Transposed, without a copy.
    pub fn t(&self) -> View<'_, T> {
        self.view().t()
    }
}

impl Matrix<f32> {
    /// The same numbers in f64.
    pub fn wide(&self) -> Matrix<f64> {
        Matrix {
            rows: self.rows,
            columns: self.columns,
            data: self.data.iter().map(|&x| f64::from(x)).collect(),
        }
    }
}

/// A matrix in a slice: element (i, j) is at `i·row + j·column`.
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
}

impl<'a, T: Number> View<'a, T> {
    /// Dense, row by row.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "elements of a matrix");
        Self {
            data,
            rows,
            columns,
            row: columns,
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

/// a·b. Its bits don't depend on the number of threads: they share out rows and
/// columns, never the sum.
///
/// # Panics
/// If the shapes don't fit.
pub fn product<T: Number>(a: View<'_, T>, b: View<'_, T>) -> Matrix<T> {
    let mut out = Matrix::zeros(a.rows, b.columns);
    product_into(&mut out.data, a, b);
    out
}

/// a·b into the first elements of `out`, dense, row by row.
///
/// # Panics
/// If the shapes don't fit.
pub fn product_into<T: Number>(out: &mut [T], a: View<'_, T>, b: View<'_, T>) {
    assert_eq!(a.columns, b.rows, "inner sizes of a product");
    let out = &mut out[..a.rows * b.columns];
    if out.is_empty() {
        return;
    }
    if a.columns == 0 {
        out.fill(T::default());
        return;
    }
    let parallelism = match rayon::current_num_threads() {
        1 => Parallelism::None,
        threads => Parallelism::Rayon(threads),
    };
    // SAFETY: a view's constructor proved that every element of it is within its
    // slice; `out` has room for a.rows rows of b.columns elements and is borrowed
    // mutably, so it overlaps neither factor; without reading it first, every
    // element of it is written.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
            false,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Σ xᵢ·yᵢ, in eight parts that are added in order: vectors without a reordering
/// that depends on the machine.
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((xs, x_tail), (ys, y_tail)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (a, b) in xs.iter().zip(ys) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let tail: f64 = x_tail.iter().zip(y_tail).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + tail
}

/// y += a·x.
pub fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Σ xᵢ².
pub fn sum_of_squares(x: &[f64]) -> f64 {
    dot(x, x)
}
