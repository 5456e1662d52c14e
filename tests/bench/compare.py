"""Times our training step beside PyTorch's: in turns, within one run.

Prints for each shape the ratio of processor times, ours over PyTorch's, with its
spread over the rounds; below 1 is faster. Called by `run`, which builds both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

TINY = dict(layers=4, heads=4, width=128, positions=128, vocab=2048, batch=64, tokens=32)
SMALL = dict(layers=12, heads=12, width=768, positions=1024, vocab=50257, batch=8, tokens=32)

# name: shape, loss, frozen blocks of ours and of the peer, steps a round of each.
# Ours enters above the frozen blocks, as training on a fixed set of prompts does
# after the first step; a peer with frozen blocks runs through them.
CASES = {
    "tiny": (TINY, "full", (0, 0), (6, 6)),
    "tiny-answer": (TINY, "answer", (0, 0), (8, 6)),
    "tiny-frozen": (TINY, "answer", (3, 3), (40, 10)),
    "tiny-frozen-to-full": (TINY, "answer", (3, 0), (40, 6)),
    "small": (SMALL, "full", (0, 0), (1, 1)),
    "small-answer": (SMALL, "answer", (0, 0), (1, 1)),
    "small-frozen": (SMALL, "answer", (9, 9), (4, 1)),
    "small-frozen-to-full": (SMALL, "answer", (9, 0), (4, 1)),
}


class Trainer:
    """A process that trains on demand."""

    def __init__(self, command, options, threads):
        env = dict(os.environ)
        for name in ("RAYON", "OMP", "MKL"):
            env[f"{name}_NUM_THREADS"] = str(threads)
        # As the worker does: the tensor library's own pool would spin beside ours.
        env["CANDLE_NUM_THREADS"] = "1"
        arguments = [f"{key}={value}" for key, value in options.items()]
        self.process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended early; its error stands above")
        return json.loads(line)

    def step(self, count):
        """Seconds a step, by both clocks."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        answer = self.read()
        return {clock: answer[clock] / count for clock in ("cpu_secs", "wall_secs")}

    def end(self):
        self.process.stdin.close()
        peak = self.read()["peak_mib"]
        self.process.wait()
        return peak


def spread(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def compare(name, ours, threads, rounds):
    shape, loss, frozen, steps = CASES[name]
    commands = [[ours], [sys.executable, HERE / "step.py"]]
    both = [
        Trainer(command, dict(shape, loss=loss, frozen_blocks=blocks, threads=threads), threads)
        for command, blocks in zip(commands, frozen)
    ]
    for trainer in both:
        trainer.step(2)
    taken = []
    for index in range(rounds):
        # Whoever comes second finds warm or throttled cores: they take turns.
        order = [0, 1] if index % 2 == 0 else [1, 0]
        times = {which: both[which].step(steps[which]) for which in order}
        taken.append([times[0], times[1]])
    peaks = [trainer.end() for trainer in both]

    ratios = {
        clock: [ours[clock] / peer[clock] for ours, peer in taken]
        for clock in ("cpu_secs", "wall_secs")
    }
    millis = [
        statistics.median(times[i]["cpu_secs"] for times in taken) * 1000 for i in (0, 1)
    ]
    wall = statistics.median(ours["wall_secs"] for ours, _ in taken) * 1000
    print(
        f"{name:20} {threads} thread(s)  CPU {spread(ratios['cpu_secs'])}  "
        f"wall {spread(ratios['wall_secs'])}  "
        f"CPU ms/step {millis[0]:.1f} : {millis[1]:.1f}  wall ms/step {wall:.1f}  "
        f"peak MiB {peaks[0]:.0f} : {peaks[1]:.0f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, help="the compiled step program")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    print("ratio = ours / PyTorch eager, median over rounds (least to greatest)")
    for name in args.cases or CASES:
        compare(name, args.ours, args.threads, args.rounds)


if __name__ == "__main__":
    main()
