#!/usr/bin/env python3
"""References for the patching tests, made by TransformerLens.

    patching.py --out DIR                     makes the model and its references
    patching.py --out DIR --compare STORED    and compares them with the stored ones

A GPT-2 of random weights (Hugging Face's, saved as it saves them) and random pairs of
prompts, patched by TransformerLens's own functions, one forward pass per cell, on the
unprocessed weights (no folding, no centring), in f64. README.md names every tensor.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

import safetensors.torch
import torch
import transformers
from transformer_lens import patching
from transformers import GPT2Config, GPT2LMHeadModel

from peer import hooked

LAYERS, HEADS, WIDTH, POSITIONS, VOCAB = 3, 2, 12, 10, 31
PAIRS, TOKENS = 5, 9
ANSWERS = [4, 17]
SEED = 7


def network():
    """Random, with no two parts alike, so that every site matters."""
    settings = dict(n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, n_positions=POSITIONS, vocab_size=VOCAB)
    model = GPT2LMHeadModel(GPT2Config(**settings, bos_token_id=0, eos_token_id=0)).eval()
    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=random)
            if p.ndim == 2:
                p.copy_(noise * (0.6 if "h." not in name else 0.9 / p.shape[0] ** 0.5))
            elif ".ln_" in name and name.endswith("weight"):
                p.copy_(1 + 0.2 * noise)
            else:
                p.copy_(0.1 * noise)
    return model


def differences(logits, signs):
    """s times (logit of right − logit of left) at the last position."""
    last = logits[:, -1]
    return signs * (last[:, ANSWERS[1]] - last[:, ANSWERS[0]])


# Site: TransformerLens's function, and whether its map is by position.
MAPS = {
    "resid_pre": (patching.get_act_patch_resid_pre, True),
    "resid_mid": (patching.get_act_patch_resid_mid, True),
    "attn_out": (patching.get_act_patch_attn_out, True),
    "mlp_out": (patching.get_act_patch_mlp_out, True),
    "z": (patching.get_act_patch_attn_head_out_all_pos, False),
    "q": (patching.get_act_patch_attn_head_q_all_pos, False),
    "k": (patching.get_act_patch_attn_head_k_all_pos, False),
    "v": (patching.get_act_patch_attn_head_v_all_pos, False),
    "pattern": (patching.get_act_patch_attn_head_pattern_all_pos, False),
}


def maps(net, clean, corrupt, signs):
    """Every map, of both directions, as ratios of sums."""
    ld = lambda tokens: differences(net(tokens), signs).sum()
    with torch.no_grad():
        ld_clean, ld_corrupt = ld(clean), ld(corrupt)
        span = ld_clean - ld_corrupt
        caches = [net.run_with_cache(tokens)[1] for tokens in [clean, corrupt]]
        found = {"ld.clean": differences(net(clean), signs), "ld.corrupt": differences(net(corrupt), signs)}
        for site, (patch, _) in MAPS.items():
            restored = lambda logits: (differences(logits, signs).sum() - ld_corrupt) / span
            lost = lambda logits: (ld_clean - differences(logits, signs).sum()) / span
            found[f"denoising.{site}"] = torch.as_tensor(patch(net, corrupt, caches[0], restored))
            found[f"noising.{site}"] = torch.as_tensor(patch(net, clean, caches[1], lost))
    return found


def main(out):
    model = network()
    random = torch.Generator().manual_seed(1000 + SEED)
    clean = torch.randint(VOCAB, (PAIRS, TOKENS), generator=random)
    corrupt = clean.clone()
    # As counterfactuals do: two tokens of each prompt change, not always the same.
    for row in range(PAIRS):
        for position in [1 + row % 2, 5]:
            corrupt[row, position] = (clean[row, position] + 1 + row) % VOCAB
    right = torch.tensor([1, 0, 0, 1, 1])
    net = hooked(model, torch.float64)
    theirs = model.double()(clean).logits.detach()
    assert (net(clean) - theirs).abs().max() < 1e-9, "TransformerLens does not have the network"
    found = maps(net, clean, corrupt, 2.0 * right - 1)
    stored = {name: value.to(torch.float32).contiguous() for name, value in found.items()}
    stored |= {"clean": clean, "corrupt": corrupt, "right": right, "answers": torch.tensor(ANSWERS)}
    out.mkdir(parents=True, exist_ok=True)
    model.float().save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    about = dict(
        seed=SEED, torch=torch.__version__.split("+")[0], transformers=transformers.__version__,
        transformer_lens=version("transformer_lens"),
    )
    safetensors.torch.save_file(stored, out / "reference.safetensors", {"made": json.dumps(about)})


def compare(made, stored):
    """Fails if the references are not the stored ones."""
    made, stored = (safetensors.torch.load_file(folder / "reference.safetensors") for folder in (made, stored))
    assert made.keys() == stored.keys(), made.keys() ^ stored.keys()
    for name in made:
        assert made[name].shape == stored[name].shape, f"{name}: {made[name].shape} is not {stored[name].shape}"
    off = {name: float((made[name] - stored[name]).abs().max()) for name in made}
    # Each by itself: a maximum would drop NaN.
    assert all(d < 1e-6 for d in off.values()), f"other than the stored ones: {off}"
    print(f"largest difference to the stored ones: {max(off.values()):.1e} in {max(off, key=off.get)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the references")
    parser.add_argument("--compare", type=Path, help="folder of the stored references")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    main(args.out)
    if args.compare:
        compare(args.out, args.compare)
