//! Products of the small matrices of attention, one head at a time, where
//! packing them for a general routine would cost more than the product.

use super::{dispatch, fma};

/// The left factor: element (i, p) is at `i·row + p·step`.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Left<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub step: usize,
}

/// The right factor: row p begins at `p·row`.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Right<'a> {
    pub data: &'a [f32],
    pub row: usize,
}

dispatch! {
    /// out = a·b for `rows` × `columns`, the sum over `inner`; rows of `out` begin
    /// `stride` apart.
    pub fn small_product(
        out: &mut [f32],
        stride: usize,
        rows: usize,
        columns: usize,
        inner: usize,
        a: Left<'_>,
        b: Right<'_>,
    ) = product;
}

#[inline(always)]
fn product<const FMA: bool>(
    out: &mut [f32],
    stride: usize,
    rows: usize,
    columns: usize,
    inner: usize,
    a: Left<'_>,
    b: Right<'_>,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(
        out.len() >= (rows - 1) * stride + columns,
        "result within its slice"
    );
    if inner > 0 {
        let last = (rows - 1) * a.row + (inner - 1) * a.step;
        assert!(a.data.len() > last, "left factor within its slice");
        let end = (inner - 1) * b.row + columns;
        assert!(b.data.len() >= end, "right factor within its slice");
    }
    let mut i = 0;
    while i + 4 <= rows {
        band::<FMA, 4>(out, stride, i, columns, inner, a, b);
        i += 4;
    }
    while i < rows {
        band::<FMA, 1>(out, stride, i, columns, inner, a, b);
        i += 1;
    }
}

/// R rows from row i on.
#[inline(always)]
fn band<const FMA: bool, const R: usize>(
    out: &mut [f32],
    stride: usize,
    i: usize,
    columns: usize,
    inner: usize,
    a: Left<'_>,
    b: Right<'_>,
) {
    let mut j = 0;
    while j + 16 <= columns {
        tile::<FMA, R, 16>(out, stride, i, j, inner, a, b);
        j += 16;
    }
    while j + 8 <= columns {
        tile::<FMA, R, 8>(out, stride, i, j, inner, a, b);
        j += 8;
    }
    while j < columns {
        tile::<FMA, R, 1>(out, stride, i, j, inner, a, b);
        j += 1;
    }
}

/// R × N elements in registers. Each is summed in the order of `inner`, so neither
/// R nor N shows in the result.
#[inline(always)]
fn tile<const FMA: bool, const R: usize, const N: usize>(
    out: &mut [f32],
    stride: usize,
    i: usize,
    j: usize,
    inner: usize,
    a: Left<'_>,
    b: Right<'_>,
) {
    let mut sums = [[0.0f32; N]; R];
    for p in 0..inner {
        // SAFETY: p < inner, and `product` checked the largest index of both
        // factors: (rows - 1)·row + (inner - 1)·step and (inner - 1)·row + columns.
        let (row, left): (&[f32; N], [f32; R]) = unsafe {
            let row = b.data.as_ptr().add(p * b.row + j).cast::<[f32; N]>();
            let left = a.data.as_ptr().add(i * a.row + p * a.step);
            (&*row, std::array::from_fn(|r| *left.add(r * a.row)))
        };
        for (sums, left) in sums.iter_mut().zip(left) {
            for (sum, &right) in sums.iter_mut().zip(row) {
                *sum = fma::<FMA>(left, right, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        out[(i + r) * stride + j..][..N].copy_from_slice(sums);
    }
}
