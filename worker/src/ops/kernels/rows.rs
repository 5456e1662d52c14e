//! Sums over rows of a matrix.

use rayon::prelude::*;

use super::{dispatch, sum_of_pairs};

/// Columns that one task sums: a kilobyte of each row.
const COLUMNS: usize = 256;

/// Σ over rows of a (rows, width) matrix → (width). Rows are added in order.
pub(in crate::ops) fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    sums.par_chunks_mut(COLUMNS)
        .enumerate()
        .for_each(|(i, sums)| {
            for row in x.chunks_exact(width) {
                add_to(sums, &row[i * COLUMNS..][..sums.len()]);
            }
        });
    sums
}

dispatch! {
    /// sum += x.
    pub fn add_to(sum: &mut [f32], x: &[f32]) = add;
}

dispatch! {
    /// outᵢ = x · row i, for rows that begin `stride` apart.
    pub fn dots(out: &mut [f32], x: &[f32], rows: &[f32], stride: usize) = dot_rows;
}

dispatch! {
    /// row i = aᵢ·x, for rows that begin `stride` apart.
    pub fn outer(rows: &mut [f32], stride: usize, a: &[f32], x: &[f32]) = outer_rows;
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
fn add<const FMA: bool>(sum: &mut [f32], x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += x;
    }
}
