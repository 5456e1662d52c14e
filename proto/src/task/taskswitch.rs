//! Task switching: a worked example of one rule, then a trial of the same or of the
//! other one.
//!
//! Rule A asks for the side with the larger number, rule B for the side with the
//! even one; exactly one number of each pair is even. A trial is congruent when
//! both rules give its answer. Accuracy by context ("A_switch" …) holds the cost of
//! a switch.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::error::TaskError;
use super::generator::{Bins, Factorial, Pair};
use super::pairs::{Class, Pairs};
use super::registry::{
    Counterfactual, Cues, Definition, Frame, Setup, TaskKind, Trial, sign, truth,
};
use super::space::Space;

/// The task.
pub const DEFINITION: Definition = Definition {
    name: "taskswitch",
    about: "which side is larger (A) or even (B), after an example of either rule",
    templates: &[
        (
            "T0",
            "Task {before_cue}. Left: {before_left}. Right: {before_right}. Answer: \
             {before_answer}. Task {cue}. Left: {left}. Right: {right}. Answer:",
        ),
        (
            "T1",
            "Rule {before_cue}. On the left is {before_left}. On the right is {before_right}. The \
             side is {before_answer}. Rule {cue}. On the left is {left}. On the right is {right}. \
             The side is",
        ),
    ],
    slots: &[
        "before_cue",
        "before_left",
        "before_right",
        "before_answer",
        "cue",
        "left",
        "right",
    ],
    cue_slots: &["cue"],
    cued_shortcuts: &[],
    answers: ["left", "right"],
    dimensions: &[],
    cues: Cues::Words(["A", "B"], None),
    has_delay: false,
    has_bins: true,
    has_neutral: false,
    has_congruency: true,
    shifts: true,
    build,
};

const BEFORE_CUE: usize = 0;
const BEFORE: [usize; 2] = [1, 2];
const BEFORE_ANSWER: usize = 3;
const CUE: usize = 4;
const NOW: [usize; 2] = [5, 6];

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
    // The example follows the other rule.
    Counterfactual {
        name: "before",
        flips: false,
        slots: &["before_cue", "before_answer"],
    },
];

struct TaskSwitch {
    frame: Frame,
    space: Space,
    bins: Bins,
    /// By class the strata that have pairs for an example.
    examples: [Vec<usize>; 3],
    /// cue × switch × answer × congruency × bin.
    design: Factorial<5>,
}

fn build(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    let bins = setup.bins.clone();
    let stratum_of = |pair: Pair| {
        // An even difference is of two even numbers, or of none.
        let bin = bins
            .find(pair.difference)
            .filter(|_| pair.difference % 2 == 1)?;
        Some(stratum(bin, pair.smaller % 2 == 1))
    };
    let pairs = Pairs::new(bins.range(), 2 * bins.count(), stratum_of, setup.held);
    if (0..pairs.strata()).any(|stratum| pairs.count(stratum, Class::Seen) == 0) {
        let [low, high] = bins.range();
        return Err(TaskError::ShortRange {
            task: DEFINITION.name,
            low,
            high,
            need: "each of task.bins must have pairs of an even and an odd number",
        });
    }
    let examples = Class::ALL.map(|class| {
        let strata = 0..pairs.strata();
        strata
            .filter(|&stratum| pairs.count(stratum, class) > 0)
            .collect()
    });
    Ok(Box::new(TaskSwitch {
        frame: Frame::new(&DEFINITION, &setup, &["before_answer"]),
        examples,
        space: Space {
            pairs,
            dimensions: 2,
        },
        design: Factorial::new([2, 2, 2, 2, bins.count()]),
        bins,
    }))
}

/// Pairs of a bin whose larger number is even, or odd.
const fn stratum(bin: usize, larger_even: bool) -> usize {
    2 * bin + larger_even as usize
}

/// Whether a rule's answer is the right side.
fn answer(cue: u32, [left, right]: [u32; 2]) -> bool {
    if cue == 0 {
        right > left
    } else {
        right.is_multiple_of(2)
    }
}

impl TaskSwitch {
    fn pair(&self, trial: &Trial, slots: [usize; 2]) -> [u32; 2] {
        slots.map(|slot| self.frame.number(trial, slot))
    }

    /// The side of the larger number, and the stratum, of a cell's pair.
    fn place(&self, cell: usize) -> (bool, usize) {
        let [cue, _, right, congruent, bin] = self.design.decode(cell);
        // Rule A's answer is the larger number's side; B's too, if they agree.
        let larger_right = (right == 1) == (cue == 0 || congruent == 1);
        (larger_right, stratum(bin, congruent == 1))
    }

