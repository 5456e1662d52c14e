//! What a text means, and what is said of a wrong one.

use seedbed_proto::job::{self, Dtype, Keep, Ops, Pretrain, Work};

use super::{files, jobs, tiny};
use crate::sweep::{expand, parse};

/// The titles of the training jobs of the first seed, without what is the same
/// everywhere.
fn check(rest: &str, expected: &[&str]) {
    let text = tiny(rest);
    let found: Vec<_> = jobs(&text)
        .into_iter()
        .filter(|job| job.title.ends_with(" seed=0") || job.point.is_none())
        .map(|job| {
            let title = job.title.replace(" seed=0", "");
            title.replace(" frozen=none", "").replace(" lr=0.001", "")
        })
        .collect();
    assert_eq!(found, expected, "of\n{text}");
}

/// What is said of a wrong text: `line:column place: message`.
fn refuse(rest: &str, expected: &[&str]) {
    let text = tiny(rest);
    let errors = match parse("f", &text) {
        Err(errors) => errors,
        Ok(sweep) => expand(&sweep, &files(&sweep)).expect_err("must be refused"),
    };
    let found: Vec<_> = errors
        .problems()
        .iter()
        .map(|p| {
            let (line, column) = errors.position(p);
            // The two lines that `tiny` puts before.
            format!("{}:{column} {}: {}", line as i64 - 2, p.place, p.message)
        })
        .collect();
    assert_eq!(found, expected, "of\n{text}");
}

const ONE: &str = "train: {learning_rate: 0.001}\n";

#[test]
fn axes_are_crossed_in_the_order_of_the_file() {
    check(
        "axes: {seed: [0], init: [pretrained, scratch], learning_rate: [0.001, 0.002]}",
        &[
            "pretrained",
            "pretrained lr=0.002",
            "scratch",
            "scratch lr=0.002",
        ],
    );
    check(
        "axes: {learning_rate: [0.001, 0.002], init: [pretrained, scratch]}",
        &[
            "pretrained",
            "scratch",
            "pretrained lr=0.002",
            "scratch lr=0.002",
        ],
    );
}

#[test]
fn ranges_are_inclusive_and_round() {
    check(
        "axes: {learning_rate: {log: [1e-4, 1e-2, 5]}}",
        &[
            "pretrained lr=0.0001",
            "pretrained lr=0.000316",
            "pretrained",
            "pretrained lr=0.00316",
            "pretrained lr=0.01",
        ],
    );
    check(
        &format!("{ONE}axes: {{train.clip: {{range: [0.1, 0.4, 0.1]}}}}"),
        &[
            "pretrained clip=0.1",
            "pretrained clip=0.2",
            "pretrained clip=0.3",
            "pretrained clip=0.4",
        ],
    );
    check(
        &format!("{ONE}axes: {{task.train: {{range: [64, 192, 64]}}}}"),
        &[
            "pretrained train=64",
            "pretrained train=128",
            "pretrained train=192",
        ],
    );
    check(
        &format!("{ONE}axes: {{train.batch: {{log: [16, 64, 3]}}, seed: {{range: [0, 4, 2]}}}}"),
        &[
            "pretrained batch=16",
            "pretrained batch=32",
            "pretrained batch=64",
        ],
    );
    assert_eq!(
        jobs(&tiny(&format!(
            "{ONE}axes: {{seed: {{count: 3, from: 7}}}}"
        )))
        .len(),
        3
    );
    assert_eq!(
        jobs(&tiny(&format!("{ONE}axes: {{}}"))).len(),
        10,
        "ten seeds unless given"
    );
}

#[test]
fn groups_vary_together_and_conditions_hold_them_back() {
    check(
        &format!("{ONE}axes: {{zip: {{train.batch: [32, 64], train.steps: [600, 300]}}}}"),
        &[
            "pretrained batch=32 steps=600",
            "pretrained batch=64 steps=300",
        ],
    );
    check(
        &format!(
            "{ONE}axes:\n  init: [pretrained, scratch]\n  \
             frozen: {{values: [none, {{prefix: 2}}], when: {{init: pretrained}}}}"
        ),
        &["pretrained", "pretrained frozen=prefix_2", "scratch"],
    );
    check(
        &format!(
            "{ONE}axes:\n  init: [pretrained, scratch, shuffled]\n  zip:\n    \
             - {{when: {{init: [scratch, shuffled]}}, train.batch: [32, 128], train.clip: [0, 1]}}"
        ),
        &[
            "pretrained batch=64 clip=1.0",
            "scratch batch=32 clip=0.0",
            "scratch batch=128 clip=1.0",
            "shuffled batch=32 clip=0.0",
            "shuffled batch=128 clip=1.0",
        ],
    );
}

