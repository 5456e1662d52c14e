//! The control without gating: the trials and prompts of `ctxdm`, and the answer
//! is the side with more of both dimensions together, whatever the cue says.
//!
//! Where the dimensions disagree and their differences are in one bin, which
//! difference is the larger one decides: such items form groups of their own, one
//! for each dimension that may decide, in which equal differences do not count.

use super::ctxdm::{self, CUES, DIMENSIONS, Rule, SLOTS, TEMPLATES};
use super::error::TaskError;
use super::generator::{Item, Pair};
use super::pairs::{Class, Pairs};
use super::registry::{Definition, Setup, TaskKind};
use super::space::Space;

/// The task.
pub const DEFINITION: Definition = Definition {
    name: "multidm",
    about: "which side has more of both dimensions together",
    templates: TEMPLATES,
    slots: SLOTS,
    cue_slots: &["cue"],
    cued_shortcuts: &["cued_dimension"],
    answers: ["left", "right"],
    dimensions: &DIMENSIONS,
    cues: CUES,
    has_delay: false,
    has_bins: true,
    has_neutral: false,
    has_congruency: true,
    shifts: true,
    build: make,
};

fn make(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    ctxdm::build(&DEFINITION, Rule::Sum, setup)
}

/// Counts pairs of pairs of which the first has the larger difference.
#[derive(Debug, Clone)]
pub struct Sums {
    /// By stratum, class and rank of the first pair: how many come before its own.
    before: Vec<[Vec<u64>; 3]>,
}

impl Sums {
    /// The counts of a table of pairs.
    pub fn new(pairs: &Pairs) -> Self {
        let count = |stratum, class| {
            let differences = pairs.differences(stratum, class);
            let mut before = vec![0];
            for difference in differences {
                // Ranks ascend with the difference.
                let smaller = differences.partition_point(|d| d < difference) as u64;
                before.push(before[before.len() - 1] + smaller);
            }
            before
        };
        let strata = 0..pairs.strata();
        Self {
            before: strata
                .map(|stratum| Class::ALL.map(|class| count(stratum, class)))
                .collect(),
        }
    }

    /// The item of two ordered pairs.
    pub fn item(&self, space: &Space, ordered: [[u32; 2]; 2]) -> Option<Item> {
        let plain = space.item(&ordered)?;
        let [color, motion] = ordered.map(Pair::of);
        let [at_color, at_motion] = [space.pairs.place(color)?, space.pairs.place(motion)?];
        let sides = ordered.map(|[left, right]| right > left);
        if at_color.stratum != at_motion.stratum || sides[0] == sides[1] {
            return Some(plain);
        }
        let color_decides = color.difference > motion.difference;
        let (first, second) = if color_decides {
            (at_color, at_motion)
        } else {
            (at_motion, at_color)
        };
        let stratum = usize::from(first.stratum);
        let before = &self.before[stratum][first.class as usize];
        Some(Item {
            class: first.class,
            group: group(space, stratum, sides[0], color_decides),
            index: before[first.rank as usize] + u64::from(second.rank),
        })
    }

    /// The sizes of the groups that follow those of the space.
    pub fn sizes(&self, class: Class) -> Vec<u64> {
        let total = |counts: &[Vec<u64>; 3]| {
            let before = &counts[class as usize];
            [before[before.len() - 1]; 4]
        };
        self.before.iter().flat_map(total).collect()
    }

    /// The groups of incongruent trials with both differences in this stratum and
    /// this answer.
    pub fn groups_of(&self, space: &Space, stratum: usize, right: bool) -> [usize; 2] {
        [
            group(space, stratum, right, true),
            group(space, stratum, !right, false),
        ]
    }
}

/// The group of a stratum, the side of color, and whether color decides.
fn group(space: &Space, stratum: usize, color_right: bool, color_decides: bool) -> usize {
    let within = 2 * usize::from(color_right) + usize::from(color_decides);
    space.count() + 4 * stratum + within
}
