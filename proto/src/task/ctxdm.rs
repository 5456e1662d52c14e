//! Context-dependent decision making, after Mante et al. 2013.
//!
//! Two options (left, right), two dimensions (color, motion), four numbers and a
//! cue that names one dimension. The answer is the side with more of what the cue
//! names. The design is cue × answer × congruency × bin of |x| on the relevant
//! dimension × bin on the irrelevant one; with neutral trials also cue × answer ×
//! bin, the irrelevant numbers being equal.
//!
//! `delaydm` and `multidm` have the same trials: the one in other wordings, the
//! other with another rule.

use rand_chacha::ChaCha8Rng;

use super::error::TaskError;
use super::generator::{Bins, Factorial, Item, Pair};
use super::multidm::Sums;
use super::pairs::{Class, Pairs};
use super::registry::{
    Counterfactual, Cues, Definition, Frame, Setup, TaskKind, Trial, sign, truth, vote,
};
use super::space::Space;

/// T0 is the default. T1 to T3 name the rule last, T3 swaps the sides too.
pub const TEMPLATES: &[(&str, &str)] = &[
    (
        "T0",
        "Rule: {cue}. Left: {color} {color_left}, {motion} {motion_left}. Right: {color} \
         {color_right}, {motion} {motion_right}. Answer:",
    ),
    (
        "T1",
        "The left patch has {color} {color_left} and {motion} {motion_left}. The right patch has \
         {color} {color_right} and {motion} {motion_right}. The side with more {cue} is the",
    ),
    (
        "T2",
        "{Color}: left {color_left}, right {color_right}. {Motion}: left {motion_left}, right \
         {motion_right}. Compare {cue}. Answer:",
    ),
    (
        "T3",
        "On the right, {motion} is {motion_right} and {color} is {color_right}. On the left, \
         {motion} is {motion_left} and {color} is {color_left}. Which side has more {cue}? The",
    ),
];

/// The task.
pub const DEFINITION: Definition = Definition {
    name: "ctxdm",
    about: "which side has more of what the cue names",
    templates: TEMPLATES,
    slots: SLOTS,
    cue_slots: &["cue"],
    cued_shortcuts: &["tens_digit"],
    answers: ["left", "right"],
    dimensions: &DIMENSIONS,
    cues: CUES,
    has_delay: false,
    has_bins: true,
    has_neutral: true,
    has_congruency: true,
    shifts: true,
    build: make,
};

fn make(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    build(&DEFINITION, Rule::Gate, setup)
}

/// The dimensions, as the cue names them.
pub const DIMENSIONS: [&str; 2] = ["color", "motion"];

/// What the cue can say, and words that training never shows.
pub const CUES: Cues = Cues::Dimensions(DIMENSIONS, ["size", "shape"]);

/// The slots: the cue, then the numbers as `number` counts them.
pub const SLOTS: &[&str] = &[
    "cue",
    "color_left",
    "color_right",
    "motion_left",
    "motion_right",
];

const CUE: usize = 0;

/// Slot of a number: dimension 0 is color, side 0 is left.
const fn number(dimension: usize, side: usize) -> usize {
    1 + 2 * dimension + side
}

const GATE_SHORTCUTS: &[&str] = &["one_dimension", "sum", "global_maximum", "tens_digit"];
const SUM_SHORTCUTS: &[&str] = &[
    "one_dimension",
    "cued_dimension",
    "global_maximum",
    "tens_digit",
];

const fn counterfactual(
    name: &'static str,
    flips: bool,
    slots: &'static [&'static str],
) -> Counterfactual {
    Counterfactual { name, flips, slots }
}

const GATE_COUNTERFACTUALS: &[Counterfactual] = &[
    counterfactual("cue", true, &["cue"]),
    counterfactual("rel", true, &["rel_left", "rel_right"]),
    counterfactual("irr", false, &["irr_left", "irr_right"]),
];

const SUM_COUNTERFACTUALS: &[Counterfactual] = &[
    counterfactual("cue", false, &["cue"]),
    counterfactual(
        "both",
        true,
        &["rel_left", "rel_right", "irr_left", "irr_right"],
    ),
];

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The dimension that the cue names.
    Gate,
    /// The sum of both, whatever the cue says.
    Sum,
}

struct Ctxdm {
    frame: Frame,
    space: Space,
    /// How items are counted where the sum decides.
    sums: Option<Sums>,
    bins: Bins,
    /// cue × answer × congruency × relevant bin × irrelevant bin.
    design: Factorial<5>,
    /// cue × answer × relevant bin: the cells of neutral trials follow.
    neutral: Factorial<3>,
    has_neutral: bool,
}

