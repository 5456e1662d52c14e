//! What is true of GPT-2's own tokenizer.

use seedbed_proto::task::registry::TASKS;

use super::*;

/// GPT-2's tokenizer as far as the words of the tasks and the numbers up to 999
/// need it; see `gpt2/README.md`.
pub(super) fn gpt2() -> Tokenizer {
    Tokenizer::from_bytes(include_bytes!("gpt2/tokenizer.json")).expect("a tokenizer file")
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let encoding = tokenizer.encode_fast(text, false).expect("any text");
    encoding.get_ids().to_vec()
}

#[test]
fn numbers_up_to_361_are_single_tokens_and_505_of_the_first_thousand() {
    let tokenizer = gpt2();
    let single = |n: u32| ids(&tokenizer, &format!(" {n}")).len() == 1;
    assert!((0..=361).all(single));
    assert!(!single(362));
    assert_eq!((0..1000).filter(|&n| single(n)).count(), 505);
    // Ids are not in numeric order.
    let id = |n: u32| ids(&tokenizer, &format!(" {n}"))[0];
    assert!(!(0..=361).map(id).is_sorted());
    assert_eq!((id(0), id(361)), (657, 47744));
}

#[test]
fn answers_and_the_words_of_the_tasks_have_the_ids_of_gpt2() {
    let tokenizer = gpt2();
    for (text, id) in [
        (" left", 1364),
        (" right", 826),
        (" color", 3124),
        (" motion", 6268),
    ] {
        assert_eq!(ids(&tokenizer, text), [id], "{text:?}");
    }
    // All words but one, which no slot uses, are single tokens there too.
    let split: Vec<_> = vocabulary()
        .into_iter()
        .filter(|word| ids(&tokenizer, word).len() != 1)
        .collect();
    assert_eq!(split, [" Brightness", "Brightness"]);
}

#[test]
fn every_task_and_template_can_be_put_to_gpt2() {
    let tokenizer = gpt2();
    for task in TASKS {
        for (template, _) in task.templates {
            let mut spec = every_split(task.name, kind(&every_split(task.name, 1)).cells() as u32);
            spec.template = (*template).into();
            spec.bos = true;
            let prepared = Prepared::new(&spec, &tokenizer, 1024)
                .unwrap_or_else(|error| panic!("{} {template}: {error}", task.name));
            for note in prepared.notes() {
                let tokens = ["token", "tokenised"];
                assert!(!tokens.iter().any(|t| note.reason.contains(t)), "{note:?}");
            }
        }
    }
}

#[test]
fn a_range_that_gpt2_does_not_carry_is_left_out_with_its_reason() {
    let mut spec = every_split("ctxdm", 72);
    spec.test_far = Some([200, 362]);
    let prepared = Prepared::new(&spec, &gpt2(), 1024).expect("a spec that can be run");
    let names: Vec<_> = prepared
        .eval_splits()
        .iter()
        .map(|split| split.name)
        .collect();
    assert!(!names.contains(&"test_range_far") && names.contains(&"test_range_near"));
    let [note] = prepared.notes() else {
        panic!("one note: {:?}", prepared.notes());
    };
    assert_eq!(note.place, "test_range_far");
    assert!(note.reason.contains("\" 362\""), "{}", note.reason);
}