#[test]
fn entries_are_added_and_taken_away() {
    check(
        "axes: {init: [pretrained, scratch], learning_rate: [0.001, 0.002]}\n\
         include: [{init: {reinit: {last: 1}}}, {init: shuffled, learning_rate: 0.001}]\n\
         exclude: [{init: scratch, learning_rate: 0.002}]",
        &[
            "pretrained",
            "pretrained lr=0.002",
            "scratch",
            "reinit_last_1",
            "reinit_last_1 lr=0.002",
            "shuffled",
        ],
    );
    // A list is several values, but where the value is a list itself.
    check(
        &format!(
            "task: {{bins: [[1, 4]], eval_trials: 80}}\n{ONE}axes: {{init: [scratch]}}\n\
             include: [{{init: [pretrained, shuffled], task.range: [1, 9]}}, {{task.range: [[1, 8], [1, 7]]}}]"
        ),
        &[
            "scratch range=0_99",
            "pretrained range=1_9",
            "shuffled range=1_9",
            "scratch range=1_8",
            "scratch range=1_7",
        ],
    );
}

#[test]
fn documents_inherit_concatenate_and_count_twins_once() {
    check(
        "train: {steps: 300, learning_rate: 0.001}\naxes: {init: [pretrained, scratch]}\n\
         ---\naxes: {init: [scratch, shuffled], seed: {count: 3}}\n\
         ---\ntrain: {batch: 32}\naxes: {init: [scratch]}",
        // `batch` differs between documents, so it is part of every point.
        &[
            "pretrained batch=64",
            "scratch batch=64",
            "shuffled batch=64",
            "scratch batch=32",
        ],
    );
}

#[test]
fn a_sweep_may_only_make_its_base() {
    let text = "name: base\nmodel: {pretrain: {corpus: a.txt, layers: 4, heads: 4, width: 128}}";
    let jobs = super::jobs(text);
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].title, "pretrain 4 layers, width 128, 3000 steps");
    // The same base below training jobs: made first, and only once.
    let with_axes =
        format!("{text}\naxes: {{seed: [1], learning_rate: [0.01], init: [scratch, pretrained]}}");
    let both = super::jobs(&with_axes);
    assert_eq!(both.len(), 3);
    assert_eq!(both[0].key, jobs[0].key);
    assert_eq!(both[1].spec.inputs(), [jobs[0].key]);
}

#[test]
fn mistakes_between_settings_are_found() {
    refuse(
        "train: {steps: 50, warmup: 60, learning_rate: 0.001}\naxes: {}",
        &["1:28 train.warmup: must be ≤ train.steps (50), got 60"],
    );
    refuse(
        "train: {warmup: 100}\naxes: {learning_rate: [0.001], train.steps: [50, 200]}",
        &["1:17 train.warmup: must be ≤ train.steps (50), got 100"],
    );
    refuse(
        &format!("task: {{range: [1, 10]}}\n{ONE}axes: {{}}"),
        &["1:15 task.range: numbers from 1 to 10 differ by at most 9, but the last bin ends at 50"],
    );
    refuse(
        &format!("task: {{eval_trials: 100}}\n{ONE}axes: {{}}"),
        &["1:21 task.eval_trials: `task.eval_trials` must be a multiple of the 72 cells, got 100"],
    );
    refuse(
        &format!("engine: {{device: cuda, ops: fused}}\n{ONE}axes: {{}}"),
        &["1:29 engine.ops: the fused kernels run on a cpu only; leave `ops` at auto"],
    );
    for device in ["cpu", "auto", "metal"] {
        let text = format!("engine: {{dtype: tf32, device: {device}}}\n{ONE}axes: {{}}");
        let said = "1:17 engine.dtype: only an NVIDIA GPU rounds products to TF32; write \
                    `device: cuda`, or leave `dtype` at auto";
        refuse(&text, &[said]);
    }
    refuse(
        &format!("engine: {{dtype: bf16, device: metal}}\n{ONE}axes: {{}}"),
        &["1:17 engine.dtype: this program computes in f32 on a Mac's GPU; leave `dtype` at auto"],
    );
}

