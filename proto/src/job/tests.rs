//! The text of a spec: its form, its key, and what is refused.

use super::*;

fn spec() -> JobSpec {
    JobSpec {
        version: SPEC_VERSION,
        engine: Engine {
            device: DeviceKind::Cpu,
            ops: Ops::Fused,
            dtype: Dtype::F32,
            micro_batch: 64,
        },
        work: Work::Pretrain(Pretrain::Hub(HubModel {
            repo: "openai-community/gpt2".into(),
            revision: "main".into(),
        })),
    }
}

#[test]
fn the_canonical_form_is_sorted_and_dense() {
    assert_eq!(
        spec().canonical_json(),
        r#"{"engine":{"device":"cpu","dtype":"f32","micro_batch":64,"ops":"fused"},"version":1,"work":{"pretrain":{"hub":{"repo":"openai-community/gpt2","revision":"main"}}}}"#
    );
}

#[test]
fn a_spec_survives_its_text_form_and_a_changed_one_is_refused() {
    let (spec, key) = (spec(), spec().key());
    let text = spec.canonical_json();
    assert_eq!(JobSpec::from_json(&text, key).expect("readable"), spec);

    let changed = text.replace("main", "next");
    assert!(matches!(
        JobSpec::from_json(&changed, key),
        Err(SpecError::Key { .. })
    ));
    let newer = text.replace("\"version\":1", "\"version\":2");
    assert!(matches!(
        JobSpec::from_json(&newer, key),
        Err(SpecError::Version { found: 2 })
    ));
}

fn pretraining(dropout: f64, layer_decay: f64) -> JobSpec {
    let optim = Optim {
        steps: 10,
        batch: 1,
        learning_rate: 0.5,
        schedule: Schedule::Constant,
        warmup: 0,
        clip: 0.0,
        weight_decay: 0.0,
        beta1: 0.5,
        beta2: 0.5,
        epsilon: 0.5,
        loss: Loss::Full,
        eval_every: 10,
        dropout,
        layer_decay,
    };
    let shape = Shape {
        layers: 1,
        heads: 1,
        width: 8,
        positions: 8,
    };
    JobSpec {
        work: Work::Pretrain(Pretrain::Corpus(Box::new(CorpusPretrain {
            corpus: vec![],
            vocab: 600,
            shape,
            context: 8,
            optim,
            seed: 0,
        }))),
        ..spec()
    }
}

#[test]
fn a_knob_at_its_default_leaves_the_key_as_it_was() {
    let text = pretraining(0.0, 1.0).canonical_json();
    assert!(
        !text.contains("dropout") && !text.contains("layer_decay"),
        "{text}"
    );
    let back = JobSpec::from_json(&text, JobKey::of(text.as_bytes()));
    assert_eq!(back.expect("readable"), pretraining(0.0, 1.0));

    let turned = pretraining(0.1, 0.9);
    let text = turned.canonical_json();
    assert!(text.contains(r#""dropout":0.1"#) && text.contains(r#""layer_decay":0.9"#));
    let back = JobSpec::from_json(&text, turned.key());
    assert_eq!(back.expect("readable"), turned);
    assert_eq!(
        serde_json::to_string(&Keep::Steps(vec![0, 10])).expect("plain"),
        r#"{"steps":[0,10]}"#
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (dropout, layer_decay, what) in [
        (1.0, 1.0, "dropout"),
        (-0.1, 1.0, "dropout"),
        (0.0, 0.0, "layer_decay"),
        (0.0, 1.5, "layer_decay"),
    ] {
        let spec = pretraining(dropout, layer_decay);
        let error = JobSpec::from_json(&spec.canonical_json(), spec.key());
        match error.expect_err("refused") {
            SpecError::Value { what: named, .. } => assert_eq!(named, what),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_task_of_before_there_were_other_splits_keeps_its_text() {
    let text = r#"{"name":"ctxdm","template":"T0","range":[0,99],"bins":[[1,4]],"train":"online","bos":false,"random_labels":false,"split_seed":0,"eval_trials":8}"#;
    let mut task: Task = serde_json::from_str(text).expect("readable");
    assert_eq!(serde_json::to_string(&task).expect("plain"), text);
    assert_eq!(task.splits, [Split::Val, Split::TestIid]);

    task.splits = Split::ALL.to_vec();
    task.template = Template::Own(OwnTemplate {
        text: "{cue}".into(),
        answers: None,
        cues: None,
    });
    task.test_near = Some([100, 120]);
    let longer = serde_json::to_string(&task).expect("plain");
    for part in [
        r#""template":{"text":"{cue}"}"#,
        r#""control_no_numbers"]"#,
        r#""test_near":[100,120]"#,
    ] {
        assert!(longer.contains(part), "{longer}");
    }
    let back: Task = serde_json::from_str(&longer).expect("readable");
    assert_eq!(back, task);
}
