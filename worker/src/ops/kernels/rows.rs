//! Sums over rows of a matrix.

use rayon::prelude::*;

use super::{dispatch, sum_of_pairs};

/// Columns that one task sums: a kilobyte of each row.
const COLUMNS: usize = 256;

/// Σ over rows of a (rows, width) matrix → (width). Rows are added in order.
pub(in crate::ops) fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    add_columns(&mut sums, x);
    sums
}

/// The same, added to what is there.
pub(in crate::ops) fn add_columns(sums: &mut [f32], x: &[f32]) {
    let width = sums.len();
    sums.par_chunks_mut(COLUMNS)
        .enumerate()
        .for_each(|(i, sums)| add_rows(sums, &x[(i * COLUMNS).min(x.len())..], width));
}

dispatch! {
    /// sum += the beginning of each row, for rows that begin `row` apart.
    pub fn add_rows(sum: &mut [f32], rows: &[f32], row: usize) = added;
}

/// Rows that are added at once: the sums are read and written once for all.
const AT_ONCE: usize = 4;

#[inline(always)]
fn added<const FMA: bool>(sum: &mut [f32], rows: &[f32], row: usize) {
    let width = sum.len();
    for group in rows.chunks(row * AT_ONCE) {
        if group.len() >= row * (AT_ONCE - 1) + width {
            let [a, b, c, d] = [0, 1, 2, 3].map(|r| &group[r * row..][..width]);
            let pairs = sum.iter_mut().zip(a).zip(b).zip(c).zip(d);
            for ((((sum, a), b), c), d) in pairs {
                *sum = *sum + a + b + c + d;
            }
        } else {
            for one in group.chunks(row).filter(|one| one.len() >= width) {
                add::<FMA>(sum, &one[..width]);
            }
        }
    }
}

dispatch! {
    /// out = a + b.
    pub fn sum_into(out: &mut [f32], a: &[f32], b: &[f32]) = sum;
}

dispatch! {
    /// sum += x.
    pub fn add_to(sum: &mut [f32], x: &[f32]) = add;
}

dispatch! {
    /// x = x·y, element by element.
    pub fn times(x: &mut [f32], y: &[f32]) = multiplied;
}

dispatch! {
    /// outᵢ = x · row i, for rows that begin `stride` apart.
    pub fn dots(out: &mut [f32], x: &[f32], rows: &[f32], stride: usize) = dot_rows;
}

dispatch! {
    /// row i = aᵢ·x, for rows that begin `stride` apart.
    pub fn outer(rows: &mut [f32], stride: usize, a: &[f32], x: &[f32]) = outer_rows;
}

dispatch! {
    /// The transpose of `count` rows of `width`, which begin `row` apart, into rows
    /// that begin `stride` apart.
    pub fn transpose(
        out: &mut [f32],
        stride: usize,
        rows: &[f32],
        row: usize,
        count: usize,
        width: usize,
    ) = transposed;
}

/// Side of the squares that are turned in registers.
const SIDE: usize = 8;

#[inline(always)]
fn transposed<const FMA: bool>(
    out: &mut [f32],
    stride: usize,
    rows: &[f32],
    row: usize,
    count: usize,
    width: usize,
) {
    let (squares, whole) = (count / SIDE * SIDE, width / SIDE * SIDE);
    for i in (0..squares).step_by(SIDE) {
        for e in (0..whole).step_by(SIDE) {
            let mut square = [[0.0f32; SIDE]; SIDE];
            for (r, line) in square.iter_mut().enumerate() {
                line.copy_from_slice(&rows[(i + r) * row + e..][..SIDE]);
            }
            for k in 0..SIDE {
                let column: [f32; SIDE] = std::array::from_fn(|r| square[r][k]);
                out[(e + k) * stride + i..][..SIDE].copy_from_slice(&column);
            }
        }
    }
    for i in 0..count {
        let from = if i < squares { whole } else { 0 };
        for e in from..width {
            out[e * stride + i] = rows[i * row + e];
        }
    }
}

#[inline(always)]
fn dot_rows<const FMA: bool>(out: &mut [f32], x: &[f32], rows: &[f32], stride: usize) {
    for (out, row) in out.iter_mut().zip(rows.chunks(stride)) {
        *out = sum_of_pairs(x, &row[..x.len()], |a, b| a * b);
    }
}

#[inline(always)]
fn outer_rows<const FMA: bool>(rows: &mut [f32], stride: usize, a: &[f32], x: &[f32]) {
    for (row, &a) in rows.chunks_mut(stride).zip(a) {
        for (out, &x) in row.iter_mut().zip(x) {
            *out = a * x;
        }
    }
}

#[inline(always)]
fn sum<const FMA: bool>(out: &mut [f32], a: &[f32], b: &[f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a + b;
    }
}

#[inline(always)]
fn multiplied<const FMA: bool>(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x *= y;
    }
}

#[inline(always)]
pub(super) fn add<const FMA: bool>(sum: &mut [f32], x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += x;
    }
}
