//! Perceptual decision making: two numbers, and the answer is the side with more.
//! `ctxdm` without a cue and without a second dimension.

use rand_chacha::ChaCha8Rng;

use super::error::TaskError;
use super::generator::{Bins, Factorial};
use super::pairs::{Class, Pairs};
use super::registry::{
    Counterfactual, Cues, Definition, Frame, Setup, TaskKind, Trial, truth, vote,
};
use super::space::Space;

/// The task.
pub const DEFINITION: Definition = Definition {
    name: "pdm",
    about: "which side has more",
    templates: &[
        (
            "T0",
            "Left: {color} {color_left}. Right: {color} {color_right}. Answer:",
        ),
        (
            "T1",
            "The left patch has {color} {color_left}. The right patch has {color} {color_right}. \
             The side with more {color} is the",
        ),
    ],
    slots: &["color_left", "color_right"],
    cue_slots: &[],
    cued_shortcuts: &[],
    answers: ["left", "right"],
    dimensions: &["color"],
    cues: Cues::None,
    has_delay: false,
    has_bins: true,
    has_neutral: false,
    has_congruency: false,
    shifts: true,
    build,
};

const COUNTERFACTUALS: &[Counterfactual] = &[Counterfactual {
    name: "rel",
    flips: true,
    slots: &["rel_left", "rel_right"],
}];

struct Pdm {
    frame: Frame,
    space: Space,
    bins: Bins,
    /// answer × bin.
    design: Factorial<2>,
}

fn build(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    Ok(Box::new(Pdm {
        frame: Frame::new(&DEFINITION, &setup, &[]),
        space: Space {
            pairs: Pairs::by_bin(&setup.bins, false, setup.held),
            dimensions: 1,
        },
        design: Factorial::new([2, setup.bins.count()]),
        bins: setup.bins,
    }))
}

impl TaskKind for Pdm {
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
        let [right, bin] = self.design.decode(cell);
        let answer = ["left", "right"][right];
        format!("answer {answer}, |x| {}", self.bins.name(bin))
    }

    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize, class: Class) -> Trial {
        let [right, bin] = self.design.decode(cell);
        let pair = self.space.pairs.sample(rng, bin, class);
        let sides = pair.sides(right == 1);
        Trial {
            cell,
            fills: sides.map(|n| n - self.frame.lowest).to_vec(),
            right: right == 1,
            congruent: None,
        }
    }

    fn ordered(&self, trial: &Trial) -> [[u32; 2]; 2] {
        [[0, 1].map(|slot| self.frame.number(trial, slot)), [0; 2]]
    }

    fn groups_of(&self, cell: usize) -> Vec<usize> {
        let [right, bin] = self.design.decode(cell);
        vec![self.space.group(&[right == 1], &[bin])]
    }

    fn roles(&self, _: &Trial) -> Vec<&'static str> {
        vec!["rel_left", "rel_right"]
    }

    fn counterfactuals(&self) -> &'static [Counterfactual] {
        COUNTERFACTUALS
    }

    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial> {
        assert_eq!(which, "rel", "pdm has one counterfactual");
        let [right, bin] = self.design.decode(trial.cell);
        let mut fills = trial.fills.clone();
        fills.swap(0, 1);
        Some(Trial {
            cell: self.design.encode([1 - right, bin]),
            fills,
            right: !trial.right,
            congruent: None,
        })
    }

    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)> {
        let [left, right] = self.ordered(trial)[0];
        vec![
            ("answer", truth(trial.right)),
            ("color_left", f64::from(left)),
            ("color_right", f64::from(right)),
        ]
    }

    fn context(&self, _: &Trial) -> &'static str {
        "color"
    }

    fn shortcuts(&self) -> &'static [&'static str] {
        &["one_side", "tens_digit"]
    }

    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32> {
        let [left, right] = self.ordered(trial)[0];
        let [low, high] = self.space.pairs.range();
        vec![
            // The left number alone: small ones are beaten.
            vote(2 * left, low + high, trial.right),
            vote(left / 10, right / 10, trial.right),
        ]
    }
}
