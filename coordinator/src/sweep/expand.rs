//! Sweep + files → jobs, one at a time, in the order in which they should run:
//! base models first, then seed by seed, so that a partial table is unbiased.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use seedbed_proto::JobKey;
use seedbed_proto::job::{
    Base, CorpusPretrain, DeviceKind, Dtype, Engine, HubModel, JobSpec, Ops, Optim, Pretrain,
    SPEC_VERSION, Task, Train, Work,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::check;
use super::crossing::{Points, Spot};
use super::decode::Setting;
use super::document::{Document, Sweep};
use super::fields;
use super::files::Files;
use super::kinds::Field;
use super::model::Model;
use super::paths;
use super::source::{Problems, SweepErrors};
use crate::results::{Point, label};

/// A job of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Its key.
    pub key: JobKey,
    /// What it does.
    pub spec: JobSpec,
    /// Where it stands in the sweep; none for a job that makes a base model.
    pub point: Option<Point>,
    /// For people: `scratch lr=0.0005 frozen=none seed=3`.
    pub title: String,
}

/// The jobs of a sweep. `files` are those that [`Sweep::files`] asks for.
///
/// # Errors
/// If a file is missing, a base's configuration is unreadable, or a frozen set
/// or an init type does not fit the base.
pub fn expand<'a>(sweep: &'a Sweep, files: &Files) -> Result<Jobs<'a>, SweepErrors> {
    let mut problems = Problems::default();
    let mut bases = Bases::default();
    for document in &sweep.documents {
        for model in document.models() {
            if let Err(message) = bases.add(sweep, model, files) {
                problems.push(model.span, &model.place, message);
            }
        }
    }
    if problems.is_empty() {
        for document in &sweep.documents {
            fits(document, files, &mut problems);
        }
    }
    problems.into_result(&sweep.source)?;

    let mut known = BTreeSet::new();
    let seeds = sweep.documents.iter().flat_map(|d| &d.seeds).copied();
    let seeds: Vec<u64> = seeds.filter(|seed| known.insert(*seed)).collect();
    let crossings: usize = sweep.documents.iter().map(|d| d.crossings.len()).sum();
    Ok(Jobs {
        sweep,
        bases: bases.by_model,
        first: bases.jobs.into_iter(),
        seeds: seeds.into_iter(),
        seed: None,
        document: 0,
        points: None,
        // Within one crossing all points differ.
        seen: (crossings > 1).then(HashSet::new),
    })
}

/// Frozen sets and init types against bases whose shape stands in a file. Most
/// files have few bases and many points: the points are only walked if needed.
fn fits(document: &Document, files: &Files, problems: &mut Problems) {
    if document
        .models()
        .iter()
        .all(|m| Model::of(&m.value).folder().is_none())
    {
        return;
    }
    let mut shapes = BTreeMap::new();
    for spot in Points::new(document) {
        if problems.is_full() {
            return;
        }
        let model = spot.get("model");
        let shape = shapes.entry(model.value.to_string()).or_insert_with(|| {
            let shape = files.shape(&Model::of(&model.value));
            shape.unwrap_or_else(|message| {
                problems.push(model.span, &model.place, message);
                None
            })
        });
        check::check(&spot, shape.as_ref(), problems);
    }
}

/// The bases of a file, and the jobs that make them.
#[derive(Default)]
struct Bases {
    by_model: BTreeMap<String, Base>,
    jobs: Vec<Planned>,
}

impl Bases {
    fn add(&mut self, sweep: &Sweep, setting: &Setting, files: &Files) -> Result<(), String> {
        let id = setting.value.to_string();
        if self.by_model.contains_key(&id) {
            return Ok(());
        }
        let (base, job) = base(sweep, &Model::of(&setting.value), files)?;
        self.by_model.insert(id, base);
        self.jobs.extend(job);
        Ok(())
    }
}

/// Of a job that computes nothing, so that one download serves every engine.
const NO_ENGINE: Engine = Engine {
    device: DeviceKind::Cpu,
    ops: Ops::Fused,
    dtype: Dtype::F32,
    micro_batch: 1,
};

/// How training jobs name a model, and the job that makes it, if one must.
///
/// # Errors
/// If a file of the model is not among the files, or is not what it should be.
pub(super) fn base(
    sweep: &Sweep,
    model: &Model,
    files: &Files,
) -> Result<(Base, Option<Planned>), String> {
    let (title, work, engine) = match model {
        Model::Base { base: folder } | Model::Path { path: folder } => {
            let base = files.base(folder)?;
            files.shape(model)?;
            return Ok((Base::Files(base), None));
        }
        Model::Hub { hub, revision } => {
            let (repo, revision) = (hub.clone(), revision.clone());
            let work = Pretrain::Hub(HubModel { repo, revision });
            (format!("fetch {}", model.title()), work, NO_ENGINE)
        }
        Model::Pretrain { pretrain: p } => {
            let corpus: Result<_, _> = p.corpus.iter().map(|c| files.digest(c)).collect();
            let corpus = CorpusPretrain {
                corpus: corpus?,
                vocab: p.vocab,
                shape: p.shape(),
                context: p.context,
                optim: p.optim(),
                seed: p.seed,
            };
            let work = Pretrain::Corpus(Box::new(corpus));
            // One base for the whole file, whatever engines its documents train on.
            let settings = &sweep.documents[0].settings;
            let engine = engine(|path| &settings[path].value, p.batch);
            (format!("pretrain {}", model.title()), work, engine)
        }
    };
    let spec = JobSpec {
        version: SPEC_VERSION,
        engine,
        work: Work::Pretrain(work),
    };
    let key = spec.key();
    Ok((
        Base::Job(key),
        Some(Planned {
            key,
            spec,
            point: None,
            title,
        }),
    ))
}

