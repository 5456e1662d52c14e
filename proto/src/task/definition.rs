//! What a task says of itself before anything is chosen: the sweep language, its
//! schema and the messages are made from it.

use super::error::TaskError;
use super::registry::{Setup, TaskKind};

/// What a task is before anything is chosen.
#[derive(Debug)]
pub struct Definition {
    /// Name in sweep files.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Wordings by name, as [`super::wording`] reads them; the first is the default.
    pub templates: &'static [(&'static str, &'static str)],
    /// The slots, in the order of a trial's fills.
    pub slots: &'static [&'static str],
    /// Of these, the ones that say which rule holds; they can be blanked.
    pub cue_slots: &'static [&'static str],
    /// The shortcuts that read them: they say nothing where cues are blanked.
    pub cued_shortcuts: &'static [&'static str],
    /// Left and right answer ("right" is the one that positive evidence asks for).
    pub answers: [&'static str; 2],
    /// The words for its dimensions, which are their names in braces too.
    pub dimensions: &'static [&'static str],
    /// What the cue can say.
    pub cues: Cues,
    /// Whether filler stands between evidence and answer.
    pub has_delay: bool,
    /// Whether `bins` sort its differences; else they must not be stated.
    pub has_bins: bool,
    /// Whether there are trials without evidence on the irrelevant dimension.
    pub has_neutral: bool,
    /// Whether it has incongruent trials: the primary measure is over them.
    pub has_congruency: bool,
    /// Whether its rule is the same over another range of numbers.
    pub shifts: bool,
    /// Makes the task.
    pub build: fn(Setup) -> Result<Box<dyn TaskKind>, TaskError>,
}

impl Definition {
    /// The slots in which numbers stand.
    pub fn number_slots(&self) -> Vec<&'static str> {
        let words = |name: &&str| !name.ends_with("cue") && !name.ends_with("answer");
        self.slots
            .iter()
            .copied()
            .filter(|name| words(name))
            .collect()
    }
}

/// What the cue of a task can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cues {
    /// There is no cue.
    None,
    /// The words of the two dimensions, and unseen ones in their place.
    Dimensions([&'static str; 2], [&'static str; 2]),
    /// These words, and unseen ones that mean the same, if there are any.
    Words([&'static str; 2], Option<[&'static str; 2]>),
}
