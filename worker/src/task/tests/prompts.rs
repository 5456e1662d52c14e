//! Wording, slot positions, and what is refused.

use std::collections::BTreeMap;

use tokenizers::AddedToken;

use super::*;

#[test]
fn the_wordings_are_those_of_the_templates() {
    let check = |template: &str, expect: &str| {
        let prepared = prepare(&spec(template, [0, 99], &DEFAULT_BINS));
        let kind = prepared.kind();
        let trial = Trial {
            cell: 0,
            fills: vec![0, 11, 22, 33, 44],
            right: true,
            congruent: Some(true),
        };
        let segments = kind.wording().segments(kind.slots(), &trial);
        let text: String = segments.iter().map(|segment| segment.text).collect();
        assert_eq!(text, expect);
    };
    check(
        "T0",
        "Rule: color. Left: color 11, motion 33. Right: color 22, motion 44. Answer:",
    );
    check(
        "T1",
        "The left patch has color 11 and motion 33. The right patch has color 22 and motion 44. \
         The side with more color is the",
    );
    check(
        "T2",
        "Color: left 11, right 22. Motion: left 33, right 44. Compare color. Answer:",
    );
    check(
        "T3",
        "On the right, motion is 44 and color is 22. On the left, motion is 33 and color is 11. \
         Which side has more color? The",
    );
}

#[test]
fn slots_stand_where_they_are_said_to() {
    let tokenizer = tokenizer();
    for template in ["T0", "T1", "T2", "T3"] {
        for bos in [false, true] {
            let mut spec = spec(template, [0, 99], &DEFAULT_BINS);
            spec.bos = bos;
            let mut with_bos = tokenizer.clone();
            with_bos
                .add_special_tokens([AddedToken::from("<|endoftext|>", true)])
                .expect("a new token");
            let prepared = Prepared::new(&spec, &with_bos, 64).expect("a spec that can be run");
            let split = &prepared.eval_splits()[0];
            let rows = split.ids.chunks_exact(split.prompt_len);
            for (row, trial) in rows.zip(&split.trials) {
                let word = |id: u32| with_bos.decode(&[id], false).expect("decodable");
                let at: BTreeMap<_, _> = prepared
                    .slot_positions(trial)
                    .into_iter()
                    .map(|(slot, position)| (slot, word(row[position])))
                    .collect();
                let skip = usize::from(bos);
                let text = with_bos.decode(&row[skip..], false).expect("decodable");
                let seen = Seen::read(template, &text);
                let [a, b, c, d] = seen.numbers;
                let (rel, irr) = if seen.cue == "color" {
                    ([a, b], [c, d])
                } else {
                    ([c, d], [a, b])
                };
                assert_eq!(at["cue"], format!(" {}", seen.cue));
                assert_eq!(
                    [&at["rel_left"], &at["rel_right"]],
                    rel.map(|n| format!(" {n}")).each_ref()
                );
                assert_eq!(
                    [&at["irr_left"], &at["irr_right"]],
                    irr.map(|n| format!(" {n}")).each_ref()
                );
                assert_eq!(at["last"], word(row[row.len() - 1]));
            }
        }
    }
}

#[test]
fn what_cannot_be_run_is_named() {
    let good = spec("T0", [0, 99], &DEFAULT_BINS);
    let refused = |tokenizer: &Tokenizer, positions: usize, change: fn(&mut Task)| {
        let mut spec = good.clone();
        change(&mut spec);
        match Prepared::new(&spec, tokenizer, positions) {
            Ok(_) => panic!("must be refused: {spec:?}"),
            Err(error) => error.to_string(),
        }
    };
    let full = tokenizer();
    let check = |change: fn(&mut Task), expect: &[&str]| {
        let error = refused(&full, 64, change);
        assert!(expect.iter().all(|part| error.contains(part)), "{error}");
    };
    check(
        |s| s.name = "mante".into(),
        &["\"mante\"", "known: ctxdm, pdm, multidm"],
    );
    check(|s| s.template = "T9".into(), &["\"T9\"", "T0, T1, T2, T3"]);
    check(
        |s| s.range = [0, 20],
        &["task.bins[2]", "[0, 20]", "largest is 20"],
    );
    check(
        |s| s.eval_trials = 100,
        &["100 must be a multiple of the 72 cells", "144"],
    );
    check(|s| s.eval_trials = 0, &["task.eval_trials", "72"]);
    check(|s| s.train = TrainSet::Fixed(0), &["task.train"]);
    check(
        |s| {
            s.range = [1, 10];
            s.bins = SHORT_BINS.to_vec();
            s.eval_trials = 3600;
        },
        &[
            "val",
            "|x_rel| 6-9, |x_irr| 6-9",
            "has 15 distinct",
            "50 are wanted",
            "1080 trials",
            "task.eval_trials",
        ],
    );
    check(
        |s| {
            s.range = [1, 10];
            s.bins = SHORT_BINS.to_vec();
            s.train = TrainSet::Fixed(72 * 71);
        },
        &[
            "train",
            "has 70 distinct",
            "71 are wanted",
            "5040 trials",
            "task.train",
        ],
    );
    check(
        |s| {
            s.range = [1, 2];
            s.bins = vec![[1, 1]];
            s.eval_trials = 8;
        },
        &["has 0 distinct trials"],
    );
    check(
        |s| s.range = [0, 400],
        &["T0", "slot \"color_left\"", "\" 362\"", "4 tokens", "BPE, "],
    );
    check(|s| s.bos = true, &["task.bos", "<|endoftext|>"]);

    let error = refused(&full, 21, |_| {});
    assert!(
        error.contains("22 tokens") && error.contains("21 positions"),
        "{error}"
    );
    let without = |gone: &str| {
        let kept: Vec<_> = vocabulary()
            .into_iter()
            .filter(|word| word != gone)
            .collect();
        refused(&byte_level(&kept), 64, |_| {})
    };
    assert!(without(" motion").contains("\" motion\" in slot \"cue\" is 7 tokens"));
    assert!(without(" left").contains("\" left\" in slot \"answer\""));
    // The wording around the slots may be as many tokens as it likes.
    let kept: Vec<_> = vocabulary()
        .into_iter()
        .filter(|word| word != " Answer")
        .collect();
    let longer = Prepared::new(&good, &byte_level(&kept), 64).expect("a longer prompt");
    assert_eq!(longer.prompt_len(), 28);
}

#[test]
fn a_tokenizer_that_reads_over_the_ends_of_segments_is_refused() {
    // Without a pre-tokenizer " color" alone is one token, but not within a text.
    let characters = (b' '..=b'~').map(|c| char::from(c).to_string());
    let tokenizer = tokenizer_of(characters.chain(vocabulary()), false);
    let spec = spec("T0", [0, 99], &DEFAULT_BINS);
    let error = match Prepared::new(&spec, &tokenizer, 256) {
        Ok(_) => panic!("must be refused"),
        Err(error) => error,
    };
    assert!(
        matches!(&error, TaskError::Boundary { template, .. } if template == "T0"),
        "{error}"
    );
}