/// A cell's levels. `congruent` and the irrelevant bin are absent where the trial
/// is neutral.
struct Levels {
    cue: usize,
    right: bool,
    congruent: Option<bool>,
    relevant: usize,
    irrelevant: usize,
}

/// Makes the task of a setup.
///
/// # Errors
/// Never: range and bins have been checked.
pub fn build(
    definition: &'static Definition,
    rule: Rule,
    setup: Setup,
) -> Result<Box<dyn TaskKind>, TaskError> {
    let pairs = Pairs::by_bin(&setup.bins, setup.neutral, setup.held);
    let count = setup.bins.count();
    Ok(Box::new(Ctxdm {
        frame: Frame::new(definition, &setup, &[]),
        sums: (rule == Rule::Sum).then(|| Sums::new(&pairs)),
        space: Space {
            pairs,
            dimensions: 2,
        },
        bins: setup.bins,
        design: Factorial::new([2, 2, 2, count, count]),
        neutral: Factorial::new([2, 2, count]),
        has_neutral: setup.neutral,
    }))
}

impl Ctxdm {
    /// The cued dimension.
    fn cue(trial: &Trial) -> usize {
        trial.fills[CUE] as usize
    }

    /// Left and right number of a dimension.
    fn numbers(&self, trial: &Trial, dimension: usize) -> [u32; 2] {
        [0, 1].map(|side| self.frame.number(trial, number(dimension, side)))
    }

    fn levels(&self, cell: usize) -> Levels {
        match cell.checked_sub(self.design.cells()) {
            None => {
                let [cue, right, congruent, relevant, irrelevant] = self.design.decode(cell);
                Levels {
                    cue,
                    right: right == 1,
                    congruent: Some(congruent == 1),
                    relevant,
                    irrelevant,
                }
            }
            Some(cell) => {
                let [cue, right, relevant] = self.neutral.decode(cell);
                Levels {
                    cue,
                    right: right == 1,
                    congruent: None,
                    relevant,
                    irrelevant: self.bins.count(),
                }
            }
        }
    }

    /// The trial that these fills make: what it is follows from what it shows.
    fn judged(&self, fills: Vec<u32>) -> Trial {
        let cue = fills[CUE] as usize;
        let pair = |dimension| [0, 1].map(|side| fills[number(dimension, side)]);
        let (relevant, irrelevant) = (pair(cue), pair(1 - cue));
        let bin = |[left, right]: [u32; 2]| {
            let bin = self.bins.find(left.abs_diff(right));
            bin.expect("a trial's differences were drawn from the bins")
        };
        let right = match self.sums {
            None => relevant[1] > relevant[0],
            Some(_) => relevant[1] + irrelevant[1] > relevant[0] + irrelevant[0],
        };
        let (cell, congruent) = if irrelevant[0] == irrelevant[1] {
            let cell = self
                .neutral
                .encode([cue, usize::from(right), bin(relevant)]);
            (self.design.cells() + cell, None)
        } else {
            let congruent = (relevant[1] > relevant[0]) == (irrelevant[1] > irrelevant[0]);
            let (right, agree) = (usize::from(right), usize::from(congruent));
            let levels = [cue, right, agree, bin(relevant), bin(irrelevant)];
            (self.design.encode(levels), Some(congruent))
        };
        Trial {
            cell,
            fills,
            right,
            congruent,
        }
    }

    /// The pairs of a trial, and whether the larger number of each is the right one.
    fn draw(&self, rng: &mut ChaCha8Rng, at: &Levels, class: Class) -> [(Pair, bool); 2] {
        let pairs = &self.space.pairs;
        loop {
            let relevant = pairs.sample(rng, at.relevant, class);
            let irrelevant = pairs.sample(rng, at.irrelevant, class);
            let congruent = at.congruent.unwrap_or(true);
            let sides = match self.sums {
                None => [at.right, at.right == congruent],
                Some(_) if congruent => [at.right; 2],
                Some(_) if relevant.difference == irrelevant.difference => continue,
                // The larger difference decides.
                Some(_) if relevant.difference > irrelevant.difference => [at.right, !at.right],
                Some(_) => [!at.right, at.right],
            };
            return [(relevant, sides[0]), (irrelevant, sides[1])];
        }
    }
}

impl TaskKind for Ctxdm {
    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn space(&self) -> &Space {
        &self.space
    }

    fn cells(&self) -> usize {
        let neutral = if self.has_neutral {
            self.neutral.cells()
        } else {
            0
        };
        self.design.cells() + neutral
    }

