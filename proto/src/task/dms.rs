//! Delayed match to sample: a number, filler, then two numbers of which one is the
//! sample; the answer is its side.

use rand_chacha::ChaCha8Rng;

use super::error::TaskError;
use super::generator::{Bins, Factorial};
use super::pairs::{Class, Pairs};
use super::registry::{
    Counterfactual, Cues, Definition, Frame, Setup, TaskKind, Trial, sign, truth, vote,
};
use super::space::Space;

/// The task.
pub const DEFINITION: Definition = Definition {
    name: "dms",
    about: "on which side the sample comes again, after filler",
    templates: &[
        (
            "T0",
            "Sample: {sample}. {delay}. Left: {left}. Right: {right}. Answer:",
        ),
        (
            "T1",
            "The sample is {sample}. {delay}. On the left is {left}. On the right is {right}. The \
             side with the same is the",
        ),
    ],
    slots: &["sample", "left", "right"],
    cue_slots: &[],
    cued_shortcuts: &[],
    answers: ["left", "right"],
    dimensions: &[],
    cues: Cues::None,
    has_delay: true,
    has_bins: true,
    has_neutral: false,
    has_congruency: false,
    shifts: true,
    build,
};

const COUNTERFACTUALS: &[Counterfactual] = &[
    Counterfactual {
        name: "sample",
        flips: true,
        slots: &["sample"],
    },
    Counterfactual {
        name: "rel",
        flips: true,
        slots: &["left", "right"],
    },
];

struct Dms {
    frame: Frame,
    space: Space,
    bins: Bins,
    /// answer × side of the larger number × bin.
    design: Factorial<3>,
}

fn build(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    Ok(Box::new(Dms {
        frame: Frame::new(&DEFINITION, &setup, &[]),
        space: Space {
            pairs: Pairs::by_bin(&setup.bins, false, setup.held),
            dimensions: 1,
        },
        design: Factorial::new([2, 2, setup.bins.count()]),
        bins: setup.bins,
    }))
}

impl TaskKind for Dms {
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
        let [right, larger_right, bin] = self.design.decode(cell);
        let side = |at: usize| ["left", "right"][at];
        format!(
            "answer {}, larger number {}, |x| {}",
            side(right),
            side(larger_right),
            self.bins.name(bin)
        )
    }

    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize, class: Class) -> Trial {
        let [right, larger_right, bin] = self.design.decode(cell);
        let pair = self.space.pairs.sample(rng, bin, class);
        let sides = pair.sides(larger_right == 1).map(|n| n - self.frame.lowest);
        Trial {
            cell,
            fills: vec![sides[right], sides[0], sides[1]],
            right: right == 1,
            congruent: None,
        }
    }

    fn ordered(&self, trial: &Trial) -> [[u32; 2]; 2] {
        [[1, 2].map(|slot| self.frame.number(trial, slot)), [0; 2]]
    }

    fn groups_of(&self, cell: usize) -> Vec<usize> {
        let [_, larger_right, bin] = self.design.decode(cell);
        vec![self.space.group(&[larger_right == 1], &[bin])]
    }

    fn roles(&self, _: &Trial) -> Vec<&'static str> {
        DEFINITION.slots.to_vec()
    }

    fn counterfactuals(&self) -> &'static [Counterfactual] {
        COUNTERFACTUALS
    }

    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial> {
        let [right, larger_right, bin] = self.design.decode(trial.cell);
        let mut fills = trial.fills.clone();
        let larger_right = match which {
            "sample" => {
                fills[0] = fills[1 + (1 - right)];
                larger_right
            }
            "rel" => {
                fills.swap(1, 2);
                1 - larger_right
            }
            _ => panic!("dms has no counterfactual {which:?}"),
        };
        Some(Trial {
            cell: self.design.encode([1 - right, larger_right, bin]),
            fills,
            right: !trial.right,
            congruent: None,
        })
    }

    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)> {
        let sides = self.ordered(trial)[0];
        vec![
            ("answer", truth(trial.right)),
            ("sign", sign(sides)),
            ("sample", f64::from(self.frame.number(trial, 0))),
            ("left", f64::from(sides[0])),
            ("right", f64::from(sides[1])),
        ]
    }

    fn context(&self, _: &Trial) -> &'static str {
        "match"
    }

    fn shortcuts(&self) -> &'static [&'static str] {
        &["larger", "tens_digit"]
    }

    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32> {
        let [left, right] = self.ordered(trial)[0];
        let sample = self.frame.number(trial, 0);
        let alike = |number: u32| number / 10 == sample / 10;
        vec![
            vote(left, right, trial.right),
            vote(alike(left), alike(right), trial.right),
        ]
    }
}
