//! Delayed match to category: a number, filler, then a low and a high one; the
//! answer is the side of the one that lies in the sample's half of the range.
//!
//! On incongruent trials the other number is nearer to the sample: categories and
//! distance disagree. So each pair is used with samples of the one half for
//! incongruent trials and of the other half for congruent ones, as its middle
//! lies below or above the middle of the range.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::error::TaskError;
use super::generator::{Factorial, Pair};
use super::pairs::{Class, Pairs};
use super::registry::{
    Counterfactual, Cues, Definition, Frame, Setup, TaskKind, Trial, truth, vote,
};
use super::space::Space;

/// The task.
pub const DEFINITION: Definition = Definition {
    name: "dmc",
    about: "on which side a number of the sample's half of the range is, after filler",
    templates: &[
        (
            "T0",
            "Sample: {sample}. {delay}. Test: left {left}, right {right}. Answer:",
        ),
        (
            "T1",
            "The sample is {sample}. {delay}. On the left is {left}. On the right is {right}. The \
             side with the same category is the",
        ),
    ],
    slots: &["sample", "left", "right"],
    cue_slots: &[],
    cued_shortcuts: &[],
    answers: ["left", "right"],
    dimensions: &[],
    cues: Cues::None,
    has_delay: true,
    has_bins: false,
    has_neutral: false,
    has_congruency: true,
    shifts: false,
    build,
};

const CATEGORIES: [&str; 2] = ["low", "high"];

const COUNTERFACTUALS: &[Counterfactual] = &[Counterfactual {
    name: "rel",
    flips: true,
    slots: &["left", "right"],
}];

struct Dmc {
    frame: Frame,
    space: Space,
    /// The smallest number of the high half.
    middle: u32,
    /// The numbers of each half that are not held out, ascending.
    samples: [Vec<u32>; 2],
    /// category of the sample × answer × congruency.
    design: Factorial<3>,
}

fn build(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    let range = setup.bins.range();
    let [low, high] = range;
    let middle = low + (high - low).div_ceil(2);
    let held = setup.held.of_range(range);
    let shown = |n: &u32| !held.contains(n);
    let samples: [Vec<u32>; 2] = [
        (low..middle).filter(shown).collect(),
        (middle..=high).filter(shown).collect(),
    ];
    let too_short = || TaskError::ShortRange {
        task: DEFINITION.name,
        low,
        high,
        need: "no sample is nearer to a number of the other half",
    };
    let [Some(&last_low), Some(&first_high)] = [samples[0].last(), samples[1].first()] else {
        return Err(too_short());
    };
    // Pairs of a low and a high number, whose middle lies so far below (or above)
    // that some sample of the same half is nearer to the wrong one.
    let stratum_of = |pair: Pair| {
        let (low, high) = (pair.smaller, pair.smaller + pair.difference);
        if low >= middle || high < middle {
            None
        } else if low + high < 2 * last_low {
            Some(0)
        } else if low + high > 2 * first_high {
            Some(1)
        } else {
            None
        }
    };
    let pairs = Pairs::new(range, 2, stratum_of, setup.held);
    // A congruent sample must not be the answer itself: it takes a second one.
    let few = samples.iter().any(|half| half.len() < 2);
    if few || (0..2).any(|stratum| pairs.count(stratum, Class::Seen) == 0) {
        return Err(too_short());
    }
    Ok(Box::new(Dmc {
        frame: Frame::new(&DEFINITION, &setup, &[]),
        space: Space {
            pairs,
            dimensions: 1,
        },
        middle,
        samples,
        design: Factorial::new([2, 2, 2]),
    }))
}

impl Dmc {
    /// The stratum whose pairs a sample of this half meets.
    fn stratum(category: usize, congruent: usize) -> usize {
        usize::from((category == 0) == (congruent == 1))
    }

