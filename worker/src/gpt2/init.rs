//! How the weights of a run start.
//!
//! Every tensor has its own random stream, named by the run's seed and the
//! tensor's name. So a tensor that an arm draws afresh equals the scratch arm's
//! tensor of the same seed, whatever else is drawn.

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use seedbed_proto::job::{Edge, Init};
use seedbed_proto::seed::{Purpose, derive_seed};

use super::{Config, LM_HEAD, ModelError, WPE, WTE, Weights, block_of};

/// The initial weights of a run. `base` is not read for [`Init::Scratch`].
/// With `untie` there is an unembedding of its own, which starts as a copy of `wte`.
///
/// # Errors
/// If `init` needs a base and there is none, or a tensor of it is missing, or it
/// names blocks that don't exist.
pub fn weights(
    config: &Config,
    init: Init,
    base: Option<&Weights>,
    seed: u64,
    untie: bool,
) -> Result<Weights, ModelError> {
    let blocks = config.layers;
    if let Init::Reinit(Edge::First(k) | Edge::Last(k)) = init
        && k as usize > blocks
    {
        return Err(ModelError::Request(format!(
            "init {init}: {k} blocks are asked for, the model has {blocks}"
        )));
    }
    let make = |name: &str, shape: &[usize]| -> Result<Tensor, ModelError> {
        match source(config, init, name) {
            Source::Fresh => fresh(config, name, shape, seed),
            Source::Base => Ok(of_base(base, init, name)?.clone()),
            Source::Shuffled => shuffled(of_base(base, init, name)?, name, seed),
        }
    };
    let mut weights: Weights = config
        .tensors()
        .into_par_iter()
        .map(|(name, shape)| Ok((name.clone(), make(&name, &shape)?)))
        .collect::<Result<_, ModelError>>()?;
    if untie && config.tied {
        // A true copy: two tensors that shared memory would train as one.
        let copy = weights[WTE].copy()?;
        weights.insert(LM_HEAD.to_owned(), copy);
    }
    Ok(weights)
}

/// How many numbers of a start are its own, not the base's tensors.
pub fn own_numbers(config: &Config, init: Init, untie: bool) -> usize {
    let size = |shape: &[usize]| shape.iter().product::<usize>();
    let own = |(name, shape): (String, Vec<usize>)| match source(config, init, &name) {
        Source::Fresh | Source::Shuffled => size(&shape),
        Source::Base => 0,
    };
    let head = match untie && config.tied {
        true => config.vocab * config.width,
        false => 0,
    };
    config.tensors().into_iter().map(own).sum::<usize>() + head
}

/// Where one tensor comes from.
enum Source {
    Fresh,
    Base,
    Shuffled,
}

fn source(config: &Config, init: Init, name: &str) -> Source {
    let block = block_of(name);
    let embedding = [WTE, WPE, LM_HEAD].contains(&name);
    let fresh = match init {
        Init::Scratch => true,
        Init::Pretrained => false,
        Init::Shuffled => return Source::Shuffled,
        Init::EmbeddingsOnly => !embedding,
        Init::BlocksOnly => embedding,
        Init::Reinit(Edge::First(k)) => block.is_some_and(|l| l < k as usize),
        Init::Reinit(Edge::Last(k)) => block.is_some_and(|l| l + k as usize >= config.layers),
    };
    if fresh { Source::Fresh } else { Source::Base }
}

fn of_base<'a>(
    base: Option<&'a Weights>,
    init: Init,
    name: &str,
) -> Result<&'a Tensor, ModelError> {
    base.and_then(|weights| weights.get(name)).ok_or_else(|| {
        ModelError::Request(format!(
            "init {init} takes tensor {name:?} from the base model, which doesn't have it"
        ))
    })
}

