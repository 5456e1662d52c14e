//! Wordings of the tasks.
//!
//! A template is a list of pieces, never one string: so the token position of
//! every slot is known exactly, and all prompts of a template have one length.

use super::registry::{Slot, Trial};

/// One piece of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The same in every trial.
    Text(&'static str),
    /// Varies; the index of a slot of the task.
    Slot(usize),
}

/// A wording.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    /// Name in the spec.
    pub name: &'static str,
    /// The prompt, in order. Each slot stands there once.
    pub pieces: &'static [Piece],
}

/// A piece of one trial's prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The slot that it fills, if it fills one.
    pub slot: Option<&'static str>,
    /// Its text.
    pub text: &'a str,
}

impl Template {
    /// The prompt of a trial, segment by segment.
    pub fn segments<'a>(&self, slots: &'a [Slot], trial: &Trial) -> Vec<Segment<'a>> {
        let segment = |piece: &Piece| match *piece {
            Piece::Text(text) => Segment { slot: None, text },
            Piece::Slot(index) => {
                let slot = &slots[index];
                Segment {
                    slot: Some(slot.name),
                    text: &slot.choices[trial.fills[index] as usize],
                }
            }
        };
        self.pieces.iter().map(segment).collect()
    }
}

/// Templates of `ctxdm`.
pub mod ctxdm {
    use super::Piece::{Slot, Text};
    use super::Template;

    /// Slot of the cue.
    pub const CUE: usize = 0;

    /// Slot of a number: dimension 0 is color, side 0 is left.
    pub const fn number(dimension: usize, side: usize) -> usize {
        1 + 2 * dimension + side
    }

    const COLOR: [usize; 2] = [number(0, 0), number(0, 1)];
    const MOTION: [usize; 2] = [number(1, 0), number(1, 1)];

    /// T0 is the default. T1 to T3 name the rule last, T3 swaps the sides too.
    pub const TEMPLATES: &[Template] = &[
        Template {
            name: "T0",
            pieces: &[
                Text("Rule:"),
                Slot(CUE),
                Text(". Left: color"),
                Slot(COLOR[0]),
                Text(", motion"),
                Slot(MOTION[0]),
                Text(". Right: color"),
                Slot(COLOR[1]),
                Text(", motion"),
                Slot(MOTION[1]),
                Text(". Answer:"),
            ],
        },
        Template {
            name: "T1",
            pieces: &[
                Text("The left patch has color"),
                Slot(COLOR[0]),
                Text(" and motion"),
                Slot(MOTION[0]),
                Text(". The right patch has color"),
                Slot(COLOR[1]),
                Text(" and motion"),
                Slot(MOTION[1]),
                Text(". The side with more"),
                Slot(CUE),
                Text(" is the"),
            ],
        },
        Template {
            name: "T2",
            pieces: &[
                Text("Color: left"),
                Slot(COLOR[0]),
                Text(", right"),
                Slot(COLOR[1]),
                Text(". Motion: left"),
                Slot(MOTION[0]),
                Text(", right"),
                Slot(MOTION[1]),
                Text(". Compare"),
                Slot(CUE),
                Text(". Answer:"),
            ],
        },
        Template {
            name: "T3",
            pieces: &[
                Text("On the right, motion is"),
                Slot(MOTION[1]),
                Text(" and color is"),
                Slot(COLOR[1]),
                Text(". On the left, motion is"),
                Slot(MOTION[0]),
                Text(" and color is"),
                Slot(COLOR[0]),
                Text(". Which side has more"),
                Slot(CUE),
                Text("? The"),
            ],
        },
    ];
}
