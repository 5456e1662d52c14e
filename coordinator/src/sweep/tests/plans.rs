//! Properties of the expansion, and what a sweep is said to take.

use std::collections::BTreeSet;

use proptest::prelude::*;
use seedbed_proto::job::{Base, DeviceKind, Dtype, Keep, Ops, TrainSet, Work};

use super::{files, jobs, tiny};
use crate::sweep::{expand, parse, plan};

#[test]
fn specs_are_complete() {
    let text = tiny(
        "task: {train: 1440}\ntrain: {steps: 40, learning_rate: 0.001}\n\
         engine: {micro_batch: 256}\nkeep: {weights: selected, checkpoints: matched}\n\
         axes: {seed: [5], init: [scratch], frozen: [{all_but: [2, 0]}]}",
    );
    let jobs = jobs(&text);
    let [job] = jobs.as_slice() else {
        panic!("{jobs:?}")
    };
    let Work::Train(train) = &job.spec.work else {
        panic!("{job:?}")
    };
    assert_eq!(
        (job.spec.engine.device, job.spec.engine.ops),
        (DeviceKind::Cpu, Ops::Fused)
    );
    // No larger than the batch, so that one computation has one key.
    assert_eq!(
        (job.spec.engine.dtype, job.spec.engine.micro_batch),
        (Dtype::F32, 64)
    );
    assert_eq!(train.task.train, TrainSet::Fixed(1440));
    assert_eq!((train.optim.warmup, train.optim.beta2), (40, 0.999));
    assert_eq!(train.keep, Keep::Matched);
    assert_eq!(train.seed, 5);
    // A scratch network takes its shape and tokenizer from the base.
    assert!(matches!(train.base, Base::Files(_)));
    let point = job.point.as_ref().expect("a training job");
    let point = serde_json::to_string(point).expect("plain values");
    assert_eq!(
        point,
        r#"{"frozen":{"all_but":[0,2]},"init":"scratch","learning_rate":0.001,"seed":5}"#
    );
}

#[test]
fn a_gpu_gets_the_composite_path() {
    let text = tiny("train: {learning_rate: 0.001}\nengine: {device: cuda}\naxes: {seed: [0]}");
    let engine = jobs(&text)[0].spec.engine;
    assert_eq!(
        (engine.device, engine.ops),
        (DeviceKind::Cuda, Ops::Composite)
    );
}

#[test]
fn whole_seeds_come_first() {
    let text = tiny(
        "axes: {seed: [3, 1], init: [pretrained, scratch], learning_rate: [0.001]}\n---\naxes: {seed: [1, 3, 2], init: [shuffled], learning_rate: [0.001]}",
    );
    let seeds: Vec<_> = jobs(&text)
        .iter()
        .map(|j| j.point.as_ref().expect("training")["seed"].clone())
        .collect();
    assert_eq!(seeds, [3, 3, 3, 1, 1, 1, 2]);
}