/// GPT-2's initialisation: N(0, .02); residual projections narrower by
/// √(2·layers), as each block adds two of them to the stream; biases 0,
/// LayerNorm 1 and 0.
fn fresh(config: &Config, name: &str, shape: &[usize], seed: u64) -> Result<Tensor, ModelError> {
    let count = shape.iter().product();
    let values = if name.ends_with(".bias") {
        vec![0.0; count]
    } else if shape.len() == 1 {
        vec![1.0; count]
    } else {
        let std = if name.ends_with(".c_proj.weight") {
            config.init_std / (2.0 * config.layers as f64).sqrt()
        } else {
            config.init_std
        };
        let mut normal = Normal::new(derive_seed(seed, Purpose::Init, name));
        (0..count).map(|_| (std * normal.draw()) as f32).collect()
    };
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// The tensor's values in another order (Fisher–Yates).
fn shuffled(tensor: &Tensor, name: &str, seed: u64) -> Result<Tensor, ModelError> {
    let mut rng = ChaCha8Rng::from_seed(derive_seed(seed, Purpose::Shuffle, name));
    let mut values = tensor.flatten_all()?.to_vec1::<f32>()?;
    for i in (1..values.len()).rev() {
        values.swap(i, below(&mut rng, i as u64 + 1) as usize);
    }
    Ok(Tensor::from_vec(values, tensor.dims(), &Device::Cpu)?)
}

/// Uniform in `0..n`, without bias (Lemire 2019). Written out, because a
/// library's way of drawing may change with its version, and no seed may.
fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    loop {
        let wide = u128::from(rng.next_u64()) * u128::from(n);
        if wide as u64 >= n.wrapping_neg() % n {
            return (wide >> 64) as u64;
        }
    }
}

/// Standard normal draws by Marsaglia's polar method. It needs a square root,
/// which IEEE 754 fixes, and a logarithm, which is [`ln`]: so the draws are the
/// same on every machine and with every C library.
struct Normal {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normal {
    fn new(seed: [u8; 32]) -> Self {
        Self {
            rng: ChaCha8Rng::from_seed(seed),
            spare: None,
        }
    }

    fn draw(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.in_square(), self.in_square());
            let s = x * x + y * y;
            if s > 0.0 && s < 1.0 {
                let scale = (-2.0 * ln(s) / s).sqrt();
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// Uniform in [-1, 1), of 53 bits.
    fn in_square(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0
    }
}

/// Natural logarithm of a positive normal number by additions, products and one
/// division, to about 1e-15: x = m·2^e with m around 1, ln m = 2·artanh((m-1)/(m+1)).
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let r = (m - 1.0) / (m + 1.0);
    let square = r * r;
    // |r| ≤ .172, so the first term left out is below 1e-17.
    let mut series = 0.0;
    for n in (0..10).rev() {
        series = series * square + 1.0 / f64::from(2 * n + 1);
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * r * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for x in [
            1e-300, 1e-17, 0.03, 0.5, 0.707, 0.708, 0.999_999, 1.0, 1.41, 1.42, 7e9,
        ] {
            let error = (ln(x) - x.ln()).abs();
            assert!(error <= 1e-14 * x.ln().abs().max(1e-2), "ln {x}: {error}");
        }
    }

    #[test]
    fn draws_are_normal_and_stay_what_they_are() {
        let mut normal = Normal::new(derive_seed(1, Purpose::Init, "wte.weight"));
        let draws: Vec<f64> = (0..100_000).map(|_| normal.draw()).collect();
        let moment = |k: i32| draws.iter().map(|x| x.powi(k)).sum::<f64>() / draws.len() as f64;
        for (k, expect, within) in [
            (1, 0.0, 0.01),
            (2, 1.0, 0.015),
            (3, 0.0, 0.04),
            (4, 3.0, 0.1),
        ] {
            assert!(
                (moment(k) - expect).abs() < within,
                "moment {k}: {}",
                moment(k)
            );
        }
        let beyond = draws.iter().filter(|x| x.abs() > 1.96).count();
        assert!(
            (4_700..5_300).contains(&beyond),
            "{beyond} of 5000 beyond 1.96"
        );
    }

    #[test]
    fn below_is_uniform() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[below(&mut rng, 7) as usize] += 1;
        }
        assert!(
            counts.iter().all(|&n| n.abs_diff(10_000) < 400),
            "{counts:?}"
        );
    }
}
