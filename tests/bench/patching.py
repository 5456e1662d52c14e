"""Times our activation patching beside TransformerLens's: in turns, within one run.

Both patch the same pairs of the same network: resid_pre, attn_out and mlp_out at every
layer and position, z at every layer and head, denoising and noising. TransformerLens
runs its own functions, one forward pass per cell. Prints the ratio of processor times,
theirs over ours (above 1: ours is faster), and how far the maps are apart. Called by
`run_patching`, which builds ours.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ours", required=True, help="the compiled patching program")
parser.add_argument("--base", default="sweeps/bases/tiny", help="folder of a GPT-2 with its tokenizer")
parser.add_argument("--counterfactual", default="cue")
parser.add_argument("--pairs", type=int, default=256)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
args = parser.parse_args()
for name in ("RAYON", "CANDLE", "OMP", "MKL"):
    os.environ[f"{name}_NUM_THREADS"] = str(args.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformer_lens import patching
from transformers import GPT2LMHeadModel

sys.path.insert(0, str(Path(__file__).parent.parent / "mechanism"))
from peer import hooked

MAPS = {
    "resid_pre": patching.get_act_patch_resid_pre,
    "attn_out": patching.get_act_patch_attn_out,
    "mlp_out": patching.get_act_patch_mlp_out,
    "z": patching.get_act_patch_attn_head_out_all_pos,
}


class Ours:
    def __init__(self):
        options = [f"{key}={getattr(args, key)}" for key in ("base", "counterfactual", "pairs")]
        self.process = subprocess.Popen([args.ours, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pairs = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("our program ended early; its error stands above")
        return json.loads(line)

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()

    def end(self):
        self.process.stdin.close()
        return self.read()


def theirs(net, pairs):
    """All maps, and what they took."""
    clean, corrupt = torch.tensor(pairs["clean"]), torch.tensor(pairs["corrupt"])
    signs = 2.0 * torch.tensor(pairs["right"]) - 1
    left, right = pairs["answers"]

    def ld(logits):
        last = logits[:, -1]
        return (signs * (last[:, right] - last[:, left])).double().sum()

    began, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    # What is patched, and nothing else: what else is kept would only cost.
    wanted = tuple(f"hook_{name}" for name in MAPS)
    found = {}
    with torch.no_grad():
        caches = [net.run_with_cache(tokens, names_filter=lambda name: name.endswith(wanted)) for tokens in (clean, corrupt)]
        ld_clean, ld_corrupt = (ld(logits) for logits, _ in caches)
        span = ld_clean - ld_corrupt
        for site, patch in MAPS.items():
            restored = lambda logits: (ld(logits) - ld_corrupt) / span
            lost = lambda logits: (ld_clean - ld(logits)) / span
            found[f"denoising.{site}"] = patch(net, corrupt, caches[0][1], restored)
            found[f"noising.{site}"] = patch(net, clean, caches[1][1], lost)
    ended = resource.getrusage(resource.RUSAGE_SELF)
    cpu = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return found, dict(cpu_secs=cpu, wall_secs=time.perf_counter() - wall)


def main():
    torch.set_num_threads(args.threads)
    ours = Ours()
    net = hooked(GPT2LMHeadModel.from_pretrained(args.base, attn_implementation="eager"))
    tokens = len(ours.pairs["clean"][0])
    print(
        f"TransformerLens {version('transformer_lens')}, torch {torch.__version__}; {args.pairs} pairs of {tokens} tokens "
        f"({args.counterfactual}), {args.threads} thread(s); resid_pre, attn_out, mlp_out by position, z by head, both directions"
    )
    ours.run()
    taken = []
    for index in range(args.rounds):
        # Whoever comes second finds warm or throttled cores: they take turns.
        for which in (0, 1) if index % 2 == 0 else (1, 0):
            if which == 0:
                mine = ours.run()
            else:
                found, peer = theirs(net, ours.pairs)
        taken.append((mine, peer))
        print(f"round {index + 1}: CPU s {mine['cpu_secs']:.2f} : {peer['cpu_secs']:.2f}, wall s {mine['wall_secs']:.2f} : {peer['wall_secs']:.2f}", flush=True)
    worst = 0.0
    for name, values in ours.end()["maps"].items():
        expected = torch.as_tensor(found[name]).double().flatten()
        worst = max(worst, (torch.tensor(values, dtype=torch.float64) - expected).abs().max().item())
    for clock in ("cpu_secs", "wall_secs"):
        ratios = [peer[clock] / mine[clock] for mine, peer in taken]
        print(f"{clock}: theirs / ours {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    print(f"maps: largest difference of a ratio {worst:.1e}")


main()
