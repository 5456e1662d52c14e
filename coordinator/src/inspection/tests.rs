//! From made-up results to jobs: which networks, which pairs, in which order.

use seedbed_proto::job::{Base, Moment};

use super::*;
use crate::aggregate;
use crate::results::{Measured, SweepResults};
use crate::sweep::{Files, Sweep};

/// A sweep file's runs as if all were done, with the validation accuracy that
/// `accuracy` gives by init, rate and seed.
struct World {
    sweep: Sweep,
    results: SweepResults,
    specs: BTreeMap<JobKey, String>,
}

impl World {
    fn new(yaml: &str, accuracy: impl Fn(&Point) -> f64) -> Self {
        let sweep = sweep::parse("a.yaml", yaml).unwrap_or_else(|e| panic!("{e}"));
        let files = Files::default();
        let jobs = sweep::expand(&sweep, &files).unwrap_or_else(|e| panic!("{e}"));
        let mut results = SweepResults {
            sweep_id: "01890a5d-ac96-774b-bcce-b302099a8057"
                .parse()
                .expect("an id"),
            name: sweep.name.clone(),
            yaml: yaml.to_owned(),
            runs: vec![],
            inspections: vec![],
            selections: vec![],
            current: None,
            attempts: vec![],
        };
        let mut specs = BTreeMap::new();
        for (ordinal, job) in jobs.enumerate() {
            let Some(point) = job.point else { continue };
            specs.insert(job.key, job.spec.canonical_json());
            let value = accuracy(&point);
            results.runs.push(Run {
                ordinal: ordinal as u64,
                key: job.key,
                phase: JobPhase::Done,
                failure: None,
                metrics: vec![
                    Measured::of("val", 0, "accuracy", 0.5),
                    Measured::of("val", 200, "accuracy", value),
                    Measured::of("val", 200, "incongruent_accuracy", value),
                ],
                artifacts: vec![],
                notes: vec![],
                point,
            });
        }
        Self {
            sweep,
            results,
            specs,
        }
    }

    /// The jobs that follow, as specs.
    fn jobs(&self) -> Vec<(NewJob, Inspect)> {
        let compare = &self.sweep.compare;
        let selection = aggregate::select(&self.results, compare).expect("all runs are done");
        let asked = self.sweep.inspect.as_ref().expect("it asks");
        let jobs = jobs(asked, compare, &selection, &self.results.runs, &self.specs);
        let jobs = jobs.expect("specs are readable").into_iter();
        jobs.map(|job| {
            let spec = JobSpec::from_json(&job.spec_json, job.key).expect("its own");
            match spec.work {
                Work::Inspect(inspect) => (job, *inspect),
                other => panic!("{other:?}"),
            }
        })
        .collect()
    }
}

fn file(rest: &str) -> String {
    format!(
        "name: a\nmodel: {{hub: openai-community/gpt2}}\ntrain: {{steps: 200}}\naxes:\n  \
         seed: {{count: 3}}\n  init: [pretrained, scratch]\n  learning_rate: [0.001, 0.002]\n{rest}\n"
    )
}

fn rate_and_seed(point: &Point) -> (f64, u64) {
    (
        point["learning_rate"].as_f64().expect("a number"),
        point["seed"].as_u64().expect("a number"),
    )
}

#[test]
fn the_chosen_networks_are_asked_seed_by_seed() {
    let better = |point: &Point| {
        if rate_and_seed(point).0 == 0.002 {
            0.9
        } else {
            0.8
        }
    };
    let world = World::new(&file("inspect: {ask: [lens, drift]}"), better);
    let titles: Vec<String> = world
        .jobs()
        .iter()
        .map(|(job, _)| job.title.clone())
        .collect();
    let expect: Vec<String> = (0..3)
        .flat_map(|seed| {
            ["pretrained", "scratch"].into_iter().flat_map(move |init| {
                ["lens", "drift"]
                    .map(|question| format!("{question} of {init} at final step=200 seed={seed}"))
            })
        })
        .collect();
    assert_eq!(titles, expect);
    for (job, inspect) in world.jobs() {
        let point = job.point.expect("it stands somewhere");
        assert_eq!(rate_and_seed(&point).0, 0.002);
        assert_eq!(job.inputs[1..], [inspect.subject.job]);
        assert!(matches!(inspect.base, Base::Job(key) if key == job.inputs[0]));
        assert_eq!((job.kind, inspect.split.as_str()), ("inspect", SPLIT));
    }
    let all = World::new(&file("inspect: {for: all, ask: [lens]}"), better);
    assert_eq!(all.jobs().len(), 12);
}