#[test]
fn numeric_paths_of_gpus_are_named_in_the_spec() {
    for (engine, ops, dtype) in [
        ("{device: cuda}", Ops::Composite, Dtype::F32),
        ("{device: cuda, dtype: tf32}", Ops::Composite, Dtype::Tf32),
        ("{device: cuda, dtype: bf16}", Ops::Composite, Dtype::Bf16),
        ("{dtype: bf16}", Ops::Composite, Dtype::Bf16),
    ] {
        let text = tiny(&format!("engine: {engine}\n{ONE}axes: {{seed: [1]}}"));
        let found = jobs(&text)[0].spec.engine;
        assert_eq!((found.ops, found.dtype), (ops, dtype), "{engine}");
    }
}

#[test]
fn a_base_that_is_made_here_may_drop_and_decay() {
    let optim = |more: &str| {
        let text = format!(
            "name: t\nmodel: {{pretrain: {{corpus: [c.txt], layers: 2, heads: 2, width: 8{more}}}}}"
        );
        match &jobs(&text)[0].spec.work {
            Work::Pretrain(Pretrain::Corpus(corpus)) => corpus.optim.clone(),
            work => panic!("{work:?}"),
        }
    };
    let plain = optim("");
    assert_eq!((plain.dropout, plain.layer_decay), (0.0, 1.0));
    let text = serde_json::to_string(&plain).expect("finite");
    assert!(
        !text.contains("dropout") && !text.contains("layer_decay"),
        "{text}"
    );
    let other = optim(", dropout: 0.1, layer_decay: 0.9");
    assert_eq!((other.dropout, other.layer_decay), (0.1, 0.9));
}

#[test]
fn steps_to_keep_must_be_reached_by_every_run() {
    const KEEP: &str = "keep: {weights: all, checkpoints: ";
    let all: &[u64] = &[0, 10, 50];
    let text = format!(
        "{KEEP}[0, 10, 50]}}\ntrain: {{steps: 50, learning_rate: 0.001}}\naxes: {{seed: [1]}}"
    );
    let Work::Train(train) = &jobs(&tiny(&text))[0].spec.work else {
        panic!("a training job")
    };
    assert_eq!(train.keep, Keep::Steps(all.to_vec()));
    refuse(
        &format!(
            "{KEEP}[0, 100, 300]}}\ntrain: {{learning_rate: 0.001}}\naxes: {{train.steps: [100, 3000, 200]}}"
        ),
        &[
            "1:44 keep.checkpoints[2]: must be ≤ train.steps (100), got 300",
            "1:44 keep.checkpoints[2]: must be ≤ train.steps (200), got 300",
        ],
    );
    refuse(
        &format!("{KEEP}[0, 30, 10, 30]}}\n{ONE}axes: {{}}"),
        &["1:43 keep.checkpoints[2]: must be ascending, got 10 after 30"],
    );
    refuse(
        &format!("{KEEP}[]}}\n{ONE}axes: {{}}"),
        &["1:35 keep.checkpoints: must name 1 to 256 steps, got 0"],
    );
    refuse(
        &format!("{KEEP}[0, soon]}}\n{ONE}axes: {{}}"),
        &["1:39 keep.checkpoints[1]: must be a whole number, got `soon`"],
    );
    refuse(
        &format!("{KEEP}some}}\n{ONE}axes: {{}}"),
        &["1:35 keep.checkpoints: must be one of final, matched, all, got `some`"],
    );
    refuse(
        "train: {dropout: 1.0, layer_decay: 0, learning_rate: 0.001}\naxes: {}",
        &[
            "1:18 train.dropout: must be < 1, got 1",
            "1:36 train.layer_decay: must be > 0, got 0",
        ],
    );
}