    fn cell_name(&self, cell: usize) -> String {
        let at = self.levels(cell);
        let (congruency, irrelevant) = match at.congruent {
            Some(true) => ("congruent", self.bins.name(at.irrelevant)),
            Some(false) => ("incongruent", self.bins.name(at.irrelevant)),
            None => ("neutral", "0".to_owned()),
        };
        format!(
            "cue {}, answer {}, {congruency}, |x_rel| {}, |x_irr| {irrelevant}",
            DIMENSIONS[at.cue],
            if at.right { "right" } else { "left" },
            self.bins.name(at.relevant),
        )
    }

    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize, class: Class) -> Trial {
        let at = self.levels(cell);
        let [relevant, irrelevant] = self
            .draw(rng, &at, class)
            .map(|(pair, right)| pair.sides(right));
        let mut fills = vec![0; SLOTS.len()];
        fills[CUE] = at.cue as u32;
        for side in [0, 1] {
            fills[number(at.cue, side)] = relevant[side] - self.frame.lowest;
            fills[number(1 - at.cue, side)] = irrelevant[side] - self.frame.lowest;
        }
        Trial {
            cell,
            fills,
            right: at.right,
            congruent: at.congruent,
        }
    }

    fn ordered(&self, trial: &Trial) -> [[u32; 2]; 2] {
        [0, 1].map(|dimension| self.numbers(trial, dimension))
    }

    fn item(&self, trial: &Trial) -> Option<Item> {
        let ordered = self.ordered(trial);
        match &self.sums {
            None => self.space.item(&ordered),
            Some(sums) => sums.item(&self.space, ordered),
        }
    }

    fn groups(&self, class: Class) -> Vec<u64> {
        let mut sizes = self.space.sizes(class);
        if let Some(sums) = &self.sums {
            sizes.extend(sums.sizes(class));
        }
        sizes
    }

    fn groups_of(&self, cell: usize) -> Vec<usize> {
        let at = self.levels(cell);
        let strata = if at.cue == 0 {
            [at.relevant, at.irrelevant]
        } else {
            [at.irrelevant, at.relevant]
        };
        // Which of color and motion asks for the right answer.
        let group = |relevant: bool, irrelevant: bool| {
            let sides = if at.cue == 0 {
                [relevant, irrelevant]
            } else {
                [irrelevant, relevant]
            };
            self.space.group(&sides, &strata)
        };
        let (right, other) = (at.right, !at.right);
        match (&self.sums, at.congruent) {
            (_, None) => vec![group(right, false)],
            (_, Some(true)) => vec![group(right, right)],
            (None, Some(false)) => vec![group(right, other)],
            (Some(sums), Some(false)) if at.relevant == at.irrelevant => {
                sums.groups_of(&self.space, at.relevant, at.right).to_vec()
            }
            (Some(_), Some(false)) if at.relevant > at.irrelevant => vec![group(right, other)],
            (Some(_), Some(false)) => vec![group(other, right)],
        }
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
        match self.sums {
            None => GATE_COUNTERFACTUALS,
            Some(_) => SUM_COUNTERFACTUALS,
        }
    }

    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial> {
        let cue = Self::cue(trial);
        let mut fills = trial.fills.clone();
        let mut swap = |dimension| fills.swap(number(dimension, 0), number(dimension, 1));
        match (which, &self.sums) {
            ("cue", None) if trial.congruent != Some(false) => return None,
            // The other dimension would be a tie.
            ("cue", Some(_)) if trial.congruent.is_none() => return None,
            ("cue", _) => fills[CUE] = 1 - fills[CUE],
            ("rel", None) => swap(cue),
            // Equal numbers have no other order.
            ("irr", None) if trial.congruent.is_none() => return None,
            ("irr", None) => swap(1 - cue),
            ("both", Some(_)) => [0, 1].into_iter().for_each(swap),
            _ => panic!("{} has no counterfactual {which:?}", self.name()),
        }
        Some(self.judged(fills))
    }

    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)> {
        let [color, motion] = self.ordered(trial);
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
        match self.sums {
            None => GATE_SHORTCUTS,
            Some(_) => SUM_SHORTCUTS,
        }
    }

    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32> {
        let (color, motion) = (self.numbers(trial, 0), self.numbers(trial, 1));
        let cued = [color, motion][Self::cue(trial)];
        let side = |side: usize| {
            let sum = color[side] + motion[side];
            let (second, digit) = match self.sums {
                None => (sum, cued[side] / 10),
                Some(_) => (cued[side], color[side] / 10 + motion[side] / 10),
            };
            [color[side], second, color[side].max(motion[side]), digit]
        };
        let (left, right) = (side(0), side(1));
        let hit = |(left, right)| vote(left, right, trial.right);
        left.into_iter().zip(right).map(hit).collect()
    }
}
