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
    let out = &mut out[i * stride..];
    let a = Left {
        data: &a.data[(i * a.row).min(a.data.len())..],
        ..a
    };
    let mut j = 0;
    while j + 16 <= columns {
        tile::<FMA, R, 2>(&mut out[j..], stride, inner, a, b, j);
        j += 16;
    }
    if j + 8 <= columns {
        tile::<FMA, R, 1>(&mut out[j..], stride, inner, a, b, j);
        j += 8;
    }
    for j in j..columns {
        for r in 0..R {
            let terms = (0..inner).map(|p| (a.data[r * a.row + p * a.step], b.data[p * b.row + j]));
            out[r * stride + j] = terms.fold(0.0, |sum, (a, b)| fma::<FMA>(a, b, sum));
        }
    }
}

/// R rows × V vectors of 8 columns from column j on, in registers. Each element is
/// summed in the order of `inner`, so neither R nor V shows in the result.
///
/// The indices that it reads are those that `product` has checked.
#[inline(always)]
fn tile<const FMA: bool, const R: usize, const V: usize>(
    out: &mut [f32],
    stride: usize,
    inner: usize,
    a: Left<'_>,
    b: Right<'_>,
    j: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if FMA {
        // SAFETY: bodies with `FMA` run only where the machine has it (`dispatch`).
        return unsafe { tile_fma::<R, V>(out, stride, inner, a, b, j) };
    }
    let mut sums = [[[0.0f32; 8]; V]; R];
    for p in 0..inner {
        let (right, _) = b.data[p * b.row + j..].as_chunks::<8>();
        for (r, sums) in sums.iter_mut().enumerate() {
            let left = a.data[r * a.row + p * a.step];
            for (sums, right) in sums.iter_mut().zip(right) {
                for (sum, &right) in sums.iter_mut().zip(right) {
                    *sum = fma::<FMA>(left, right, *sum);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        out[r * stride..][..V * 8].copy_from_slice(sums.as_flattened());
    }
}

/// [`tile`] in vector instructions: the compiler doesn't find them by itself, and
/// this is a fifth of a step.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
#[allow(
    clippy::needless_range_loop,
    reason = "counted loops unroll, see inside"
)]
fn tile_fma<const R: usize, const V: usize>(
    out: &mut [f32],
    stride: usize,
    inner: usize,
    a: Left<'_>,
    b: Right<'_>,
    j: usize,
) {
    use std::arch::x86_64::{
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    let (from, left) = (b.data.as_ptr().wrapping_add(j), a.data.as_ptr());
    // Counted loops over constants, and offsets that may wrap: iterators and indices
    // are checked for overflow, and then the sums do not stay in registers.
    let (mut of_right, mut of_left) = (0usize, 0usize);
    for _ in 0..inner {
        // SAFETY: at step p < inner both are within what `product` checked: columns
        // j to j + 8V of row p of `b`, and rows 0 to R of step p of `a`.
        unsafe {
            let mut right = [_mm256_setzero_ps(); V];
            for v in 0..V {
                right[v] = _mm256_loadu_ps(from.wrapping_add(of_right).wrapping_add(8 * v));
            }
            for r in 0..R {
                let at = of_left.wrapping_add(r.wrapping_mul(a.row));
                let left = _mm256_set1_ps(*left.wrapping_add(at));
                for v in 0..V {
                    sums[r][v] = _mm256_fmadd_ps(left, right[v], sums[r][v]);
                }
            }
        }
        of_right = of_right.wrapping_add(b.row);
        of_left = of_left.wrapping_add(a.step);
    }
    for r in 0..R {
        let out = &mut out[r * stride..][..V * 8];
        for v in 0..V {
            // SAFETY: `out` has 8V elements.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr().wrapping_add(8 * v), sums[r][v]) };
        }
    }
}
