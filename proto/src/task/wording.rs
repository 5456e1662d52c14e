//! Wordings of the tasks, written as text with slots in braces.
//!
//! `Rule: {cue}. Left: {color} {color_left}. …`: a slot varies from trial to
//! trial, and stands in the text once; `{color}`, `{Color}` and the like are the
//! task's dimension words (another pair of them for prompts with unseen words),
//! and `{delay}` its filler. A wording is kept as a list of pieces, never as one
//! string: so the token position of every slot is known exactly, and all prompts
//! of a wording have one length.

use super::registry::{Slot, Trial};

/// One piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The same in every trial.
    Text(String),
    /// Varies; the index of a slot of the task.
    Slot(usize),
}

/// A wording, its words filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// "T0", or "own" for one that stands in the sweep file.
    pub name: String,
    /// The prompt, in order. Each slot stands there once.
    pub pieces: Vec<Piece>,
}

/// A piece of one trial's prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The slot that it fills, if it fills one.
    pub slot: Option<&'static str>,
    /// Its text.
    pub text: &'a str,
}

/// What can stand in braces.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The slots of the task.
    pub slots: &'a [&'static str],
    /// What its dimensions are called in braces, and the words that stand for them.
    pub dimensions: &'a [(&'static str, String)],
    /// What `{delay}` stands for, for tasks that have one.
    pub delay: Option<&'a str>,
}

/// What is wrong with a wording, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at character {at} of {text:?})")]
pub struct WordingError {
    /// The text.
    pub text: String,
    /// Characters before the place.
    pub at: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Wording {
    /// Reads a wording.
    ///
    /// # Errors
    /// If a brace is not closed, a name is not one of the task's, a slot is missing,
    /// stands there twice or without a space before it, or the text ends with a
    /// space.
    pub fn parse(name: &str, text: &str, names: Names<'_>) -> Result<Self, WordingError> {
        let fail = |at: usize, problem: String| {
            Err(WordingError {
                text: text.to_owned(),
                at: text[..at].chars().count(),
                problem,
            })
        };
        let (mut pieces, mut plain) = (vec![], String::new());
        let mut seen = vec![false; names.slots.len()];
        let mut at = 0;
        while let Some(open) = text[at..].find(['{', '}']).map(|offset| at + offset) {
            plain.push_str(&text[at..open]);
            let close = text[open..].find('}').map(|offset| open + offset);
            let Some(close) = close.filter(|close| *close > open) else {
                return fail(open, "a brace that opens nothing or is not closed".into());
            };
            let word = &text[open + 1..close];
            if let Some(filled) = names.word(word) {
                plain.push_str(&filled);
            } else if let Some(slot) = names.slots.iter().position(|name| *name == word) {
                if seen[slot] {
                    return fail(open, format!("{{{word}}} stands there twice"));
                }
                seen[slot] = true;
                if plain.pop() != Some(' ') {
                    let problem = format!(
                        "{{{word}}} must follow a space: a token carries the space before it"
                    );
                    return fail(open, problem);
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Slot(slot));
            } else {
                let known = names.known().join(", ");
                return fail(
                    open,
                    format!("{{{word}}} is not known here (known: {known})"),
                );
            }
            at = close + 1;
        }
        plain.push_str(&text[at..]);
        if plain.ends_with(char::is_whitespace) {
            let problem = "the text ends with a space: the answer brings its own";
            return fail(text.len(), problem.into());
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        let missing: Vec<_> = (names.slots.iter().zip(&seen))
            .filter(|(_, seen)| !**seen)
            .map(|(name, _)| format!("{{{name}}}"))
            .collect();
        if !missing.is_empty() {
            let problem = format!(
                "{} is missing: each slot stands there once",
                missing.join(", ")
            );
            return fail(text.len(), problem);
        }
        Ok(Self {
            name: name.to_owned(),
            pieces,
        })
    }

    /// The prompt of a trial, segment by segment.
    pub fn segments<'a>(&'a self, slots: &'a [Slot], trial: &Trial) -> Vec<Segment<'a>> {
        let segment = |piece: &'a Piece| match piece {
            Piece::Text(text) => Segment { slot: None, text },
            Piece::Slot(index) => {
                let slot = &slots[*index];
                Segment {
                    slot: Some(slot.name),
                    text: &slot.choices[trial.fills[*index] as usize],
                }
            }
        };
        self.pieces.iter().map(segment).collect()
    }
}

impl Names<'_> {
    /// What a name in braces stands for, if it is no slot.
    fn word(&self, name: &str) -> Option<String> {
        if name == "delay" {
            return self.delay.map(str::to_owned);
        }
        self.dimensions.iter().find_map(|(dimension, word)| {
            if name == *dimension {
                Some(word.clone())
            } else {
                (name == capitalised(dimension)).then(|| capitalised(word))
            }
        })
    }

    fn known(&self) -> Vec<String> {
        let slots = self.slots.iter().map(|name| (*name).to_owned());
        let dimensions = self.dimensions.iter();
        let words = dimensions.flat_map(|(name, _)| [(*name).to_owned(), capitalised(name)]);
        let delay = self.delay.map(|_| "delay".to_owned());
        slots.chain(words).chain(delay).collect()
    }
}

/// Whether a text names its dimensions in braces, so that other words can take
/// their place.
pub fn names_dimensions(text: &str, dimensions: &[&str]) -> bool {
    dimensions.iter().all(|name| {
        text.contains(&format!("{{{name}}}"))
            || text.contains(&format!("{{{}}}", capitalised(name)))
    })
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Wording, WordingError> {
        let dimensions = [("color", "size".to_owned()), ("motion", "shape".to_owned())];
        let names = Names {
            slots: &["cue", "left"],
            dimensions: &dimensions,
            delay: Some("wait wait"),
        };
        Wording::parse("own", text, names)
    }

    #[test]
    fn a_text_falls_into_its_pieces() {
        let wording = parse("{Color}, {motion}: {cue}. {delay} {left} now").expect("readable");
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(
            wording.pieces,
            [
                text("Size, shape:"),
                Piece::Slot(0),
                text(". wait wait"),
                Piece::Slot(1),
                text(" now")
            ]
        );
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let check = |text: &str, at: usize, expect: &str| {
            let error = parse(text).expect_err("must be refused");
            assert_eq!(error.at, at, "{error}");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check("é {cue {left}", 2, "{cue {left} is not known");
        check("a {cue", 2, "not closed");
        check("a } {cue} {left}", 2, "opens nothing");
        check(
            "a {cue} {lefd}",
            8,
            "known: cue, left, color, Color, motion, Motion, delay",
        );
        check("a {cue} {left} {cue}", 15, "{cue} stands there twice");
        check("a{cue} {left}", 1, "must follow a space");
        check("{cue} {left}", 0, "must follow a space");
        check("a {cue} ", 8, "ends with a space");
        check("a {cue}", 7, "{left} is missing");
    }
}
