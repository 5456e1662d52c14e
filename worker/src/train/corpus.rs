//! Text as tokens, and windows of it.

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use seedbed_proto::seed::{Purpose, derive_seed};
use tokenizers::Tokenizer;

use crate::job::JobError;
use crate::train::bpe::{END_OF_TEXT, lines};

/// The last tokens of a corpus are never trained on: one in this many.
const HELD_OUT: usize = 100;

/// Most windows of the held-out part that one evaluation reads.
const VAL_WINDOWS_MAX: usize = 256;

/// A corpus as one row of tokens: training text, then held-out text.
pub struct Corpus {
    tokens: Vec<u32>,
    train: usize,
    context: usize,
}

impl Corpus {
    /// Encodes the texts, each ended by the end-of-text token.
    ///
    /// # Errors
    /// If the text is too short to hold a window on both sides of the cut.
    pub fn encode(
        tokenizer: &Tokenizer,
        texts: &[String],
        context: usize,
    ) -> Result<Self, JobError> {
        let failed =
            |e: tokenizers::Error| JobError::invalid(format!("the corpus can't be encoded: {e}"));
        let Some(end) = tokenizer.token_to_id(END_OF_TEXT) else {
            return Err(JobError::invalid(format!(
                "the tokenizer has no {END_OF_TEXT}"
            )));
        };
        let mut tokens = vec![];
        for document in texts.iter().flat_map(|text| text.split(END_OF_TEXT)) {
            let lines: Vec<&str> = lines(document).collect();
            let encode = |line: &&str| Ok(tokenizer.encode_fast(*line, false)?.get_ids().to_vec());
            let encoded: Vec<Vec<u32>> = (lines.par_iter().map(encode))
                .collect::<tokenizers::Result<_>>()
                .map_err(failed)?;
            if encoded.iter().any(|line| !line.is_empty()) {
                tokens.extend(encoded.into_iter().flatten());
                tokens.push(end);
            }
        }
        Self::new(tokens, context)
    }

    fn new(tokens: Vec<u32>, context: usize) -> Result<Self, JobError> {
        let held_out = (tokens.len() / HELD_OUT).max(context + 1);
        // Room for two windows, so that "drawn at random" means something.
        if tokens.len() < held_out + context + 2 {
            return Err(JobError::invalid(format!(
                "the corpus has {} tokens; windows of {context} need at least {}: \
                 give more text, or a shorter context",
                tokens.len(),
                held_out + context + 2
            )));
        }
        Ok(Self {
            train: tokens.len() - held_out,
            tokens,
            context,
        })
    }

    /// Tokens in all.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none: never, for `new` refuses it.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The windows of an update: `batch` times `context + 1` tokens, one after the
    /// other, at places drawn by (seed, step) alone.
    pub fn batch(&self, seed: u64, step: u64, batch: usize) -> Vec<u32> {
        let stream = derive_seed(seed, Purpose::Corpus, &step.to_string());
        let mut rng = ChaCha8Rng::from_seed(stream);
        let last = (self.train - self.context - 1) as u64;
        let place = |_| rng.random_range(0..=last) as usize;
        let places: Vec<usize> = (0..batch).map(place).collect();
        places
            .into_iter()
            .flat_map(|at| self.window(at))
            .copied()
            .collect()
    }

    /// Where the held-out windows begin: apart, and evenly spread if they are more
    /// than an evaluation reads.
    pub fn val_places(&self) -> Vec<usize> {
        let all = (self.tokens.len() - self.train - 1) / self.context;
        let read = all.min(VAL_WINDOWS_MAX);
        let place = |i| self.train + (i * all / read) * self.context;
        (0..read).map(place).collect()
    }

    /// The `context + 1` tokens from a place on.
    pub fn window(&self, at: usize) -> &[u32] {
        &self.tokens[at..=at + self.context]
    }
}

/// Some of the windows that lie one after the other, as (ids, targets): each
/// target is the token after its id.
pub fn split(windows: &[u32], context: usize, rows: Range<usize>) -> (Vec<u32>, Vec<u32>) {
    let windows = windows.chunks_exact(context + 1);
    let chosen = windows.skip(rows.start).take(rows.len());
    let mut pair = (vec![], vec![]);
    for window in chosen {
        pair.0.extend_from_slice(&window[..context]);
        pair.1.extend_from_slice(&window[1..]);
    }
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(tokens: u32, context: usize) -> Corpus {
        Corpus::new((0..tokens).collect(), context).expect("long enough")
    }

    #[test]
    fn windows_are_functions_of_seed_and_step() {
        let corpus = corpus(5000, 8);
        assert_eq!(corpus.batch(1, 3, 4), corpus.batch(1, 3, 4));
        assert_ne!(corpus.batch(1, 3, 4), corpus.batch(1, 4, 4));
        assert_ne!(corpus.batch(1, 3, 4), corpus.batch(2, 3, 4));
        // A larger batch begins with the smaller one.
        assert_eq!(corpus.batch(1, 3, 9)[..36], corpus.batch(1, 3, 4));
    }

    #[test]
    fn held_out_text_is_never_trained_on() {
        let corpus = corpus(5000, 8);
        let highest = (0..200).flat_map(|step| corpus.batch(7, step, 16)).max();
        let lowest = corpus.val_places()[0];
        // Tokens are their own places here.
        assert!(
            (highest.expect("some") as usize) < lowest,
            "{highest:?} {lowest}"
        );
        assert_eq!(lowest, 4950);
        let ends: Vec<usize> = corpus.val_places().iter().map(|&at| at + 8).collect();
        assert!(ends.iter().all(|&end| end < 5000), "{ends:?}");
        assert_eq!(ends.len(), 6);
    }

    #[test]
    fn an_evaluation_is_bounded_and_spread() {
        let corpus = corpus(400_000, 4);
        let places = corpus.val_places();
        assert_eq!(places.len(), VAL_WINDOWS_MAX);
        assert!(places.windows(2).all(|w| w[1] >= w[0] + 4), "apart");
        assert!(*places.last().expect("some") > 399_900);
    }

    #[test]
    fn targets_follow_ids() {
        let corpus = corpus(300, 3);
        let windows = corpus.batch(1, 0, 4);
        let (ids, targets) = split(&windows, 3, 1..3);
        assert_eq!(ids.len(), 6);
        assert!(
            ids.iter()
                .zip(&targets)
                .all(|(id, target)| id + 1 == *target)
        );
        assert_eq!(ids[..3], windows[4..7]);
    }

    #[test]
    fn a_short_text_is_refused() {
        let error = Corpus::new(vec![1; 20], 16).err().expect("too short");
        assert!(error.message.contains("at least 35"), "{error}");
    }
}