#[test]
fn mistakes_against_the_base_are_found() {
    refuse(
        &format!(
            "{ONE}axes:\n  init: [{{reinit: {{first: 5}}}}]\n  frozen: [{{prefix: 4}}, {{only: [4]}}]"
        ),
        &[
            "3:10 axes.init[0]: the base has 4 blocks, got 5",
            "4:25 axes.frozen[1]: the base has the blocks 0 to 3, got 4",
        ],
    );
}

#[test]
fn mistakes_of_the_crossing_are_found() {
    refuse(
        &format!("{ONE}axes: {{init: [pretrained, scratch]}}\nexclude: [{{init: shuffled}}]"),
        &["3:11 exclude[0]: matches no point of the sweep"],
    );
    refuse(
        &format!("{ONE}axes: {{init: [scratch]}}\nexclude: [{{init: scratch}}]"),
        &["-1:1 exclude: leaves no point of the sweep"],
    );
    refuse(
        &format!(
            "{ONE}axes:\n  frozen: {{values: [none, {{prefix: 1}}], when: {{init: scratch}}}}\n  init: [scratch]"
        ),
        &["3:48 axes.frozen.when.init: `init` is not an axis above this one"],
    );
    refuse(
        &format!(
            "{ONE}axes:\n  init: [scratch]\n  frozen: {{values: [none], when: {{init: shuffled}}}}"
        ),
        &["4:41 axes.frozen.when.init: `init` never has this value"],
    );
    refuse(
        &format!(
            "{ONE}axes: {{zip: {{train.batch: [1, 2], train.clip: [1, 2]}}}}\ninclude: [{{train.batch: 1}}]"
        ),
        &[
            "3:11 include[0]: must mention all of train.batch, train.clip or none: they vary together",
        ],
    );
    refuse(
        &format!("{ONE}axes: {{learning_rate: [1e-3, 1.0e-3]}}"),
        &["2:30 axes.learning_rate[1]: the value 0.001 stands here twice"],
    );
    refuse(
        &format!("{ONE}axes: {{seed: [1, 2, 1]}}"),
        &["2:21 axes.seed[2]: the seed 1 stands here twice"],
    );
}

#[test]
fn what_is_missing_is_named() {
    refuse("axes: {}", &["-1:1 axes.learning_rate: is missing"]);
    refuse(
        "train: {steps: 3}",
        &["1:1 train: there are no `axes:`, so nothing is trained"],
    );
    refuse(
        "",
        &["-1:1 : the sweep has no jobs: its base is there, and there are no `axes:`"],
    );
    refuse(
        &format!("{ONE}axes: {{}}\n---\nname: other\nkeep: {{weights: all}}\naxes: {{}}"),
        &[
            "4:7 name: the file is one sweep, and begins as `t`",
            "5:1 keep: belongs to the first document: it is one for the whole file",
        ],
    );
    for (text, message) in [
        ("", "the file has no sweep"),
        ("axes: {learning_rate: [1e-3]}", "name: is missing"),
        (
            "name: x\naxes: {learning_rate: [1e-3]}",
            "model: is missing",
        ),
        ("[1, 2]", "must be a mapping of keys, got a list"),
        (
            "name: x\nmodel: bases/tiny",
            "must say what kind of model this is",
        ),
        (
            "name: x\nmodel: {hub: a/b, base: c}",
            "must have exactly one of base, path, hub, pretrain",
        ),
        (
            "name: x\nmodel: {base: c, revision: d}",
            "a revision belongs to a hub model",
        ),
        ("name: x\nmodel: {base: /c}", "must be relative"),
        (
            "name: x\nmodel: {pretrain: {corpus: [a]}}",
            "`layers` is missing",
        ),
        (
            "name: x\nmodel: {pretrain: {corpus: [a], layers: 1, heads: 3, width: 8}}",
            "must divide the width 8, got 3",
        ),
    ] {
        let errors = parse("f", text).expect_err("must be refused").to_string();
        assert!(errors.contains(message), "of {text:?}:\n{errors}");
    }
}

#[test]
fn every_mistake_is_shown_at_once() {
    let errors = parse("mistakes.yaml", include_str!("mistakes.yaml"))
        .expect_err("a file of mistakes")
        .to_string();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sweep/tests/mistakes.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &errors).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        errors, golden,
        "run with UPDATE_GOLDEN=1 and review the difference"
    );
}

