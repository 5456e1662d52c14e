//! Pro and anti: the cue says whether the side with more or with less is the
//! answer.

use rand_chacha::ChaCha8Rng;

use super::error::TaskError;
use super::generator::{Bins, Factorial};
use super::pairs::{Class, Pairs};
use super::registry::{
    Counterfactual, Cues, Definition, Frame, Setup, TaskKind, Trial, sign, truth, vote,
};
use super::space::Space;

const CUES: [&str; 2] = ["larger", "smaller"];

/// The task.
pub const DEFINITION: Definition = Definition {
    name: "anti",
    about: "which side has the larger, or the smaller, number, as the cue says",
    templates: &[
        (
            "T0",
            "Rule: {cue}. Left: {color} {color_left}. Right: {color} {color_right}. Answer:",
        ),
        (
            "T1",
            "The left patch has {color} {color_left}. The right patch has {color} {color_right}. \
             The side with the {cue} {color} is the",
        ),
    ],
    slots: &["cue", "color_left", "color_right"],
    cue_slots: &["cue"],
    cued_shortcuts: &["one_side", "tens_digit"],
    answers: ["left", "right"],
    dimensions: &["color"],
    cues: Cues::Words(CUES, Some(["greater", "less"])),
    has_delay: false,
    has_bins: true,
    has_neutral: false,
    has_congruency: false,
    shifts: true,
    build,
};

const COUNTERFACTUALS: &[Counterfactual] = &[
    Counterfactual {
        name: "cue",
        flips: true,
        slots: &["cue"],
    },
    Counterfactual {
        name: "rel",
        flips: true,
        slots: &["rel_left", "rel_right"],
    },
];

struct Anti {
    frame: Frame,
    space: Space,
    bins: Bins,
    /// cue × answer × bin.
    design: Factorial<3>,
}

fn build(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    Ok(Box::new(Anti {
        frame: Frame::new(&DEFINITION, &setup, &[]),
        space: Space {
            pairs: Pairs::by_bin(&setup.bins, false, setup.held),
            dimensions: 1,
        },
        design: Factorial::new([2, 2, setup.bins.count()]),
        bins: setup.bins,
    }))
}

impl TaskKind for Anti {
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
        let [cue, right, bin] = self.design.decode(cell);
        let answer = ["left", "right"][right];
        format!(
            "cue {}, answer {answer}, |x| {}",
            CUES[cue],
            self.bins.name(bin)
        )
    }

    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize, class: Class) -> Trial {
        let [cue, right, bin] = self.design.decode(cell);
        let pair = self.space.pairs.sample(rng, bin, class);
        let [left_number, right_number] = pair.sides((right == 1) == (cue == 0));
        let lowest = self.frame.lowest;
        Trial {
            cell,
            fills: vec![cue as u32, left_number - lowest, right_number - lowest],
            right: right == 1,
            congruent: None,
        }
    }

    fn ordered(&self, trial: &Trial) -> [[u32; 2]; 2] {
        [[1, 2].map(|slot| self.frame.number(trial, slot)), [0; 2]]
    }

    fn groups_of(&self, cell: usize) -> Vec<usize> {
        let [cue, right, bin] = self.design.decode(cell);
        vec![self.space.group(&[(right == 1) == (cue == 0)], &[bin])]
    }

    fn roles(&self, _: &Trial) -> Vec<&'static str> {
        vec!["cue", "rel_left", "rel_right"]
    }

    fn counterfactuals(&self) -> &'static [Counterfactual] {
        COUNTERFACTUALS
    }

    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial> {
        let [cue, right, bin] = self.design.decode(trial.cell);
        let mut fills = trial.fills.clone();
        let cue = match which {
            "cue" => {
                fills[0] = 1 - fills[0];
                1 - cue
            }
            "rel" => {
                fills.swap(1, 2);
                cue
            }
            _ => panic!("anti has no counterfactual {which:?}"),
        };
        Some(Trial {
            cell: self.design.encode([cue, 1 - right, bin]),
            fills,
            right: !trial.right,
            congruent: None,
        })
    }

    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)> {
        let color = self.ordered(trial)[0];
        vec![
            ("cue", f64::from(trial.fills[0])),
            ("answer", truth(trial.right)),
            ("sign_color", sign(color)),
            ("color_left", f64::from(color[0])),
            ("color_right", f64::from(color[1])),
        ]
    }

    fn context(&self, trial: &Trial) -> &'static str {
        CUES[trial.fills[0] as usize]
    }

    fn shortcuts(&self) -> &'static [&'static str] {
        &["always_larger", "one_side", "tens_digit"]
    }

    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32> {
        let [left, right] = self.ordered(trial)[0];
        let [low, high] = self.space.pairs.range();
        let asks_larger = trial.fills[0] == 0;
        // What a comparison answers under the cue.
        let ruled = |a: u32, b: u32| vote(a, b, trial.right == asks_larger);
        vec![
            vote(left, right, trial.right),
            ruled(2 * left, low + high),
            ruled(left / 10, right / 10),
        ]
    }
}
