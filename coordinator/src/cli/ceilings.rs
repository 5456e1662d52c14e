//! Noise ceilings, from the dissimilarities that inspect jobs have stored.

use anyhow::Context;
use safetensors::{Dtype, SafeTensors};
use seedbed_proto::BlobDigest;

use super::arrays;
use crate::aggregate::ceilings::{RDM, Rdms, asked};
use crate::aggregate::{Analysis, NoiseCeiling};
use crate::results::SweepResults;

/// Reads what the noise ceilings of a sweep take, a cell and a file at a time, and
/// computes them. `fetch` gets a file's bytes, or nothing if it is not stored any more.
///
/// # Errors
/// If a file can't be had.
pub async fn read(
    a: &Analysis,
    results: &SweepResults,
    fetch: impl AsyncFn(BlobDigest) -> anyhow::Result<Option<Vec<u8>>>,
) -> anyhow::Result<Vec<NoiseCeiling>> {
    let mut all = vec![];
    for asked in asked(a, results) {
        let mut read = vec![];
        for (seed, file) in &asked.files {
            let bytes = arrays::whole(file.digest, &fetch)
                .await
                .with_context(|| format!("cannot read the maps of seed {seed}"))?;
            let found = match bytes {
                Some(bytes) => dissimilarities(&bytes),
                None => Err("arrays no longer stored".to_owned()),
            };
            read.push((*seed, found));
        }
        all.push(asked.answer(read));
    }
    Ok(all)
}

/// The dissimilarities among the maps of an inspect job, or why there are none.
fn dissimilarities(bytes: &[u8]) -> Result<Rdms, String> {
    let lacking = |_| format!("no {RDM} in its arrays");
    let maps = SafeTensors::deserialize(bytes).map_err(lacking)?;
    let map = maps.tensor(RDM).map_err(lacking)?;
    let (Dtype::F32, Ok(shape)) = (map.dtype(), map.shape().try_into()) else {
        return Err(format!("{RDM} of another kind"));
    };
    let (numbers, _) = map.data().as_chunks::<4>();
    let data = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Ok(Rdms { shape, data })
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn maps_are_read_as_they_were_written() {
        let numbers = [0.0, 1.5, f32::NAN, 2.0, 0.25, 1e-9_f32];
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let file = |name: &str, dtype: Dtype, shape: &[usize]| {
            let view = TensorView::new(dtype, shape.to_vec(), &bytes).expect("as many numbers");
            safetensors::serialize([(name, view)], None).expect("it can be written")
        };
        let found = dissimilarities(&file(RDM, Dtype::F32, &[1, 2, 3])).expect("it is there");
        assert_eq!(found.shape, [1, 2, 3]);
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found.data), bits(&numbers));

        let check = |bytes: &[u8], expect: &str| {
            assert_eq!(dissimilarities(bytes), Err(expect.to_owned()));
        };
        let none = "no rsa.rdm in its arrays";
        check(&file("tdr.trajectories", Dtype::F32, &[6]), none);
        check(b"something else", none);
        let other = "rsa.rdm of another kind";
        check(&file(RDM, Dtype::F32, &[6]), other);
        check(&file(RDM, Dtype::I32, &[1, 2, 3]), other);
    }
}