/// The task of the only job of a text.
fn task(rest: &str) -> job::Task {
    let text = tiny(&format!("{rest}\n{ONE}axes: {{seed: [0]}}"));
    let jobs = jobs(&text);
    let [job] = &jobs[..] else { panic!("{jobs:?}") };
    match &job.spec.work {
        Work::Train(train) => train.task.clone(),
        Work::Pretrain(_) | Work::Inspect(_) => panic!("{job:?}"),
    }
}

#[test]
fn splits_are_all_unless_named_and_stand_in_one_order() {
    assert_eq!(task("").splits, job::Split::ALL);
    let first = task("task: {splits: []}");
    assert_eq!(first.splits, job::first_splits());
    assert_eq!(task("task: {splits: [test_iid, val]}"), first);
    let text = serde_json::to_string(&first).expect("plain");
    assert!(
        !text.contains("splits"),
        "a spec of before keeps its text: {text}"
    );
    let found = task("task: {splits: [test_range_far, test_pair, control_no_cue]}").splits;
    let names: Vec<_> = found.iter().map(|split| split.name()).collect();
    assert_eq!(
        names,
        [
            "val",
            "test_iid",
            "test_pair",
            "test_range_far",
            "control_no_cue"
        ]
    );
}

#[test]
fn a_template_may_be_ones_own() {
    let rest = "task:\n  template:\n    text: \"Compare {cue}. {color_left} {color_right} \
                {motion_left} {motion_right} Now:\"\n    answers: [\"no\", \"yes\"]";
    let job::Template::Own(own) = task(rest).template else {
        panic!("a template of one's own");
    };
    assert!(own.text.starts_with("Compare {cue}."));
    assert_eq!(own.answers, Some(["no", "yes"].map(str::to_owned)));
    refuse(
        &format!("task: {{template: {{text: \"{{cue}}\"}}}}\n{ONE}axes: {{}}"),
        &[
            "1:18 task.template: {cue} must follow a space: a token carries the space before it \
           (at character 0 of \"{cue}\")",
        ],
    );
    refuse(
        &format!("task: {{template: {{txt: x}}}}\n{ONE}axes: {{}}"),
        &["1:19 task.template.txt: unknown key `txt`"],
    );
    refuse(
        &format!("task: {{name: pdm, template: T3, eval_trials: 240}}\n{ONE}{ACCURACY}axes: {{}}"),
        &["1:29 task.template: pdm has no template \"T3\" (known: T0, T1)"],
    );
}

#[test]
fn a_result_that_could_not_be_handed_in_is_refused_before_anything_runs() {
    // 16 bins are the most: 2,048 strata and choices in 128 signed ones.
    let bins: Vec<_> = (0..16).map(|i| [3 * i + 1, 3 * i + 3]).collect();
    let with = |every: u64| {
        format!(
            "task: {{range: [0, 99], bins: {bins:?}, eval_trials: 2048}}\n\
             train: {{learning_rate: 0.001, steps: 30000, eval_every: {every}}}\naxes: {{}}"
        )
    };
    let text = tiny(&with(50));
    let errors = parse("f", &text).expect_err("refused");
    let [problem] = errors.problems() else {
        panic!("{:?}", errors.problems());
    };
    assert_eq!(problem.place, "train.eval_every");
    assert_eq!(
        problem.message,
        "601 evaluations with up to 2372 measures each are more than the 64 MiB that a result \
         can have"
    );
    let help = problem.help.as_deref().expect("a way out");
    let enough = help
        .strip_prefix("raise `train.eval_every` to ")
        .expect("named");
    let enough: u64 = enough.parse().expect("a number");
    assert!(
        parse("f", &tiny(&with(enough))).is_ok(),
        "{enough} suffices"
    );
    assert!(parse("f", &tiny(&with(enough - 1))).is_err(), "and no less");

    let often = "train: {learning_rate: 0.001, steps: 300000, eval_every: 1}\naxes: {}";
    let errors = parse("f", &tiny(often)).expect_err("too often with any bins");
    assert_eq!(errors.problems()[0].place, "train.eval_every");
    let base = "name: b\nmodel: {pretrain: {corpus: a, layers: 1, heads: 1, width: 8, \
                steps: 1000000, eval_every: 1}}";
    let errors = parse("f", base).expect_err("too often");
    assert_eq!(errors.problems()[0].place, "model.pretrain.eval_every");
}

