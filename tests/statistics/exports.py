#!/usr/bin/env python3
"""Opens a report's Parquet files with pandas, Polars and DuckDB, which must read the
same, and its exports with the programs that they are for, and compares every number
with metrics.parquet.

    coordinator aggregate --sweep NAME --out DIR --export tensorboard,mlflow
    python tests/statistics/exports.py DIR
"""
import os
import sys
from pathlib import Path

os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

import duckdb
import mlflow
import pandas
import polars
import tensorboard
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

out = Path(sys.argv[1]).resolve()
metrics = pandas.read_parquet(out / "metrics.parquet")
runs = pandas.read_parquet(out / "runs.parquet")
comparisons = pandas.read_csv(out / "comparisons.csv")
print(f"pandas {pandas.__version__}: {len(metrics)} metrics, {len(runs)} runs, {len(comparisons)} comparisons")
for path in sorted(out.glob("*.parquet")):
    one = pandas.read_parquet(path)
    others = [polars.read_parquet(path).to_pandas(), duckdb.read_parquet(str(path)).df()]
    for other in others:
        pandas.testing.assert_frame_equal(one, other, check_dtype=False, check_exact=True)
print(f"polars {polars.__version__}, duckdb {duckdb.__version__}: every Parquet file as in pandas")

done = runs[runs.phase == "done"]
values = metrics.dropna(subset=["value"])
by_key = {key: len(rows) for key, rows in values.groupby("job_key")}

seen = 0
folders = sorted((out / "tensorboard").iterdir())
assert len(folders) == len(done), (len(folders), len(done))
for folder in folders:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        seen += len(events.Scalars(tag))
assert seen == len(values), (seen, len(values))
print(f"tensorboard {tensorboard.__version__}: {len(folders)} runs, {seen} values")

client = MlflowClient(tracking_uri=(out / "mlruns").as_uri())
(experiment,) = [e for e in client.search_experiments() if e.experiment_id == "1"]
found = client.search_runs([experiment.experiment_id], max_results=50_000)
assert len(found) == len(done), (len(found), len(done))
checked = 0
for run in found:
    key = run.data.tags["seedbed.job_key"]
    rows = values[values.job_key == key]
    history = {tag: client.get_metric_history(run.info.run_id, tag) for tag in run.data.metrics}
    assert sum(map(len, history.values())) == by_key[key]
    whole = rows[(rows.metric == "incongruent_accuracy") & (rows.split == "val")]
    curve = {m.step: m.value for m in history["val/incongruent_accuracy"]}
    assert curve == dict(zip(whole.step, whole.value)), run.info.run_name
    assert run.data.params["arm"] == rows.arm.iloc[0]
    checked += by_key[key]
print(f"mlflow {mlflow.__version__}: {len(found)} runs of {experiment.name!r}, {checked} values")
