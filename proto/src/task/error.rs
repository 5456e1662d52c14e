//! What can be wrong with a task as a sweep states it, or with a tokenizer for it.

/// A task that cannot be run as it is stated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// No such task.
    #[error("task.name: there is no task {name:?} (known: {known})")]
    UnknownTask {
        /// What the spec says.
        name: String,
        /// The registry's names.
        known: String,
    },
    /// No such template.
    #[error("task.template: {task} has no template {name:?} (known: {known})")]
    UnknownTemplate {
        /// The task.
        task: &'static str,
        /// What the spec says.
        name: String,
        /// The task's templates.
        known: String,
    },
    /// A template that can't be read.
    #[error("task.template: {0}")]
    Wording(super::wording::WordingError),
    /// An option that the task has no use for.
    #[error("task.{option}: the task {task} has no such option")]
    NoSuchOption {
        /// The task.
        task: &'static str,
        /// The key.
        option: &'static str,
    },
    /// The splits are not what they must be.
    #[error(
        "task.splits: must begin with val and test_iid, and name each split once, in the order of the documentation"
    )]
    Splits,
    /// The range is too short for the rule of the task.
    #[error("task.range: [{low}, {high}] is too short for the task {task}: {need}")]
    ShortRange {
        /// The task.
        task: &'static str,
        /// Smallest number.
        low: u32,
        /// Largest number.
        high: u32,
        /// What it takes.
        need: &'static str,
    },
    /// The range of numbers is empty or too long.
    #[error("task.range: [{low}, {high}] must ascend and end at {max} or below")]
    Range {
        /// Smallest number.
        low: u32,
        /// Largest number.
        high: u32,
        /// Largest number that is allowed.
        max: u32,
    },
    /// There is no bin at all.
    #[error("task.bins: at least one bin of differences is needed, as in [[1, 4], [5, 16]]")]
    NoBins,
    /// A bin is empty, starts at 0, or overlaps the one before it.
    #[error("task.bins[{index}]: [{low}, {high}] {problem}")]
    Bin {
        /// Position in the list.
        index: usize,
        /// Smallest difference.
        low: u32,
        /// Largest difference.
        high: u32,
        /// What is wrong.
        problem: &'static str,
    },
    /// A bin holds differences that the range does not have.
    #[error(
        "task.bins[{index}]: a difference of {high} (bin [{low}, {high}]) is not possible within \
         task.range [{range_low}, {range_high}], whose largest is {largest}: widen the range or \
         lower the bin"
    )]
    BinBeyondRange {
        /// Position in the list.
        index: usize,
        /// The bin's smallest difference.
        low: u32,
        /// The bin's largest difference.
        high: u32,
        /// The range's smallest number.
        range_low: u32,
        /// The range's largest number.
        range_high: u32,
        /// The largest difference that the range has.
        largest: u32,
    },
    /// The number of evaluation trials is not a positive multiple of the cells.
    #[error(
        "task.eval_trials: {eval_trials} must be a multiple of the {cells} cells of the design, \
         as {nearest} is, so that every cell counts the same"
    )]
    EvalTrials {
        /// What the spec says.
        eval_trials: u32,
        /// Cells of the task's design.
        cells: usize,
        /// The next multiple.
        nearest: usize,
    },
    /// A fixed training set without trials.
    #[error("task.train: a fixed training set needs at least one trial")]
    EmptyTrain,
    /// A cell has too few distinct trials for a split.
    #[error(
        "{split}: the cell {cell:?} has {possible} distinct trials for it, {wanted} are wanted; \
         at most {most} trials are possible in all: lower {field}, or widen task.range or \
         task.bins"
    )]
    TooFewTrials {
        /// The split, or "train".
        split: &'static str,
        /// The scarcest cell, in words.
        cell: String,
        /// Distinct trials that the cell has for this split.
        possible: u64,
        /// Trials that the spec wants of it.
        wanted: u64,
        /// Trials of the split with every cell filled equally.
        most: u64,
        /// The field of the spec that asks for them.
        field: &'static str,
    },
    /// A slot's text is not exactly one token.
    #[error(
        "template {template}: {text:?} in slot {slot:?} is {count} tokens ({tokens}) under the \
         tokenizer ({tokenizer}), and must be one: choose a range or wording that it has as \
         single tokens, or another base"
    )]
    SlotTokens {
        /// The template.
        template: String,
        /// The slot.
        slot: &'static str,
        /// Its text.
        text: String,
        /// How many tokens.
        count: usize,
        /// The tokens themselves.
        tokens: String,
        /// The tokenizer, in words.
        tokenizer: String,
    },
    /// The two answers are the same token.
    #[error(
        "the answers {left:?} and {right:?} are the same token under the tokenizer ({tokenizer})"
    )]
    EqualAnswers {
        /// Left answer.
        left: String,
        /// Right answer.
        right: String,
        /// The tokenizer, in words.
        tokenizer: String,
    },
    /// The whole prompt is tokenised otherwise than its segments.
    #[error(
        "template {template}: the prompt {text:?} is not tokenised as its segments are, from \
         token {position} on, under the tokenizer ({tokenizer}): slot positions would be wrong"
    )]
    Boundary {
        /// The template.
        template: String,
        /// The prompt.
        text: String,
        /// First token that differs.
        position: usize,
        /// The tokenizer, in words.
        tokenizer: String,
    },
    /// `bos` is wanted and the tokenizer has none.
    #[error(
        "task.bos: the tokenizer ({tokenizer}) has no beginning-of-sequence token (looked for \
         {candidates}): set bos: false"
    )]
    NoBos {
        /// The tokenizer, in words.
        tokenizer: String,
        /// The names that were tried.
        candidates: String,
    },
    /// The prompt does not fit into the network.
    #[error(
        "template {template}: its prompts are {tokens} tokens long, the network has {positions} \
         positions: choose a shorter template or a base with more positions"
    )]
    TooLong {
        /// The template.
        template: String,
        /// Length of every prompt.
        tokens: usize,
        /// Positions of the network.
        positions: usize,
    },
    /// The tokenizer itself failed.
    #[error("the tokenizer ({tokenizer}) could not encode {text:?}: {message}")]
    Encode {
        /// The text.
        text: String,
        /// What it said.
        message: String,
        /// The tokenizer, in words.
        tokenizer: String,
    },
}
