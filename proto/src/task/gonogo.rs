//! Go or no-go: the answer is "go" where the test number is above the sample, else
//! "stop". One response, given or withheld, instead of one of two sides.

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
    name: "gonogo",
    about: "go where the test number is above the sample, else stop",
    templates: &[
        ("T0", "Sample: {sample}. Test: {test}. Answer:"),
        ("T1", "The sample is {sample} and the test is {test}, so"),
    ],
    slots: &["sample", "test"],
    cue_slots: &[],
    cued_shortcuts: &[],
    answers: ["stop", "go"],
    dimensions: &[],
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
    slots: &["sample", "test"],
}];

struct GoNoGo {
    frame: Frame,
    space: Space,
    bins: Bins,
    /// answer × bin.
    design: Factorial<2>,
}

fn build(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    Ok(Box::new(GoNoGo {
        frame: Frame::new(&DEFINITION, &setup, &[]),
        space: Space {
            pairs: Pairs::by_bin(&setup.bins, false, setup.held),
            dimensions: 1,
        },
        design: Factorial::new([2, setup.bins.count()]),
        bins: setup.bins,
    }))
}

impl TaskKind for GoNoGo {
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
        let [go, bin] = self.design.decode(cell);
        let answer = DEFINITION.answers[go];
        format!("answer {answer}, |x| {}", self.bins.name(bin))
    }

    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize, class: Class) -> Trial {
        let [go, bin] = self.design.decode(cell);
        let pair = self.space.pairs.sample(rng, bin, class);
        let [sample, test] = pair.sides(go == 1);
        let lowest = self.frame.lowest;
        Trial {
            cell,
            fills: vec![sample - lowest, test - lowest],
            right: go == 1,
            congruent: None,
        }
    }

    fn ordered(&self, trial: &Trial) -> [[u32; 2]; 2] {
        [[0, 1].map(|slot| self.frame.number(trial, slot)), [0; 2]]
    }

    fn groups_of(&self, cell: usize) -> Vec<usize> {
        let [go, bin] = self.design.decode(cell);
        vec![self.space.group(&[go == 1], &[bin])]
    }

    fn roles(&self, _: &Trial) -> Vec<&'static str> {
        vec!["sample", "test"]
    }

    fn counterfactuals(&self) -> &'static [Counterfactual] {
        COUNTERFACTUALS
    }

    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial> {
        assert_eq!(which, "rel", "gonogo has one counterfactual");
        let [go, bin] = self.design.decode(trial.cell);
        let mut fills = trial.fills.clone();
        fills.swap(0, 1);
        Some(Trial {
            cell: self.design.encode([1 - go, bin]),
            fills,
            right: !trial.right,
            congruent: None,
        })
    }

    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)> {
        let [sample, test] = self.ordered(trial)[0];
        vec![
            ("answer", truth(trial.right)),
            ("sample", f64::from(sample)),
            ("test", f64::from(test)),
        ]
    }

    fn context(&self, _: &Trial) -> &'static str {
        "go"
    }

    fn shortcuts(&self) -> &'static [&'static str] {
        &["test_alone", "tens_digit"]
    }

    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32> {
        let [sample, test] = self.ordered(trial)[0];
        let [low, high] = self.space.pairs.range();
        vec![
            // Large test numbers tend to be above their sample.
            vote(low + high, 2 * test, trial.right),
            vote(sample / 10, test / 10, trial.right),
        ]
    }
}