/// Texts with axes of random lengths, conditions and further documents.
fn sweeps() -> impl Strategy<Value = String> {
    (1u64..5, 1usize..4, 1usize..4, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(seeds, inits, rates, conditional, included, twice)| {
            let inits = ["pretrained", "scratch", "shuffled"][..inits].join(", ");
            let rates = ["1e-3", "2e-3", "5e-4"][..rates].join(", ");
            let when = if conditional { ", when: {init: pretrained}" } else { "" };
            let include = if included { "include: [{init: blocks_only}]\n" } else { "" };
            let second = if twice { "---\naxes: {init: [scratch], learning_rate: [1e-3]}" } else { "" };
            tiny(&format!(
                "axes:\n  seed: {{count: {seeds}}}\n  init: [{inits}]\n  learning_rate: [{rates}]\n  \
                 frozen: {{values: [none, {{prefix: 1}}]{when}}}\n{include}{second}"
            ))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn expansion_is_deterministic_and_keys_are_unique(text in sweeps()) {
        let (first, second) = (jobs(&text), jobs(&text));
        prop_assert_eq!(&first, &second);
        let keys: BTreeSet<_> = first.iter().map(|j| j.key).collect();
        prop_assert_eq!(keys.len(), first.len());
        for job in &first {
            prop_assert_eq!(job.key, job.spec.key());
        }
    }

    #[test]
    fn further_seeds_only_add_jobs(text in sweeps(), more in 5u64..8) {
        let seeds = text.find("count: ").expect("every text has one") + 7;
        let longer = format!("{}{more}{}", &text[..seeds], &text[seeds + 1..]);
        let keys = |text: &str| jobs(text).iter().map(|j| j.key).collect::<BTreeSet<_>>();
        prop_assert!(keys(&longer).is_superset(&keys(&text)));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z:{}\\[\\],\\n 0-9&*!|>'\"#-]{0,80}") {
        if let Err(errors) = parse("f", &text) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn any_change_of_a_file_is_read_or_refused(at in 0usize..4000, text in "[ -~\\n]{0,3}", cut in 0usize..5) {
        let whole = include_str!("mistakes.yaml");
        let at = at % whole.len();
        let end = (at + cut).min(whole.len());
        let changed = format!("{}{text}{}", &whole[..at], &whole[end..]);
        prop_assert!(parse("f", &changed).is_err());
    }
}

#[test]
fn a_hundred_thousand_jobs_stream() {
    let text = tiny(
        "axes: {seed: {count: 1000}, learning_rate: {log: [1e-5, 1e-2, 50]}, init: [pretrained, scratch]}",
    );
    let sweep = parse("f", &text).expect("a right file");
    assert_eq!(sweep.points(), 100_000);
    let jobs = expand(&sweep, &files(&sweep)).expect("the files are there");
    // Only what is held from one job to the next would grow.
    assert!(format!("{jobs:?}").contains("seen: None"));
    assert_eq!(
        jobs.take(20_000).filter(|j| j.point.is_some()).count(),
        20_000
    );
}

#[test]
fn a_plan_says_what_a_sweep_takes() {
    let text = "name: study\nmodel: {hub: openai-community/gpt2}\n\
        keep: {weights: selected}\n\
        axes: {seed: {count: 2}, init: [pretrained, scratch], learning_rate: [1e-4, 1e-3]}";
    let sweep = parse("f", text).expect("a right file");
    let files = files(&sweep);
    let keys: Vec<_> = expand(&sweep, &files)
        .expect("no files")
        .map(|j| j.key)
        .collect();
    let jobs = expand(&sweep, &files).expect("no files");
    let plan = plan(&sweep, &files, jobs, |key| *key == keys[1]);
    assert_eq!((plan.jobs, plan.jobs_done, plan.seeds), (9, 1, 2));
    assert_eq!(
        plan.jobs_by_arm,
        [("pretrained".to_owned(), 4), ("scratch".to_owned(), 4)]
    );
    assert_eq!((plan.steps, plan.steps_left), (24_000, 21_000));
    // The base, and one of two rates of each arm and seed.
    let weights = 4 * 124_439_808;
    assert_eq!(plan.stored_bytes, weights * 5);
    assert_eq!(plan.stored_bytes_peak, weights * 9);
    insta::assert_snapshot!(without_keys(&plan.render()));
}

#[test]
fn a_plan_counts_the_bytes_of_every_kept_step() {
    let bytes = |checkpoints: &str| {
        let text = format!(
            "name: study\nmodel: {{hub: openai-community/gpt2}}\n\
             train: {{steps: 1000, learning_rate: 0.001}}\n\
             keep: {{weights: all, checkpoints: {checkpoints}}}\naxes: {{seed: [1]}}"
        );
        let sweep = parse("f", &text).expect("a right file");
        let files = files(&sweep);
        let jobs = expand(&sweep, &files).expect("no files");
        plan(&sweep, &files, jobs, |_| false).stored_bytes / (4 * 124_439_808)
    };
    // The base, the run's last weights, and those on the way.
    assert_eq!(bytes("final"), 2);
    assert_eq!(bytes("[0, 10, 30, 100, 300]"), 7);
    assert_eq!(bytes("[0, 1000]"), 3, "the last step's are there anyway");
    assert_eq!(bytes("all"), 8, "matched, and five on the way");
}

/// Job keys change with every change of the spec; the rest is for people.
fn without_keys(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("  ") {
        Some(rest) if rest.len() > 12 && rest[..12].bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("  ………… {}\n", &rest[12..])
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_large_hostile_file_is_answered_at_once() {
    let text = tiny(&format!("axes: {{init: [{}]}}", "x,".repeat(200_000)));
    let errors = parse("f", &text).expect_err("200,000 mistakes");
    assert!(
        errors.to_string().contains("more than 200000 values"),
        "{errors}"
    );
    let text = tiny(&format!("axes: {{init: [{}]}}", "x,".repeat(100_000)));
    let errors = parse("f", &text).expect_err("100,000 mistakes");
    assert!(errors.to_string().contains("1000 problems or more"));
    let text = "[".repeat(100_000);
    assert!(parse("f", &text).is_err());
    let text = "#".repeat(2 << 20);
    assert!(
        parse("f", &text)
            .expect_err("too long")
            .to_string()
            .contains("at most")
    );
}
