//! Context-dependent decision making, after Mante et al. 2013.
//!
//! Two options (left, right), two dimensions (color, motion), four numbers and a
//! cue that names one dimension. The answer is the side with more of what the cue
//! names. The design is cue × answer × congruency × bin of |x| on the relevant
//! dimension × bin on the irrelevant one.

use rand_chacha::ChaCha8Rng;
use seedbed_proto::job::Task;

use super::error::TaskError;
use super::generator::{Bins, Factorial, Item, Pair};
use super::registry::{Counterfactual, Slot, TaskKind, Trial};
use super::templates::Template;
use super::templates::ctxdm::{CUE, TEMPLATES, number};

const NAME: &str = "ctxdm";

/// The dimensions, as the cue names them.
const DIMENSIONS: [&str; 2] = ["color", "motion"];

const SHORTCUTS: &[&str] = &["one_dimension", "sum", "global_maximum", "tens_digit"];

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
    Counterfactual {
        name: "irr",
        flips: false,
        slots: &["irr_left", "irr_right"],
    },
];

struct Ctxdm {
    template: &'static Template,
    bins: Bins,
    slots: Vec<Slot>,
    /// cue × answer × congruency × relevant bin × irrelevant bin.
    design: Factorial<5>,
    /// side of color × side of motion × bin of color × bin of motion: all
    /// quadruples, whatever the cue.
    quadruples: Factorial<4>,
}

/// Makes the task of a spec.
///
/// # Errors
/// If its template, range or bins are wrong.
pub fn build(spec: &Task) -> Result<Box<dyn TaskKind>, TaskError> {
    let Some(template) = TEMPLATES.iter().find(|t| t.name == spec.template) else {
        return Err(TaskError::UnknownTemplate {
            task: NAME,
            name: spec.template.clone(),
            known: TEMPLATES
                .iter()
                .map(|t| t.name)
                .collect::<Vec<_>>()
                .join(", "),
        });
    };
    let bins = Bins::new(spec.range, &spec.bins)?;
    let words = DIMENSIONS.iter().map(|word| format!(" {word}")).collect();
    let numbers: Vec<_> = bins.numbers().map(|n| format!(" {n}")).collect();
    let slot = |name| Slot {
        name,
        choices: numbers.clone(),
    };
    // In the order of `templates::ctxdm::number`.
    let slots = vec![
        Slot {
            name: "cue",
            choices: words,
        },
        slot("color_left"),
        slot("color_right"),
        slot("motion_left"),
        slot("motion_right"),
    ];
    let count = bins.count();
    Ok(Box::new(Ctxdm {
        template,
        bins,
        slots,
        design: Factorial::new([2, 2, 2, count, count]),
        quadruples: Factorial::new([2, 2, count, count]),
    }))
}

impl Ctxdm {
    /// The cued dimension.
    fn cue(trial: &Trial) -> usize {
        trial.fills[CUE] as usize
    }

    /// Left and right number of a dimension.
    fn numbers(&self, trial: &Trial, dimension: usize) -> [u32; 2] {
        [0, 1].map(|side| self.bins.lowest() + trial.fills[number(dimension, side)])
    }

    /// The trial that these fills make: what it is follows from what it shows.
    fn judged(&self, fills: Vec<u32>) -> Trial {
        let cue = fills[CUE] as usize;
        let part = |dimension: usize| {
            let [left, right] = [0, 1].map(|side| fills[number(dimension, side)]);
            let bin = self.bins.find(left.abs_diff(right));
            (
                right > left,
                bin.expect("a trial's differences were drawn from the bins"),
            )
        };
        let ((right, rel), (other, irr)) = (part(cue), part(1 - cue));
        let congruent = right == other;
        let levels = [cue, usize::from(right), usize::from(congruent), rel, irr];
        Trial {
            cell: self.design.encode(levels),
            fills,
            right,
            congruent: Some(congruent),
        }
    }
}

