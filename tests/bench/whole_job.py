"""Times one whole short job, process start and end included: ours, by the real
programs (coordinator, one worker, database, result files), beside Hugging Face's
Trainer on the same prompts, in turns within one run.

Prints the ratios of processor time and of wall time, ours over the peer's, with
their spread over the rounds. Called by `run`, which builds ours.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
BASE = HERE.parent.parent / "sweeps" / "bases" / "tiny"

SEED, STEPS, BATCH, RATE, WARMUP, EVAL_EVERY = 1, 100, 64, 5e-4, 10, 50
TASK = dict(
    name="ctxdm",
    template="T0",
    range=[1, 10],
    bins=[[1, 2], [3, 4], [5, 9]],
    train="online",
    eval_trials=720,
)
SWEEP = f"""
name: bench
model: {{path: {BASE}}}
task: {json.dumps(TASK)}
train: {{steps: {STEPS}, batch: {BATCH}, warmup: {WARMUP}, eval_every: {EVAL_EVERY}}}
axes:
  seed: [{SEED}]
  init: [pretrained]
  learning_rate: [{RATE:.1e}]
"""


def timed(command, env):
    """Seconds by both clocks of a process and all that it started, and its output."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    if status:
        sys.exit(f"{command} failed:\n{text}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall}, text


def spread(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coordinator", required=True, help="the compiled program")
    parser.add_argument("--prompts", required=True, help="the compiled prompts program")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    env = dict(os.environ, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    for name in ("RAYON", "CANDLE", "OMP", "MKL"):
        env[f"{name}_NUM_THREADS"] = "1"

    taken, found = [], None
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "bench.yaml").write_text(SWEEP)
        task = dict(TASK, bos=False, random_labels=False, split_seed=0)
        timed(
            [args.prompts, f"base={BASE}", f"task={json.dumps(task)}", f"seed={SEED}",
             f"steps={STEPS}", f"batch={BATCH}", f"out={folder}/prompts.safetensors"],
            env,
        )  # fmt: skip
        for index in range(args.rounds):
            state = folder / f"round-{index}"
            ours = [args.coordinator, "--state", state / "state", "--sweep", folder / "bench.yaml",
                    "--local-workers", 1, "--worker-threads", 1, "--out", state / "out"]  # fmt: skip
            peer = [sys.executable, HERE / "trainer.py", BASE, folder / "prompts.safetensors",
                    state / "peer", STEPS, BATCH, RATE, WARMUP, EVAL_EVERY]  # fmt: skip
            times = {}
            # Whoever comes second finds warm or throttled cores: they take turns.
            for name in ("ours", "peer") if index % 2 == 0 else ("peer", "ours"):
                times[name], text = timed(ours if name == "ours" else peer, env)
                if name == "peer":
                    found = re.search(r"'test_accuracy': '?([0-9.]+)", text)
            taken.append(times)
    ratio = {clock: [t["ours"][clock] / t["peer"][clock] for t in taken] for clock in ("cpu", "wall")}
    of = lambda who, clock: statistics.median(t[who][clock] for t in taken)
    print(
        f"whole job, {STEPS} steps, 1 thread  CPU {spread(ratio['cpu'])}  wall {spread(ratio['wall'])}  "
        f"CPU s {of('ours', 'cpu'):.1f} : {of('peer', 'cpu'):.1f}  "
        f"wall s {of('ours', 'wall'):.1f} : {of('peer', 'wall'):.1f}  "
        f"(the peer's test accuracy: {found.group(1) if found else '?'})",
        flush=True,
    )


if __name__ == "__main__":
    main()
