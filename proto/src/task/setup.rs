//! From a spec to a task: its wording, words, numbers and what is held out.

use super::definition::{Cues, Definition};
use super::error::TaskError;
use super::generator::Bins;
use super::pairs::Held;
use super::registry::{TaskKind, definition};
use super::wording::{Names, Wording};
use crate::job::{OwnTemplate, Task, Template};

/// Everything that a task is made from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The wording.
    pub wording: Wording,
    /// Left and right answer, as they follow the prompt.
    pub answers: [String; 2],
    /// What stands in the cue's slot, as it stands there.
    pub cues: [String; 2],
    /// Range and bins.
    pub bins: Bins,
    /// Whether there are trials without evidence on the irrelevant dimension.
    pub neutral: bool,
    /// What is kept from training.
    pub held: Held,
}

/// The range, words and wording of prompts, where they are not those of training.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Variant {
    /// Another range.
    pub range: Option<[u32; 2]>,
    /// Another wording.
    pub template: Option<Template>,
    /// Other cue words.
    pub words: Option<[String; 2]>,
}

/// Makes the task that a spec names, in a variant of it.
///
/// # Errors
/// If there is no such task, or its template, range, bins or words are wrong.
pub fn build(spec: &Task, variant: &Variant, held: Held) -> Result<Box<dyn TaskKind>, TaskError> {
    let definition = definition(&spec.name)?;
    let template = variant.template.as_ref().unwrap_or(&spec.template);
    let [low, high] = variant.range.unwrap_or(spec.range);
    let bins = if definition.has_bins {
        spec.bins.clone()
    } else {
        vec![[1, high.saturating_sub(low).max(1)]]
    };
    let bins = Bins::new([low, high], &bins)?;
    if spec.neutral && !definition.has_neutral {
        return Err(TaskError::NoSuchOption {
            task: definition.name,
            option: "neutral",
        });
    }
    if spec.delay.is_some() && !definition.has_delay {
        return Err(TaskError::NoSuchOption {
            task: definition.name,
            option: "delay",
        });
    }
    let own = match template {
        Template::Own(own) => Some(own),
        Template::Named(_) => None,
    };
    let words = words(definition, own, variant);
    let wording = wording(definition, template, &words, spec.delay.unwrap_or(DELAY))?;
    let answers = own.and_then(|own| own.answers.clone());
    let answers = answers.unwrap_or_else(|| definition.answers.map(str::to_owned));
    (definition.build)(Setup {
        wording,
        answers: answers.map(|answer| format!(" {answer}")),
        cues: words.map(|cue| format!(" {cue}")),
        bins,
        neutral: spec.neutral,
        held,
    })
}

/// Filler tokens of a delay, unless the spec says how many.
pub const DELAY: u32 = 8;

/// The filler of a delay.
const FILLER: &str = "wait";

/// What the cue says; for tasks whose cues are their dimensions, their words too.
fn words(definition: &Definition, own: Option<&OwnTemplate>, variant: &Variant) -> [String; 2] {
    let plain = match definition.cues {
        Cues::None => [""; 2],
        Cues::Dimensions(words, _) | Cues::Words(words, _) => words,
    };
    let stated = variant
        .words
        .clone()
        .or_else(|| own.and_then(|own| own.cues.clone()));
    stated.unwrap_or_else(|| plain.map(str::to_owned))
}

fn wording(
    definition: &Definition,
    template: &Template,
    words: &[String; 2],
    delay: u32,
) -> Result<Wording, TaskError> {
    let (name, text) = text(definition, template)?;
    let by_cue = matches!(definition.cues, Cues::Dimensions(..));
    let word = |(at, name): (usize, &&'static str)| {
        let word = if by_cue {
            words[at].clone()
        } else {
            (*name).to_owned()
        };
        (*name, word)
    };
    let dimensions: Vec<_> = definition.dimensions.iter().enumerate().map(word).collect();
    let filler = vec![FILLER; delay as usize].join(" ");
    let names = Names {
        slots: definition.slots,
        dimensions: &dimensions,
        delay: definition.has_delay.then_some(filler.as_str()),
    };
    Wording::parse(name, text, names).map_err(TaskError::Wording)
}

/// Name and text of a template.
///
/// # Errors
/// If the task has none of this name.
pub fn text<'a>(
    definition: &Definition,
    template: &'a Template,
) -> Result<(&'a str, &'a str), TaskError> {
    let name = match template {
        Template::Own(own) => return Ok(("own", &own.text)),
        Template::Named(name) => name,
    };
    let found = definition.templates.iter().find(|(known, _)| known == name);
    match found {
        Some((known, text)) => Ok((known, text)),
        None => Err(TaskError::UnknownTemplate {
            task: definition.name,
            name: name.clone(),
            known: definition
                .templates
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}