impl TaskKind for Ctxdm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn template(&self) -> &'static Template {
        self.template
    }

    fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn answers(&self) -> [&'static str; 2] {
        [" left", " right"]
    }

    fn cells(&self) -> usize {
        self.design.cells()
    }

    fn cell_name(&self, cell: usize) -> String {
        let [cue, right, congruent, rel, irr] = self.design.decode(cell);
        format!(
            "cue {}, answer {}, {}, |x_rel| {}, |x_irr| {}",
            DIMENSIONS[cue],
            ["left", "right"][right],
            ["incongruent", "congruent"][congruent],
            self.bins.name(rel),
            self.bins.name(irr),
        )
    }

    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize) -> Trial {
        let [cue, right, congruent, rel, irr] = self.design.decode(cell);
        let (right, congruent) = (right == 1, congruent == 1);
        let relevant = self.bins.sample(rng, rel).sides(right);
        let irrelevant = self.bins.sample(rng, irr).sides(right == congruent);
        let mut fills = vec![0; self.slots.len()];
        fills[CUE] = cue as u32;
        for side in [0, 1] {
            fills[number(cue, side)] = relevant[side] - self.bins.lowest();
            fills[number(1 - cue, side)] = irrelevant[side] - self.bins.lowest();
        }
        Trial {
            cell,
            fills,
            right,
            congruent: Some(congruent),
        }
    }

    fn item(&self, trial: &Trial) -> Item {
        let part = |dimension| {
            let [left, right] = self.numbers(trial, dimension);
            let pair = Pair {
                smaller: left.min(right),
                difference: left.abs_diff(right),
            };
            let bin = self
                .bins
                .find(pair.difference)
                .expect("a trial's differences were drawn from the bins");
            (
                usize::from(right > left),
                bin,
                self.bins.pair_index(bin, pair),
            )
        };
        let ((side_0, bin_0, index_0), (side_1, bin_1, index_1)) = (part(0), part(1));
        Item {
            group: self.quadruples.encode([side_0, side_1, bin_0, bin_1]),
            index: index_0 * self.bins.pairs(bin_1) + index_1,
        }
    }

    fn groups(&self) -> Vec<u64> {
        let size = |group| {
            let [_, _, bin_0, bin_1] = self.quadruples.decode(group);
            self.bins.pairs(bin_0) * self.bins.pairs(bin_1)
        };
        (0..self.quadruples.cells()).map(size).collect()
    }

    fn group_of(&self, cell: usize) -> usize {
        let [cue, right, congruent, rel, irr] = self.design.decode(cell);
        let other = usize::from((right == 1) == (congruent == 1));
        self.quadruples.encode(if cue == 0 {
            [right, other, rel, irr]
        } else {
            [other, right, irr, rel]
        })
    }

    fn roles(&self, trial: &Trial) -> Vec<&'static str> {
        const REL: [&str; 2] = ["rel_left", "rel_right"];
        const IRR: [&str; 2] = ["irr_left", "irr_right"];
        let [color, motion] = if Self::cue(trial) == 0 {
            [REL, IRR]
        } else {
            [IRR, REL]
        };
        vec!["cue", color[0], color[1], motion[0], motion[1]]
    }

    fn counterfactuals(&self) -> &'static [Counterfactual] {
        COUNTERFACTUALS
    }

    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial> {
        let cue = Self::cue(trial);
        let mut fills = trial.fills.clone();
        match which {
            "cue" if trial.congruent == Some(false) => fills[CUE] = 1 - fills[CUE],
            "cue" => return None,
            "rel" => fills.swap(number(cue, 0), number(cue, 1)),
            "irr" => fills.swap(number(1 - cue, 0), number(1 - cue, 1)),
            _ => panic!("{NAME} has no counterfactual {which:?}"),
        }
        Some(self.judged(fills))
    }

    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)> {
        let [color, motion] = [0, 1].map(|dimension| self.numbers(trial, dimension));
        let sign =
            |[left, right]: [u32; 2]| f64::from(i8::from(right > left) - i8::from(left > right));
        let truth = |value: bool| f64::from(u8::from(value));
        vec![
            ("cue", f64::from(trial.fills[CUE])),
            ("answer", truth(trial.right)),
            ("sign_color", sign(color)),
            ("sign_motion", sign(motion)),
            ("congruent", truth(sign(color) == sign(motion))),
            ("color_left", f64::from(color[0])),
            ("color_right", f64::from(color[1])),
            ("motion_left", f64::from(motion[0])),
            ("motion_right", f64::from(motion[1])),
        ]
    }

    fn evidence(&self, trial: &Trial) -> Option<[f64; 2]> {
        let cue = Self::cue(trial);
        Some([cue, 1 - cue].map(|dimension| {
            let [left, right] = self.numbers(trial, dimension);
            f64::from(right) - f64::from(left)
        }))
    }

    fn context(&self, trial: &Trial) -> &'static str {
        DIMENSIONS[Self::cue(trial)]
    }

    fn shortcuts(&self) -> &'static [&'static str] {
        SHORTCUTS
    }

    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32> {
        let (color, motion) = (self.numbers(trial, 0), self.numbers(trial, 1));
        let relevant = [color, motion][Self::cue(trial)];
        let side = |side: usize| {
            [
                color[side],
                color[side] + motion[side],
                color[side].max(motion[side]),
                relevant[side] / 10,
            ]
        };
        let (left, right) = (side(0), side(1));
        let hit = |(left, right): (u32, u32)| {
            if left == right {
                0.5
            } else {
                f32::from((right > left) == trial.right)
            }
        };
        left.into_iter().zip(right).map(hit).collect()
    }
}
