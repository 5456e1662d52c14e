//! Where every random stream comes from.
//!
//! A stream is named by (run seed, purpose, name) and by nothing else: not by
//! the job key, the host, the attempt or the time. So the twins of a seed share
//! their data order, a tensor that is re-initialised equals the scratch
//! network's of the same seed, and a resumed run draws what an uninterrupted one
//! draws.

/// What a random stream is for. Streams of different purpose are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Initial weights; the name is the tensor's.
    Init,
    /// Permutation of pretrained weights within a tensor; the name is the tensor's.
    Shuffle,
    /// Training trials; the name is "batch" or "epoch" with its index.
    Data,
    /// The fixed split of the task, from `split_seed`; the name is the split's.
    Split,
    /// Random labels (the `random_labels` control).
    Labels,
    /// Dropout masks; the name is "place/step".
    Dropout,
    /// Windows of the pretraining corpus; the name is the step.
    Corpus,
    /// Bootstrap and sign-flip resamples of the statistics.
    Resample,
    /// What a question about a network draws: trials, folds, control labels,
    /// resamples; the name is "question/what".
    Inspect,
    /// Text drawn from a language model for people to look at.
    Sample,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Shuffle => "shuffle",
            Self::Data => "data",
            Self::Split => "split",
            Self::Labels => "labels",
            Self::Dropout => "dropout",
            Self::Corpus => "corpus",
            Self::Resample => "resample",
            Self::Inspect => "inspect",
            Self::Sample => "sample",
        }
    }
}

/// The 32-byte seed of a stream, ready for `ChaCha8Rng::from_seed`.
///
/// ```
/// use seedbed_proto::seed::{Purpose, derive_seed};
///
/// let wte = derive_seed(7, Purpose::Init, "wte.weight");
/// assert_eq!(wte, derive_seed(7, Purpose::Init, "wte.weight"));
/// assert_ne!(wte, derive_seed(8, Purpose::Init, "wte.weight"));
/// assert_ne!(wte, derive_seed(7, Purpose::Data, "wte.weight"));
/// ```
pub fn derive_seed(run_seed: u64, purpose: Purpose, name: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("seedbed v1 random stream");
    hasher.update(&run_seed.to_le_bytes());
    // The label's length keeps ("ab", "c") and ("a", "bc") apart.
    hasher.update(&[purpose.label().len() as u8]);
    hasher.update(purpose.label().as_bytes());
    hasher.update(name.as_bytes());
    *hasher.finalize().as_bytes()
}
