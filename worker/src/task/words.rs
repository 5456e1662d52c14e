//! The words that a tokenizer made here must hold as single tokens.
//!
//! A slot that is not one token is an error, so a base whose tokenizer is
//! trained here is given the words of every task and template beforehand, those
//! that come later included: a base is trained once, and its results must stay
//! comparable when tasks are added.

/// Largest number that has a single token of its own, with a space before it.
/// In GPT-2's own vocabulary 361 is the last number before the first gap.
pub const NUMBER_MAX: u32 = 361;

/// Words that follow a space: answers and sides; dimensions, the two of training
/// and then cue words that are never trained; the wording of the templates; cues
/// of other tasks (which way, both together, which rule); fillers of delays.
const INNER: [&str; 5] = [
    "left right Left Right yes no same different match go stop",
    "color motion Color Motion size shape speed brightness weight height width length depth age \
     number sound heat price score Size Shape Speed Brightness Weight Height",
    "Rule Answer The the patch has and side with more is On Which Compare",
    "less larger smaller greater fewer higher lower both sum total either first second next old \
     new task A B odd even low high small large category group sample test Sample Test Task",
    "wait Wait pause then now so still one two",
];

/// Words that can open a text, without a space before them.
const OPENING: &str = "Rule The Color Motion On Left Right Compare Which Task Sample Size Shape \
                       Speed Brightness";

/// Every string that stands in a slot, an answer or the wording of a task, as it
/// is tokenised in its place (with the space before it, unless it opens the
/// text), then the numbers " 0" … " 361". No string stands there twice.
pub fn vocabulary() -> Vec<String> {
    let inner = INNER
        .iter()
        .flat_map(|words| words.split_whitespace())
        .map(|word| format!(" {word}"));
    let opening = OPENING.split_whitespace().map(str::to_owned);
    let numbers = (0..=NUMBER_MAX).map(|n| format!(" {n}"));
    inner.chain(opening).chain(numbers).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_string_stands_there_twice() {
        let words = vocabulary();
        let distinct: BTreeSet<_> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
        assert!(distinct.contains(&" 361".to_owned()));
    }
}