/// Iterator over the jobs of a sweep.
#[derive(Debug)]
pub struct Jobs<'a> {
    sweep: &'a Sweep,
    bases: BTreeMap<String, Base>,
    first: std::vec::IntoIter<Planned>,
    seeds: std::vec::IntoIter<u64>,
    seed: Option<u64>,
    document: usize,
    points: Option<Points<'a>>,
    seen: Option<HashSet<JobKey>>,
}

impl Iterator for Jobs<'_> {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if let Some(job) = self.first.next() {
            return Some(job);
        }
        loop {
            let Some(spot) = self.points.as_mut().and_then(Iterator::next) else {
                self.turn()?;
                continue;
            };
            let seed = self.seed.expect("points are of a seed");
            let job = self.job(&spot, seed);
            // The same work at two places of the file is one job.
            if self.seen.as_mut().is_none_or(|seen| seen.insert(job.key)) {
                return Some(job);
            }
        }
    }
}

impl Jobs<'_> {
    /// On to the next document of this seed, or to the next seed.
    fn turn(&mut self) -> Option<()> {
        self.points = None;
        match self.seed {
            Some(_) => self.document += 1,
            None => {
                self.seed = Some(self.seeds.next()?);
                self.document = 0;
            }
        }
        match self.sweep.documents.get(self.document) {
            Some(document) => {
                if self.seed.is_some_and(|seed| document.seeds.contains(&seed)) {
                    self.points = Some(Points::new(document));
                }
            }
            None => self.seed = None,
        }
        Some(())
    }

    fn job(&self, spot: &Spot, seed: u64) -> Planned {
        let optim: Optim = block(fields::TRAIN, "train", spot);
        let base = &self.bases[&spot.get("model").value.to_string()];
        let train = Train {
            base: base.clone(),
            init: typed(spot.get("init").value.clone()),
            frozen: typed(spot.get("frozen").value.clone()),
            untie: spot.get("train.untie").value == true,
            task: task(spot),
            keep: self.sweep.keep.checkpoints.clone(),
            seed,
            optim,
        };
        let spec = JobSpec {
            version: SPEC_VERSION,
            engine: engine(|path| &spot.get(path).value, train.optim.batch),
            work: Work::Train(Box::new(train)),
        };
        let mut point = Point::new();
        let mut title = label(&spot.get("init").value);
        for path in &self.sweep.varied {
            let Some(setting) = spot.find(path) else {
                continue;
            };
            point.insert((*path).to_owned(), setting.value.clone());
            let text = label(&setting.value);
            match *path {
                "init" => {}
                "learning_rate" => title.push_str(&format!(" lr={text}")),
                "model" => title.push_str(&format!(" model={}", Model::of(&setting.value).title())),
                path => {
                    let short = path.rsplit('.').next().unwrap_or(path);
                    title.push_str(&format!(" {short}={text}"));
                }
            }
        }
        title.push_str(&format!(" seed={seed}"));
        point.insert("seed".into(), json!(seed));
        Planned {
            key: spec.key(),
            spec,
            point: Some(point),
            title,
        }
    }
}

/// The task of a point.
pub(super) fn task(spot: &Spot) -> Task {
    block(fields::TASK, "task", spot)
}

/// A block of the job spec, from the settings of its keys.
fn block<T: DeserializeOwned>(fields: &[Field], name: &str, spot: &Spot) -> T {
    let mut all = Map::new();
    for field in fields.iter().filter(|f| f.name != "untie") {
        let path = paths::path_of(name, field.name)
            .expect("every key of a block has a path, see the table's test");
        // Keys without a default may be absent; the parser asked for those that must not.
        let Some(setting) = spot.find(path) else {
            continue;
        };
        let value = match path {
            "task.train" if setting.value.is_u64() => json!({ "fixed": setting.value }),
            // A default warm-up is no longer than the run.
            "train.warmup" if !setting.stated => setting
                .value
                .as_u64()
                .min(spot.get("train.steps").value.as_u64())
                .into(),
            _ => setting.value.clone(),
        };
        all.insert(field.name.to_owned(), value);
    }
    typed(Value::Object(all))
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value)
        .expect("the table's kinds are those of the job spec, see the test of all values")
}

/// The numeric path with every `auto` resolved: a result must not depend on the
/// machine that happens to run it.
fn engine<'v>(setting: impl Fn(&str) -> &'v Value, batch: u32) -> Engine {
    let chosen = |path: &str| match setting(path) {
        Value::String(auto) if auto == "auto" => None,
        value => Some(value.clone()),
    };
    let device = chosen("engine.device").map_or(DeviceKind::Cpu, typed);
    let ops = match device {
        DeviceKind::Cpu => Ops::Fused,
        DeviceKind::Cuda | DeviceKind::Metal => Ops::Composite,
    };
    let micro_batch = chosen("engine.micro_batch").map_or(batch, typed);
    let dtype = chosen("engine.dtype").map_or(Dtype::F32, typed);
    let ops = match chosen("engine.ops") {
        Some(ops) => typed(ops),
        // The fused kernels know f32 alone.
        None if dtype == Dtype::Bf16 => Ops::Composite,
        None => ops,
    };
    Engine {
        device,
        ops,
        dtype,
        micro_batch: micro_batch.min(batch),
    }
}