const ACCURACY: &str = "compare: {select: {learning_rate: {by: val.accuracy}}}\n";

#[test]
fn what_a_task_cannot_yield_is_refused_before_anything_runs() {
    refuse(
        &format!("task: {{range: [1, 10], bins: [[1, 2], [3, 4], [5, 9]]}}\n{ONE}axes: {{}}"),
        &[
            "-1:1 task.eval_trials: val: the cell \"cue color, answer left, incongruent, |x_rel| 3-4, \
           |x_irr| 3-4\" has 25 distinct trials for it, 50 are wanted; at most 1800 trials are \
           possible in all: lower task.eval_trials, or widen task.range or task.bins",
        ],
    );
    refuse(
        &format!("task: {{name: pdm, eval_trials: 240}}\n{ONE}axes: {{}}"),
        &["1:14 task.name: the task pdm has no val.incongruent_accuracy to select by"],
    );
    refuse(
        &format!("task: {{name: dmc, bins: [[1, 4]], eval_trials: 8}}\n{ONE}axes: {{}}"),
        &["1:25 task.bins: the task dmc does not sort its trials by bins"],
    );
    refuse(
        &format!("task: {{name: pdm, neutral: true, eval_trials: 240}}\n{ONE}{ACCURACY}axes: {{}}"),
        &["1:28 task.neutral: the task pdm has no such option"],
    );
}

#[test]
fn a_sweep_may_add_seeds_until_it_is_precise_enough() {
    let axes =
        "axes: {seed: {count: 4, from: 2}, init: [pretrained, scratch], learning_rate: [0.001]}";
    let text = tiny(&format!(
        "{axes}\nreplicate: {{until: {{half_width: 0.02, max_seeds: 15}}}}"
    ));
    let sweep = parse("f", &text).expect("a good file");
    let until = sweep.compare.until.as_ref().expect("it says until when");
    assert_eq!(until.sizes().collect::<Vec<_>>(), [4, 9, 14, 15]);
    assert_eq!(until.split_and_name(), ("val", "incongruent_accuracy"));
    assert_eq!(sweep.seeds(), [2, 3, 4, 5]);
    let grown = sweep.clone().grown(6);
    assert_eq!(grown.seeds(), [2, 3, 4, 5, 6, 7]);
    let jobs = expand(&grown, &files(&grown)).expect("it fits").count();
    assert_eq!(jobs, 12);
    let before: Vec<_> = expand(&sweep, &files(&sweep))
        .expect("it fits")
        .map(|j| j.key)
        .collect();
    let after: Vec<_> = expand(&grown, &files(&grown))
        .expect("it fits")
        .map(|j| j.key)
        .collect();
    assert_eq!(before, after[..8], "what was there stays in its place");
}

#[test]
fn mistakes_of_replication_are_found() {
    let check = |until: &str, expected: &str| {
        let axes = "axes: {seed: {count: 4}, init: [pretrained, scratch], learning_rate: [0.001]}";
        refuse(&format!("{axes}\nreplicate: {until}"), &[expected]);
    };
    check("{}", "2:12 replicate: must say until when");
    check(
        "{until: {max_seeds: 15}}",
        "2:20 replicate.until.half_width: is missing",
    );
    check(
        "{until: {half_width: 0, max_seeds: 15}}",
        "2:33 replicate.until.half_width: must be > 0, got 0",
    );
    check(
        "{until: {half_width: 0.02, max_seeds: 4}}",
        "2:50 replicate.until.max_seeds: must be above the 4 seeds that the sweep starts with, got 4",
    );
    check(
        "{until: {half_width: 0.02, max_seeds: 40, block: 1}}",
        "2:61 replicate.until.block: makes 37 looks, at most 20 are taken: each look widens every interval",
    );
    check(
        "{until: {half_width: 0.02, max_seeds: 40, metric: test_iid.accuracy}}",
        "2:62 replicate.until.metric: must be one of val.incongruent_accuracy, val.congruent_accuracy, \
         val.accuracy, val.vocab_accuracy, val.answer_mass, val.nll, val.congruency_cost, \
         val.logit_difference, got `test_iid.accuracy`",
    );
}
