//! Against scikit-learn, scipy, google-research's formula and numpy: references that
//! `tests/mechanism/numerics.py` has made, described in NUMERICS.md beside it.
//!
//! `cargo test --workspace --lib -- numerics::tests --nocapture` prints how near we are.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::super::folds::NestedFolds;
use super::super::glm::{Design, Family};
use super::super::matrix::Matrix;
use super::super::nested::{Split, Target, cross_validate};
use super::super::standard::Scale;
use super::super::{cka, rsa, targeted};

/// The stored references.
struct References(Vec<u8>);

impl References {
    fn read() -> Self {
        let folder = match std::env::var_os("SEEDBED_MECHANISM") {
            Some(folder) => folder.into(),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/mechanism"),
        };
        let path = folder.join("numerics.safetensors");
        Self(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// A tensor, its leading axes taken together: a matrix of its last axis.
    fn get(&self, name: &str) -> Matrix<f64> {
        let file = SafeTensors::deserialize(&self.0).expect("a file of tensors");
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let data: Vec<f64> = match tensor.dtype() {
            Dtype::F32 => {
                let (values, _) = tensor.data().as_chunks::<4>();
                values
                    .iter()
                    .map(|b| f64::from(f32::from_le_bytes(*b)))
                    .collect()
            }
            Dtype::F64 => {
                let (values, _) = tensor.data().as_chunks::<8>();
                values.iter().map(|b| f64::from_le_bytes(*b)).collect()
            }
            other => panic!("{name}: {other:?}"),
        };
        let columns = *tensor.shape().last().expect("no scalar is stored");
        Matrix::new(data.len() / columns, columns, data)
    }

    fn narrow(&self, name: &str) -> Matrix<f32> {
        super::narrow(&self.get(name))
    }
}

/// The largest difference, as a share of the largest expected value; panics above
/// `within`.
#[track_caller]
fn check(what: &str, found: &[f64], expect: &[f64], within: f64) {
    assert_eq!(found.len(), expect.len(), "{what}: number of values");
    let scale = expect.iter().fold(1e-300_f64, |m, e| m.max(e.abs()));
    let worse = |m: f64, (f, e): (&f64, &f64)| {
        let off = (f - e).abs() / scale;
        if off.is_nan() {
            f64::INFINITY
        } else {
            m.max(off)
        }
    };
    let worst = found.iter().zip(expect).fold(0.0, worse);
    println!("{what}: {worst:.1e}");
    assert!(
        worst <= within,
        "{what}: off by {worst:.1e}, {within:.1e} is allowed"
    );
}

#[test]
fn probes_are_those_of_scikit_learn() {
    let stored = References::read();
    let x = stored.narrow("probes.x");
    let folds = |row: &[f64]| -> Vec<Option<u8>> {
        let fold = |&f: &f64| (f >= 0.0).then_some(f as u8);
        row.iter().map(fold).collect()
    };
    let folds = NestedFolds {
        k: 5,
        outer: folds(stored.get("probes.outer").row(0)),
        inner: stored.get("probes.inner").iter_rows().map(folds).collect(),
    };
    let names = ["clear", "faint", "number"];
    let labels = |name: &str| stored.get(&format!("probes.{name}.labels")).data;
    let target = |name: &&str| match *name {
        "number" => Target::new(Family::Gaussian, &labels(name), 0),
        name => Target::new(Family::Logistic, &labels(name), 0),
    };
    let targets: Vec<_> = names.iter().map(target).collect();
    let design = Design::new(&x).expect("finite");
    let splits = [Split::new(folds)];
    let go_on = &mut || Ok::<_, std::convert::Infallible>(());
    let probes = cross_validate(&design, &splits, &targets, go_on).expect("infallible");
    for (name, probe) in names.into_iter().zip(probes) {
        let probe = probe.unwrap_or_else(|e| panic!("{name}: {e}"));
        let expect = |key: &str| stored.get(&format!("probes.{name}.{key}"));
        let strengths: Vec<f64> = probe.penalties.iter().map(|p| 1.0 / p).collect();
        check(
            &format!("{name}, C"),
            &strengths,
            &expect("strength").data,
            1e-12,
        );
        let scores = expect("score").data;
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        check(&format!("{name}, score"), &[probe.score], &[mean], 1e-5);
        let (weights, values) = (expect("weights"), expect("values"));
        // Of a number, ours are standardised.
        let labels = Matrix::new(x.rows, 1, labels(name));
        let unit = match name {
            "number" => Scale::of(&labels),
            _ => Scale {
                mean: vec![0.0],
                deviation: vec![1.0],
            },
        };
        let z = Design::scores(&design.x, &probe.solutions.iter().collect::<Vec<_>>());
        for (fold, solution) in probe.solutions.iter().enumerate() {
            // The stored ones are of raw columns, ours of standardised ones.
            let expect: Vec<f64> = (weights.row(fold).iter().zip(&design.scale.deviation))
                .map(|(w, s)| w * s / unit.deviation[0])
                .collect();
            let what = format!("{name}, weights of fold {fold}");
            check(&what, &solution.weights, &expect, 1e-3);
            let z: Vec<f64> = (z.row(fold).iter())
                .map(|&z| unit.mean[0] + unit.deviation[0] * f64::from(z))
                .collect();
            check(
                &format!("{name}, values of fold {fold}"),
                &z,
                values.row(fold),
                1e-3,
            );
        }
    }
}

#[test]
fn cka_is_that_of_google_research() {
    let stored = References::read();
    for name in ["tall", "wide", "mixed"] {
        let expect = stored.get(&format!("cka.{name}.debiased_biased")).data;
        let side = |side: &str| stored.narrow(&format!("cka.{name}.{side}"));
        let found = [true, false].map(|debiased| {
            let centred = |x| cka::Centred::new(&x, debiased).expect("it varies");
            centred(side("x")).similarity(&centred(side("y")))
        });
        check(&format!("cka {name}"), &found, &expect, 1e-10);
    }
}

#[test]
fn distances_and_ranks_are_those_of_scipy() {
    let stored = References::read();
    let patterns = stored.get("rsa.patterns");
    let half = patterns.data.len() / 2;
    let rdms: Vec<_> = (patterns.data.chunks(half))
        .map(|p| rsa::rdm(&Matrix::new(12, 7, p.to_vec())))
        .collect();
    check(
        "distances",
        &rdms.concat(),
        &stored.get("rsa.distances").data,
        1e-12,
    );
    let expect = stored.get("rsa.spearman").data;
    let found = rsa::spearman(&rdms[0], &rdms[1]).expect("defined");
    check("rank correlation", &[found], &expect, 1e-12);
    let found = rsa::similarity(&rdms[0], &rdms[1]).expect("defined");
    check("similarity, near ties as ties", &[found], &expect, 1e-3);
    let tied = stored.get("rsa.tied");
    let found = rsa::spearman(tied.row(0), tied.row(1)).expect("defined");
    let expect = stored.get("rsa.tied.spearman").data;
    check("rank correlation with ties", &[found], &expect, 1e-12);
}

#[test]
fn targeted_axes_are_those_of_numpy() {
    let stored = References::read();
    let conditions = stored.get("tdr.condition").data;
    let variables = targeted::Variables {
        values: stored.get("tdr.variables"),
        conditions: conditions.iter().map(|&c| c as usize).collect(),
        condition_count: 16,
    };
    let all = stored.narrow("tdr.x");
    let depths: Vec<_> = (all.data.chunks(all.data.len() / 3))
        .map(|x| Matrix::new(conditions.len(), all.columns, x.to_vec()))
        .map(|x| targeted::Depth::new(&x, &variables).expect("regular"))
        .collect();
    let found = targeted::axes(&depths, 6).expect("axes");
    let depth: Vec<f64> = found.depth.iter().map(|&t| t as f64).collect();
    check("depth", &depth, &stored.get("tdr.depth").data, 0.0);
    check("norm", &found.norm.data, &stored.get("tdr.norm").data, 1e-9);
    check("axes", &found.axes.data, &stored.get("tdr.axes").data, 1e-9);
    let trajectories: Vec<f64> = found
        .trajectories
        .iter()
        .flat_map(|t| t.data.clone())
        .collect();
    check(
        "trajectories",
        &trajectories,
        &stored.get("tdr.trajectories").data,
        1e-9,
    );
    check(
        "encoding",
        &found.encoding.data,
        &stored.get("tdr.encoding").data,
        1e-9,
    );
    check(
        "variance",
        &found.variance.data,
        &stored.get("tdr.variance").data,
        1e-9,
    );
}
