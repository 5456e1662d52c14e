//! MLflow's file store: an experiment's folder with a folder for each run, its
//! parameters, tags and metrics as small text files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::{Exported, exported, put, tagged};
use crate::aggregate::Analysis;
use crate::results::SweepResults;

/// The experiment's id. MLflow takes whole numbers; 0 is its default experiment.
const EXPERIMENT: &str = "1";

/// The whole store.
pub(super) fn write(a: &Analysis, results: &SweepResults, to: &Path) -> io::Result<()> {
    let place = to.join(EXPERIMENT);
    let meta = format!(
        "artifact_location: mlruns/{EXPERIMENT}\ncreation_time: 0\nexperiment_id: '{EXPERIMENT}'\n\
         last_update_time: 0\nlifecycle_stage: active\nname: {}\n",
        quoted(&a.name)
    );
    put(&place.join("meta.yaml"), meta.as_bytes())?;
    for run in exported(a, results) {
        write_run(a, &run, &place)?;
    }
    Ok(())
}

fn write_run(a: &Analysis, run: &Exported<'_>, experiment: &Path) -> io::Result<()> {
    // 32 hexadecimal digits: the job's key, cut, told apart by the place in the
    // sweep where one job stands at two points.
    let key = run.run.key.to_string();
    let id = format!("{}{:08x}", &key[..24], run.run.ordinal);
    let place = experiment.join(&id);
    let meta = format!(
        "artifact_uri: mlruns/{EXPERIMENT}/{id}/artifacts\nend_time: 0\nentry_point_name: ''\n\
         experiment_id: '{EXPERIMENT}'\nlifecycle_stage: active\nrun_id: {id}\nrun_name: {name}\n\
         run_uuid: {id}\nsource_name: ''\nsource_type: 4\nsource_version: ''\nstart_time: 0\n\
         status: 3\ntags: []\nuser_id: ''\n",
        name = quoted(&run.name)
    );
    put(&place.join("meta.yaml"), meta.as_bytes())?;
    std::fs::create_dir_all(place.join("artifacts"))?;
    for (name, value) in &run.params {
        put(&place.join("params").join(name), value.as_bytes())?;
    }
    for (name, value) in [
        ("mlflow.runName", run.name.as_str()),
        ("seedbed.job_key", &key),
    ] {
        put(&place.join("tags").join(name), value.as_bytes())?;
    }
    let mut metrics: BTreeMap<String, String> = BTreeMap::new();
    for (tag, metric) in tagged(a, run.run) {
        // Time, value, step: the step stands for the time.
        let line = metrics.entry(tag).or_default();
        let _ = writeln!(line, "{} {} {}", metric.step, metric.value, metric.step);
    }
    for (name, lines) in metrics {
        put(&place.join("metrics").join(name), lines.as_bytes())?;
    }
    Ok(())
}

/// A text in YAML's single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
