//! Probes: what is there is found, what is not is not, and nothing else counts.

use super::*;

/// All slots of T0, in its order.
const SLOTS: [&str; 6] = [
    "cue",
    "color_left",
    "motion_left",
    "color_right",
    "motion_right",
    "last",
];

impl Setting {
    fn with_items(mut self, items: usize) -> Self {
        self.items = items;
        self
    }
}

#[track_caller]
fn at(answer: &Answer, name: &str, depth: u32, slot: &str) -> f64 {
    let mut found = (answer.metrics.iter())
        .filter(|m| m.name == name && m.layer == Some(depth) && m.slot.as_deref() == Some(slot));
    let metric = found
        .next()
        .unwrap_or_else(|| panic!("no {name} of {depth} {slot}"));
    assert!(found.next().is_none(), "{name} of {depth} {slot} twice");
    metric.value
}

#[test]
fn what_a_token_says_is_decoded_where_it_stands_and_nowhere_before() {
    let answer = Setting::new().with_items(360).ask(Question::Probes);
    assert_eq!(at(&answer, "probe.cue.accuracy", 0, "cue"), 1.0);
    // Random embeddings of ten numbers in 16 dimensions: any function of the number.
    for name in ["color_left", "motion_right"] {
        let r2 = at(&answer, &format!("probe.{name}.r2"), 0, name);
        assert!(r2 > 0.99, "{name}: {r2}");
    }
    // Attention has carried the cue to what follows, embeddings have not.
    let before = at(&answer, "probe.cue.accuracy", 0, "color_left");
    assert!((0.35..0.65).contains(&before), "{before}");
    let after = at(&answer, "probe.cue.accuracy", LAYERS as u32, "color_left");
    assert!(after > 0.9, "{after}");
    // The cue comes before the numbers: none of them can be known there.
    for depth in 0..=LAYERS as u32 {
        let r2 = at(&answer, "probe.color_left.r2", depth, "cue");
        assert!(r2 < 0.05, "depth {depth}: {r2}");
    }
    // The last token of the prompt is always the same, so its embedding is.
    let constant = at(&answer, "probe.answer.accuracy", 0, "last");
    assert!((0.4..=0.6).contains(&constant), "{constant}");
}

#[test]
fn every_place_has_every_number() {
    let answer = Setting::new().with_items(144).ask(Question::Probes);
    for depth in 0..=LAYERS as u32 {
        for slot in SLOTS {
            for variable in ["cue", "answer", "sign_color", "sign_motion", "congruent"] {
                for what in [
                    "accuracy",
                    "control",
                    "selectivity",
                    "random",
                    "base",
                    "transfer",
                ] {
                    let value = at(&answer, &format!("probe.{variable}.{what}"), depth, slot);
                    assert!((-1.0..=1.0).contains(&value), "{variable}.{what}: {value}");
                }
                let crossed = format!("probe.{variable}.cross_context");
                match variable {
                    "cue" => assert!(answer.metrics.iter().all(|m| m.name != crossed)),
                    _ => assert!(at(&answer, &crossed, depth, slot) >= 0.0),
                }
            }
            let [score, control, difference] = ["accuracy", "control", "selectivity"]
                .map(|what| at(&answer, &format!("probe.answer.{what}"), depth, slot));
            near("selectivity", difference, score - control, 1e-12);
        }
    }
    assert_eq!(answer.notes, []);
}

#[test]
fn probes_of_the_same_network_transfer_without_loss() {
    let mut setting = Setting::new().with_items(144);
    setting.origin = subject(
        "the same",
        setting.config(),
        setting.subject.weights.clone(),
    );
    let answer = setting.ask(Question::Probes);
    for slot in SLOTS {
        let of = |what: &str| at(&answer, &format!("probe.answer.{what}"), 2, slot);
        assert_eq!(of("transfer"), of("accuracy"), "{slot}");
        assert_eq!(of("base"), of("accuracy"), "{slot}");
    }
}

#[test]
fn neither_threads_nor_memory_change_a_bit() {
    let setting = Setting::new().with_items(144);
    let whole = setting.ask(Question::Probes);
    // A few places of 144 trials of width 16 in 3 networks at a time, beside a batch of
    // prompts and what fits are done with.
    let little = setting
        .try_ask(Question::Probes, 1_600_000)
        .expect("an answer");
    assert_eq!(little, whole);
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    for threads in [1, 2] {
        let pool = pool(threads).expect("a pool");
        assert_eq!(
            pool.install(|| setting.ask(Question::Probes)),
            whole,
            "{threads} threads"
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_way_out() {
    let setting = Setting::new();
    for question in [Question::Probes, Question::Similarity, Question::Tdr] {
        let error = setting.try_ask(question, 10_000).expect_err("too little");
        let text = error.to_string();
        let way_out = match question {
            // It asks for the choices first, a batch at a time.
            Question::Tdr => "raise `inspect.memory_mib` to 1",
            _ => " or lower `inspect.items`",
        };
        assert!(text.contains(way_out), "{text}");
        assert_eq!(JobError::from(error).reason, FailureReason::Invalid);
    }
}

#[test]
fn what_is_said_to_suffice_suffices_and_no_less() {
    let setting = Setting::new();
    for question in [Question::Probes, Question::Similarity, Question::Tdr] {
        let fits = |bytes| setting.try_ask(question, bytes).is_ok();
        let enough = (1..64).map(|i| i << 16).find(|&bytes| fits(bytes));
        let enough = enough.expect("4 MiB are plenty");
        let error = setting.try_ask(question, enough - (1 << 16));
        let text = error.expect_err("too little").to_string();
        let said = format!("memory_mib` to {}", enough.div_ceil(1 << 20));
        assert!(text.contains(&said), "{enough} bytes suffice: {text}");
    }
}

#[test]
fn a_sequence_that_does_not_fit_is_refused_with_what_would() {
    let setting = Setting::new();
    for question in [Question::Lens, Question::Reversion, Question::Transplant] {
        let error = setting.try_ask(question, 10_000).expect_err("too little");
        let text = error.to_string();
        assert!(text.starts_with("one sequence of "), "{text}");
        assert!(text.ends_with("raise `inspect.memory_mib` to 1"), "{text}");
        assert_eq!(JobError::from(error).reason, FailureReason::Invalid);
    }
}

#[test]
fn too_few_pairs_of_numbers_have_no_folds_and_a_reason() {
    let mut setting = Setting::new().with_items(32);
    // Differences of 3 within 1 to 7: four unordered pairs.
    let spec = spec("T0", [1, 7], &[[3, 3]]);
    let mut spec = spec;
    spec.eval_trials = 16;
    setting.task = Prepared::new(&spec, &tokenizer(), 64).expect("a task");
    let split = setting
        .task
        .eval_splits()
        .iter()
        .find(|s| s.name == "test_iid");
    setting.split = split.expect("there is one").clone();
    let answer = setting.ask(Question::Probes);
    assert!(at(&answer, "probe.answer.accuracy", 1, "last").is_nan());
    let note = answer
        .notes
        .iter()
        .find(|n| n.place == "probe.answer.accuracy");
    let reason = &note.expect("a note").reason;
    assert!(
        reason.starts_with("too few different pairs of numbers"),
        "{reason}"
    );
    assert!(reason.ends_with("and 21 more places"), "{reason}");
}