    /// The larger number stands on the right where it is of the sample's half and
    /// the answer is right, or neither.
    fn larger_right(category: usize, right: usize) -> bool {
        (category == 1) == (right == 1)
    }
}

impl TaskKind for Dmc {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn space(&self) -> &Space {
        &self.space
    }

    fn cells(&self) -> usize {
        self.design.cells()
    }

    fn cell_name(&self, cell: usize) -> String {
        let [category, right, congruent] = self.design.decode(cell);
        format!(
            "sample {}, answer {}, {}",
            CATEGORIES[category],
            ["left", "right"][right],
            ["incongruent", "congruent"][congruent]
        )
    }

    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize, class: Class) -> Trial {
        let [category, right, congruent] = self.design.decode(cell);
        let stratum = Self::stratum(category, congruent);
        let pair = self.space.pairs.sample(rng, stratum, class);
        let sides = pair.sides(Self::larger_right(category, right));
        let own = sides[right];
        // Twice the middle of the pair.
        let twice = 2 * pair.smaller + pair.difference;
        let half = &self.samples[category];
        // Incongruent samples lie beyond the pair's middle; the pair's stratum says
        // that there are some, and that all others are congruent.
        let candidates = match (category, congruent) {
            (_, 1) => &half[..],
            (0, _) => &half[half.partition_point(|n| 2 * n <= twice)..],
            (_, _) => &half[..half.partition_point(|n| 2 * n < twice)],
        };
        // Never the answer itself, that would be a match. Ends: it is no candidate
        // of an incongruent trial, and not the only one of a congruent trial.
        let sample = loop {
            let sample = candidates[rng.random_range(0..candidates.len())];
            if sample != own {
                break sample;
            }
        };
        let fills = [sample, sides[0], sides[1]];
        Trial {
            cell,
            fills: fills.map(|n| n - self.frame.lowest).to_vec(),
            right: right == 1,
            congruent: Some(congruent == 1),
        }
    }

    fn ordered(&self, trial: &Trial) -> [[u32; 2]; 2] {
        [[1, 2].map(|slot| self.frame.number(trial, slot)), [0; 2]]
    }

    fn groups_of(&self, cell: usize) -> Vec<usize> {
        let [category, right, congruent] = self.design.decode(cell);
        let side = Self::larger_right(category, right);
        vec![
            self.space
                .group(&[side], &[Self::stratum(category, congruent)]),
        ]
    }

    fn roles(&self, _: &Trial) -> Vec<&'static str> {
        DEFINITION.slots.to_vec()
    }

    fn counterfactuals(&self) -> &'static [Counterfactual] {
        COUNTERFACTUALS
    }

    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial> {
        assert_eq!(which, "rel", "dmc has one counterfactual");
        let [category, right, congruent] = self.design.decode(trial.cell);
        let mut fills = trial.fills.clone();
        fills.swap(1, 2);
        Some(Trial {
            cell: self.design.encode([category, 1 - right, congruent]),
            fills,
            right: !trial.right,
            congruent: trial.congruent,
        })
    }

    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)> {
        let [left, right] = self.ordered(trial)[0];
        let sample = self.frame.number(trial, 0);
        vec![
            ("category", truth(sample >= self.middle)),
            ("answer", truth(trial.right)),
            ("congruent", truth(trial.congruent == Some(true))),
            ("sample", f64::from(sample)),
            ("left", f64::from(left)),
            ("right", f64::from(right)),
        ]
    }

    fn context(&self, trial: &Trial) -> &'static str {
        CATEGORIES[usize::from(self.frame.number(trial, 0) >= self.middle)]
    }

    fn shortcuts(&self) -> &'static [&'static str] {
        &["nearest", "larger"]
    }

    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32> {
        let [left, right] = self.ordered(trial)[0];
        let sample = self.frame.number(trial, 0);
        vec![
            vote(sample.abs_diff(right), sample.abs_diff(left), trial.right),
            vote(left, right, trial.right),
        ]
    }
}