    /// The trial that these fills make.
    fn judged(&self, fills: Vec<u32>) -> Trial {
        let mut trial = Trial {
            cell: 0,
            fills,
            right: false,
            congruent: None,
        };
        let pair = self.pair(&trial, NOW);
        let (cue, before) = (trial.fills[CUE], trial.fills[BEFORE_CUE]);
        let congruent = answer(0, pair) == answer(1, pair);
        trial.right = answer(cue, pair);
        trial.congruent = Some(congruent);
        let bin = self.bins.find(pair[0].abs_diff(pair[1]));
        trial.cell = self.design.encode([
            cue as usize,
            usize::from(cue != before),
            usize::from(trial.right),
            usize::from(congruent),
            bin.expect("a trial's difference was drawn from the bins"),
        ]);
        trial
    }
}

impl TaskKind for TaskSwitch {
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
        let [cue, switch, right, congruent, bin] = self.design.decode(cell);
        format!(
            "rule {}, {}, answer {}, {}, |x| {}",
            ["A", "B"][cue],
            ["repeat", "switch"][switch],
            ["left", "right"][right],
            ["incongruent", "congruent"][congruent],
            self.bins.name(bin)
        )
    }

    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize, class: Class) -> Trial {
        let [cue, switch, right, congruent, _] = self.design.decode(cell);
        let pairs = &self.space.pairs;
        let strata = &self.examples[class as usize];
        let kind = strata[rng.random_range(0..strata.len())];
        let side = rng.random_range(0..2) == 1;
        let example = pairs.sample(rng, kind, class).sides(side);
        let before = (cue ^ switch) as u32;
        let (larger_right, stratum) = self.place(cell);
        let now = pairs.sample(rng, stratum, class).sides(larger_right);
        let at = |n: u32| n - self.frame.lowest;
        Trial {
            cell,
            fills: vec![
                before,
                at(example[0]),
                at(example[1]),
                u32::from(answer(before, example)),
                cue as u32,
                at(now[0]),
                at(now[1]),
            ],
            right: right == 1,
            congruent: Some(congruent == 1),
        }
    }

    fn ordered(&self, trial: &Trial) -> [[u32; 2]; 2] {
        [self.pair(trial, BEFORE), self.pair(trial, NOW)]
    }

    fn groups_of(&self, cell: usize) -> Vec<usize> {
        let (larger_right, stratum) = self.place(cell);
        let examples = (0..self.space.pairs.strata()).flat_map(|s| [(false, s), (true, s)]);
        examples
            .map(|(side, example)| self.space.group(&[side, larger_right], &[example, stratum]))
            .collect()
    }

    fn roles(&self, _: &Trial) -> Vec<&'static str> {
        let mut roles = DEFINITION.slots.to_vec();
        roles[NOW[0]] = "rel_left";
        roles[NOW[1]] = "rel_right";
        roles
    }

    fn counterfactuals(&self) -> &'static [Counterfactual] {
        COUNTERFACTUALS
    }

    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial> {
        let mut fills = trial.fills.clone();
        match which {
            "cue" if trial.congruent == Some(true) => return None,
            "cue" => fills[CUE] = 1 - fills[CUE],
            "rel" => fills.swap(NOW[0], NOW[1]),
            "before" => {
                fills[BEFORE_CUE] = 1 - fills[BEFORE_CUE];
                let example = self.pair(trial, BEFORE);
                fills[BEFORE_ANSWER] = u32::from(answer(fills[BEFORE_CUE], example));
            }
            _ => panic!("taskswitch has no counterfactual {which:?}"),
        }
        Some(self.judged(fills))
    }

    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)> {
        let [_, now] = self.ordered(trial);
        vec![
            ("cue", f64::from(trial.fills[CUE])),
            ("answer", truth(trial.right)),
            ("switch", truth(trial.fills[CUE] != trial.fills[BEFORE_CUE])),
            ("sign", sign(now)),
            ("right_even", truth(now[1].is_multiple_of(2))),
            ("congruent", truth(trial.congruent == Some(true))),
            ("left", f64::from(now[0])),
            ("right", f64::from(now[1])),
        ]
    }

    fn context(&self, trial: &Trial) -> &'static str {
        match (trial.fills[CUE], trial.fills[BEFORE_CUE]) {
            (0, 0) => "A_repeat",
            (0, _) => "A_switch",
            (_, 0) => "B_switch",
            _ => "B_repeat",
        }
    }

    fn shortcuts(&self) -> &'static [&'static str] {
        &["always_a", "as_before", "same_answer"]
    }

    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32> {
        let [_, now] = self.ordered(trial);
        let hit = |answer_right: bool| f32::from(answer_right == trial.right);
        vec![
            hit(answer(0, now)),
            // The example's rule.
            hit(answer(trial.fills[BEFORE_CUE], now)),
            hit(trial.fills[BEFORE_ANSWER] == 1),
        ]
    }
}
