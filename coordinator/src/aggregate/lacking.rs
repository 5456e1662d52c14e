//! What results do not hold, and why, each reason once with the runs that give it.

use std::collections::BTreeMap;

use crate::results::Run;

/// One line for each place and reason: `test_number: has 72 trials … (12 runs)`.
/// What is said of a whole split stands before what is said of one of its measures.
pub(super) fn lines(runs: &[&Run]) -> Vec<String> {
    let mut counts: BTreeMap<(bool, &str, &str), usize> = BTreeMap::new();
    for note in runs.iter().flat_map(|run| &run.notes) {
        let of_measure = note.place.contains(' ');
        *counts
            .entry((of_measure, &note.place, &note.reason))
            .or_default() += 1;
    }
    let line = |((_, place, reason), count): ((bool, &str, &str), usize)| {
        let runs = if count == 1 { "run" } else { "runs" };
        format!("{place}: {reason} ({count} {runs})")
    };
    counts.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use seedbed_proto::result::Note;

    use super::*;
    use crate::aggregate::fixture;

    #[test]
    fn each_reason_stands_there_once_with_its_runs() {
        let mut results = fixture::Fixture::default().results();
        for run in &mut results.runs {
            run.notes
                .push(Note::new("test_range_far", "no token for 362"));
        }
        for place in ["control_no_cue", "control_no_cue intrusion color"] {
            results.runs[0].notes.push(Note::new(place, "no cue"));
        }
        let runs: Vec<&Run> = results.runs.iter().collect();
        let all = format!("test_range_far: no token for 362 ({} runs)", runs.len());
        assert_eq!(
            lines(&runs),
            [
                "control_no_cue: no cue (1 run)".to_owned(),
                all,
                "control_no_cue intrusion color: no cue (1 run)".to_owned()
            ]
        );
    }
}
