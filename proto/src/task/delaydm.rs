//! `ctxdm` with filler between the evidence and the answer: what was read must be
//! held.

use super::ctxdm::{self, CUES, DIMENSIONS, Rule, SLOTS};
use super::error::TaskError;
use super::registry::{Definition, Setup, TaskKind};

/// The task.
pub const DEFINITION: Definition = Definition {
    name: "delaydm",
    about: "ctxdm with filler between the evidence and the answer",
    templates: &[
        (
            "T0",
            "Rule: {cue}. Left: {color} {color_left}, {motion} {motion_left}. Right: {color} \
             {color_right}, {motion} {motion_right}. {delay}. Answer:",
        ),
        (
            "T1",
            "The left patch has {color} {color_left} and {motion} {motion_left}. The right patch \
             has {color} {color_right} and {motion} {motion_right}. {delay}. The side with more \
             {cue} is the",
        ),
    ],
    slots: SLOTS,
    cue_slots: &["cue"],
    cued_shortcuts: &["tens_digit"],
    answers: ["left", "right"],
    dimensions: &DIMENSIONS,
    cues: CUES,
    has_delay: true,
    has_bins: true,
    has_neutral: true,
    has_congruency: true,
    shifts: true,
    build: make,
};

fn make(setup: Setup) -> Result<Box<dyn TaskKind>, TaskError> {
    ctxdm::build(&DEFINITION, Rule::Gate, setup)
}
