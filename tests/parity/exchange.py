#!/usr/bin/env python3
"""Opens with transformers the models that the worker's tests have saved.

    exchange.py SAVES

SAVES holds one folder per model: `config.json`, `model.safetensors`, and
`ours.safetensors` with tokens and the logits that we find at their last position.
A test of the worker writes it where SEEDBED_PARITY_SAVES says.
"""

import sys
from pathlib import Path

import safetensors.torch
import torch
import transformers
from transformers import GPT2LMHeadModel

# Logits, as a share of the largest: ours are f32, theirs are made in f64.
WITHIN = 1e-6


def check(folder):
    model, info = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
    # The head is not in the file of a tied network: nothing else may be missing.
    for kind in ["missing_keys", "unexpected_keys", "mismatched_keys"]:
        assert set(info[kind]) <= {"lm_head.weight"}, f"{folder.name}: {kind} {info[kind]}"
    tied = model.config.tie_word_embeddings
    assert tied or not info["missing_keys"], f"{folder.name} has no unembedding"
    assert tied == (model.lm_head.weight is model.transformer.wte.weight), folder.name
    assert model.dtype == torch.float32, f"{folder.name} is opened as {model.dtype}"

    ours = safetensors.torch.load_file(folder / "ours.safetensors")
    with torch.no_grad():
        theirs = model.double().eval()(ours["tokens"]).logits[:, -1]
    error = ((ours["logits"] - theirs).abs().max() / theirs.abs().max()).item()
    assert error <= WITHIN, f"{folder.name}: logits are off by {error:.1e} of the largest"
    print(f"{folder.name}: opened, logits within {error:.1e}")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folders = sorted(p for p in Path(sys.argv[1]).iterdir() if p.is_dir())
    assert folders, f"nothing was saved in {sys.argv[1]}"
    for folder in folders:
        check(folder)
