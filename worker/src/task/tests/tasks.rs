//! Templates and tasks as tokens.

use seedbed_proto::job::{OwnTemplate, Template};
use seedbed_proto::task::registry::TASKS;

use super::*;

fn text(prompt: &[u32]) -> String {
    tokenizer().decode(prompt, false).expect("decodable")
}

/// The words that a base's tokenizer was given hold every word of every wording.
#[test]
fn the_vocabulary_holds_every_word_of_every_task() {
    let (tokenizer, words) = (tokenizer(), vocabulary());
    for task in TASKS {
        let cells = kind(&every_split(task.name, 1)).cells() as u32;
        for (template, _) in task.templates {
            let mut spec = every_split(task.name, cells);
            spec.template = (*template).into();
            let prepared = prepare(&spec);
            let batch = prepared.train_batch(0, 0, cells as usize);
            let others = prepared.eval_splits().iter().flat_map(|split| &split.ids);
            for &id in batch.ids.iter().chain(others) {
                let text = tokenizer.decode(&[id], false).expect("decodable");
                let mark = text.chars().all(|c| c.is_ascii_punctuation());
                assert!(
                    mark || words.contains(&text),
                    "{} {template}: {text:?}",
                    task.name
                );
            }
        }
    }
}

#[test]
fn a_template_of_ones_own_is_a_template() {
    let mut spec = every_split("ctxdm", 72);
    let own = |text: &str| {
        Template::Own(OwnTemplate {
            text: text.into(),
            answers: Some(["no", "yes"].map(str::to_owned)),
            cues: None,
        })
    };
    spec.template = own(
        "Compare {cue}. {Color}: {color_left}, {color_right}. {Motion}: {motion_left}, \
         {motion_right}. Is more on the right?",
    );
    let prepared = prepare(&spec);
    assert_eq!(prepared.notes(), []);
    let split = &prepared.eval_splits()[0];
    let read = text(&split.ids[..split.prompt_len]);
    let start = ["Compare color. Color: ", "Compare motion. Color: "];
    assert!(start.iter().any(|s| read.starts_with(s)), "{read}");
    let answers = prepared.answers().map(|id| text(&[id]));
    assert_eq!(answers, [" no", " yes"]);
    // The other wording answers as the task does.
    let template = prepared
        .eval_splits()
        .iter()
        .find(|s| s.name == "test_template");
    let answers = template.expect("there is T0").answers.map(|id| text(&[id]));
    assert_eq!(answers, [" left", " right"]);

    // With its words in the text, they can't be exchanged.
    spec.template = own(
        "Compare {cue}. Color: {color_left}, {color_right}. Motion: {motion_left}, \
         {motion_right}. Is more on the right?",
    );
    let prepared = prepare(&spec);
    assert_eq!(prepared.notes().len(), 1);
    assert!(
        prepared.notes()[0]
            .reason
            .contains("with {color} and {motion}")
    );

    spec.template = own("Compare {cue}. {color_left} {color_right} {motion_left}.");
    let error = Prepared::new(&spec, &tokenizer(), 64)
        .err()
        .expect("refused");
    assert!(
        error.to_string().contains("{motion_right} is missing"),
        "{error}"
    );
}

#[test]
fn a_delay_is_as_long_as_it_is_asked_to_be() {
    let length = |delay| {
        let mut spec = every_split("delaydm", 72);
        spec.delay = delay;
        prepare(&spec).prompt_len()
    };
    assert_eq!(length(Some(20)) - length(None), 12);
}