#[test]
fn networks_are_paired_within_and_across_arms() {
    let world = World::new(&file("inspect: {ask: [similarity, lens]}"), |_| 0.9);
    let pairs = |init: Init, seed: u64| -> Vec<(String, Init, u64)> {
        let jobs = world.jobs();
        let asked = jobs.iter().map(|(_, inspect)| inspect).find(|i| {
            i.question == Question::Similarity && (i.subject.init, i.subject.seed) == (init, seed)
        });
        let others = &asked.expect("it is asked").others;
        let seen = |p: &Partner| (p.pairing.clone(), p.network.init, p.network.seed);
        others.iter().map(seen).collect()
    };
    let ft = |pairing: &str, init, seed| (pairing.to_owned(), init, seed);
    let (pre, sc) = (Init::Pretrained, Init::Scratch);
    assert_eq!(pairs(pre, 0), [ft("ft_ft", pre, 1), ft("ft_sc", sc, 0)]);
    // After the last seed comes the first.
    assert_eq!(pairs(pre, 2), [ft("ft_ft", pre, 0), ft("ft_sc", sc, 2)]);
    assert_eq!(pairs(sc, 1), [ft("sc_sc", sc, 2)]);
    let alone = world
        .jobs()
        .into_iter()
        .filter(|(_, i)| i.question == Question::Lens);
    assert!(alone.into_iter().all(|(_, i)| i.others.is_empty()));
}

#[test]
fn of_all_runs_each_is_paired_with_the_chosen_twin_or_with_that_of_its_rate() {
    let better = |point: &Point| {
        let worse = rate_and_seed(point).0 == 0.001;
        if worse { 0.8 } else { 0.9 }
    };
    let mut world = World::new(&file("inspect: {for: all, ask: [similarity]}"), better);
    let twins = |world: &World| -> Vec<(f64, u64, f64)> {
        let run = |key: &JobKey| world.results.runs.iter().find(|run| run.key == *key);
        let rate = |key: &JobKey| rate_and_seed(&run(key).expect("a run").point).0;
        let jobs = world.jobs().into_iter().map(|(_, inspect)| inspect);
        let twins = jobs.flat_map(|i| {
            let twin = i.others.iter().find(|p| p.pairing == "ft_sc").cloned();
            twin.map(|t| (rate(&i.subject.job), i.subject.seed, rate(&t.network.job)))
        });
        twins.collect()
    };
    let chosen = twins(&world);
    assert_eq!(chosen.len(), 6);
    assert!(
        chosen.iter().all(|(_, _, twin)| *twin == 0.002),
        "{chosen:?}"
    );

    // Without the chosen one of seed 0, the equal one; another one is none.
    let gone = world.results.runs.iter_mut().find(|run| {
        run.point["init"] == json!("scratch") && rate_and_seed(&run.point) == (0.002, 0)
    });
    let gone = gone.expect("in the sweep");
    let key = gone.key;
    world.specs.remove(&key);
    let left = twins(&world);
    let of_seed_0: Vec<_> = left.iter().filter(|(_, seed, _)| *seed == 0).collect();
    assert_eq!(of_seed_0, [&(0.001, 0, 0.001)]);
    assert_eq!(left.len(), 5);
}

#[test]
fn two_seeds_are_one_pair() {
    let two = file("inspect: {ask: [similarity]}").replace("count: 3", "count: 2");
    let world = World::new(&two, |_| 0.9);
    let pairs = world.jobs().into_iter().flat_map(|(_, i)| i.others);
    let same = pairs.filter(|p| p.pairing == "ft_ft").count();
    assert_eq!(same, 1);
}

#[test]
fn a_run_that_never_matched_is_not_asked_at_matched() {
    let yaml = file("inspect: {ask: [lens], at: [final, matched]}");
    let world = World::new(&yaml, |point| match rate_and_seed(point).1 {
        1 => 0.94,
        _ => 0.97,
    });
    let matched: Vec<(u64, u64)> = world
        .jobs()
        .iter()
        .filter(|(_, i)| i.subject.weights == Moment::Matched)
        .map(|(_, i)| (i.subject.seed, i.subject.step))
        .collect();
    assert_eq!(matched, [(0, 200), (0, 200), (2, 200), (2, 200)]);
}

#[test]
fn drift_is_asked_along_the_way() {
    let yaml = file("keep: {checkpoints: all}\ninspect: {ask: [drift]}");
    let world = World::new(&yaml, |_| 0.9);
    let steps: Vec<u64> = world
        .jobs()
        .iter()
        .filter(|(_, i)| (i.subject.seed, i.subject.init) == (0, Init::Scratch))
        .map(|(_, i)| i.subject.step)
        .collect();
    assert_eq!(steps, [200, 0, 10, 30, 100]);
}

#[test]
fn a_run_that_failed_is_not_asked() {
    let mut world = World::new(&file("inspect: {ask: [similarity]}"), |_| 0.9);
    let gone = world.results.runs.iter_mut().find(|run| {
        run.point["init"] == json!("scratch") && rate_and_seed(&run.point) == (0.001, 0)
    });
    gone.expect("in the sweep").phase = JobPhase::Failed;
    let jobs = world.jobs();
    // The rate with all seeds wins, and no network is lost.
    assert_eq!(jobs.len(), 6);
    let gone = world.results.runs.iter_mut().find(|run| {
        run.point["init"] == json!("scratch") && rate_and_seed(&run.point) == (0.002, 0)
    });
    gone.expect("in the sweep").phase = JobPhase::Failed;
    let jobs = world.jobs();
    assert_eq!(jobs.len(), 5);
    let twins = jobs.iter().flat_map(|(_, i)| &i.others);
    assert_eq!(twins.filter(|p| p.pairing == "ft_sc").count(), 2);
}
