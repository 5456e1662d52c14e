//! Targeted dimensionality reduction on networks that nobody trained.

use super::*;

const AXES: [&str; 6] = [
    "choice",
    "color",
    "motion",
    "context",
    "color_by_context",
    "motion_by_context",
];

/// A network that answers left as strongly as right on the average, 360 trials.
fn undecided() -> Setting {
    let mut setting = Setting::new();
    setting.items = 360;
    let [left, right] = setting.task.answers().map(|id| id as usize);
    let rows = setting.subject.weights[WTE]
        .to_vec2::<f32>()
        .expect("(V, C)");
    let with_difference = |difference: &[f32]| {
        let mut rows = rows.clone();
        rows[left].fill(0.0);
        rows[right].copy_from_slice(difference);
        let head = Tensor::new(rows, &Device::Cpu).expect("(V, C)");
        let mut weights = setting.subject.weights.clone();
        weights.insert(LM_HEAD.to_owned(), head);
        weights
    };
    // Δ is linear in the difference of the two rows, and so is its mean.
    let mean = |difference: &[f32]| {
        let deltas = setting.lds(&with_difference(difference), |_| 1.0);
        (deltas.iter().sum::<f64>() / deltas.len() as f64) as f32
    };
    let (a, b) = (&rows[right], &rows[left]);
    let (of_a, of_b) = (mean(a), mean(b));
    let balanced: Vec<f32> = a.iter().zip(b).map(|(a, b)| a * of_b - b * of_a).collect();
    setting.subject.weights = with_difference(&balanced);
    setting.subject.config = setting.subject.config.clone().untied();
    setting
}

#[test]
fn axes_are_orthonormal_and_paths_add_up() {
    let setting = undecided();
    let answer = setting.ask(Question::Tdr);
    // The embedding of the last token is the same in all trials.
    for note in &answer.notes {
        assert!(note.place.ends_with(".variance"), "{note:?}");
    }
    let axes = &answer.arrays["tdr.axes"];
    assert_eq!(axes.shape, [6, 16]);
    for (i, a) in axes.data.chunks(16).enumerate() {
        for (j, b) in axes.data.chunks(16).enumerate() {
            let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum();
            near("axes", dot, f64::from(u8::from(i == j)), 1e-5);
        }
    }
    let paths = &answer.arrays["tdr.trajectories"];
    assert_eq!(paths.shape, [72, LAYERS + 1, 6]);
    let conditions = &answer.arrays["tdr.conditions"];
    assert_eq!(conditions.shape, [72, 6]);

    // 360 trials are 5 of each cell: a group is the plain mean of its nine cells.
    let cells: Vec<usize> = (0..72)
        .filter(|&cell| {
            let trial = setting.split.trials.iter().position(|t| t.cell == cell);
            let trial = trial.expect("every cell has trials");
            let Trial {
                right, congruent, ..
            } = setting.split.trials[trial];
            setting.split.contexts[trial] == "motion" && right && congruent == Some(false)
        })
        .collect();
    assert_eq!(cells.len(), 9);
    for (v, axis) in AXES.iter().enumerate().take(4) {
        for depth in 0..=LAYERS {
            let mean = cells
                .iter()
                .map(|c| paths.data[(c * (LAYERS + 1) + depth) * 6 + v]);
            let mean = f64::from(mean.sum::<f32>()) / 9.0;
            let metric = (answer.metrics.iter()).find(|m| {
                m.name == format!("tdr.{axis}.projection")
                    && m.layer == Some(depth as u32)
                    && m.slot.as_deref() == Some("motion.right.incongruent")
            });
            near(axis, metric.expect("a projection").value, mean, 1e-5);
        }
    }
    for cell in cells {
        let [_, color, motion, context, ..] = conditions.data[cell * 6..][..6] else {
            unreachable!("six variables");
        };
        assert!(color < 0.0 && motion > 0.0, "incongruent, right by motion");
        assert_eq!(context, 1.0);
    }
}

#[test]
fn every_axis_is_measured_at_every_depth() {
    let setting = undecided();
    let answer = setting.ask(Question::Tdr);
    for axis in AXES {
        let whole = value(&answer, &format!("tdr.{axis}.depth"), None, None);
        let mut norms = vec![];
        let mut shares = vec![];
        for depth in 0..=LAYERS {
            let of = |what: &str| value(&answer, &format!("tdr.{axis}.{what}"), Some(depth), None);
            norms.push(of("norm"));
            shares.push(of("variance"));
            assert_eq!(shares[depth].is_nan(), depth == 0, "{axis}: {shares:?}");
            assert!(of("encoding").abs() < 100.0);
        }
        let longest = (0..=LAYERS).max_by(|&a, &b| norms[a].total_cmp(&norms[b]));
        assert_eq!(
            whole,
            longest.expect("there are depths") as f64,
            "{axis}: {norms:?}"
        );
        assert!(
            shares[1..].iter().all(|share| (0.0..1.0).contains(share)),
            "{shares:?}"
        );
    }
    for dimension in ["color", "motion"] {
        for what in ["relevant", "irrelevant"] {
            let slope = value(&answer, &format!("tdr.{dimension}.{what}"), Some(2), None);
            assert!(slope.is_finite());
        }
    }
}

#[test]
fn a_network_that_always_answers_the_same_has_no_choice_to_regress_on() {
    let mut setting = Setting::new();
    let [left, right] = setting.task.answers().map(|id| id as usize);
    // An unembedding that does not tell the two answers apart.
    let mut rows = setting.subject.weights[WTE]
        .to_vec2::<f32>()
        .expect("(V, C)");
    rows[right] = rows[left].clone();
    let head = Tensor::new(rows, &Device::Cpu).expect("(V, C)");
    setting.subject.weights.insert(LM_HEAD.to_owned(), head);
    setting.subject.config = setting.subject.config.clone().untied();
    let answer = setting.ask(Question::Tdr);
    for axis in AXES {
        assert!(value(&answer, &format!("tdr.{axis}.depth"), None, None).is_nan());
    }
    assert!(answer.arrays.is_empty());
    let reason = &answer.notes.first().expect("a note").reason;
    assert_eq!(reason, "the network gives the same answer in all trials");
}
