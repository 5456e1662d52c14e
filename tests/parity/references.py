#!/usr/bin/env python3
"""References for the network's parity tests, made by Hugging Face transformers.

    references.py --out DIR                     makes them
    references.py --out DIR --compare STORED    and compares them with stored ones

Weights and ids are random, from fixed seeds, and nothing is at its trivial default.
The weights are f32, as the network reads them; everything that is computed from
them is computed in f64 and rounded to f32 at the end, so that the references are
the truth and not another library's rounding. README.md names every tensor.
"""

import argparse
import copy
import json
import math
import tempfile
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
import transformers
from transformers import GPT2Config, GPT2LMHeadModel

# Name: what the configuration has, seed of the weights, (batch, length) of the
# data. A length is that of the loss's input; one token more is its last target.
SHAPES = {
    "one-head": (dict(n_layer=1, n_head=1, n_embd=16, n_positions=24, vocab_size=97), 11, [(1, 1), (4, 23)]),
    "two-layers": (dict(n_layer=2, n_head=4, n_embd=16, n_positions=16, vocab_size=97), 12, [(3, 10)]),
    "wide": (dict(n_layer=1, n_head=3, n_embd=36, n_positions=20, vocab_size=97), 13, [(2, 17)]),
    "untied": (dict(n_layer=2, n_head=2, n_embd=16, n_positions=16, vocab_size=97, tie_word_embeddings=False), 14, [(5, 8)]),
    "odd": (dict(n_layer=3, n_head=2, n_embd=18, n_inner=40, n_positions=14, vocab_size=61, layer_norm_epsilon=1e-4), 15, [(7, 13)]),
}
OPTIM = dict(steps=20, warmup=5, learning_rate=3e-3, weight_decay=0.1, beta1=0.9, beta2=0.999, epsilon=1e-8)
# Shape: which loss it learns by, batch and length, the largest norm. The second
# clips some of its steps and leaves others.
COURSES = {"two-layers": ("answer", 4, 10, 1.0), "untied": ("full", 3, 8, 4.5)}


def bare(name):
    return name.removeprefix("transformer.")


def model_of(settings, seed):
    """A network with random weights, f32, in which no two parts are alike."""
    ends = dict(bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(GPT2Config(**settings, **ends, attn_implementation="eager")).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=random)
            if p.ndim == 2:
                p.copy_(noise * (0.5 if "h." not in name else 0.8 / math.sqrt(p.shape[0])))
            elif ".ln_" in name and name.endswith("weight"):
                p.copy_(1 + 0.2 * noise)
            else:
                p.copy_(0.1 * noise)
    return model


def loss_of(kind, model, tokens):
    """`answer`: of the last token alone, given those before. `full`: of every next token."""
    logits = model(tokens[:, :-1]).logits
    if kind == "answer":
        return F.cross_entropy(logits[:, -1], tokens[:, -1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def measure(model, tokens):
    """Logits of all tokens, both losses and all their gradients."""
    found = {"logits": model(tokens).logits.detach()}
    for kind in ["answer", "full"]:
        model.zero_grad()
        loss = loss_of(kind, model, tokens)
        loss.backward()
        found[f"{kind}.loss"] = loss.detach().double().reshape(1)
        for name, p in model.named_parameters():
            found[f"{kind}.grad.{bare(name)}"] = p.grad.clone()
    # The library's own loss, which it computes in f32 whatever the model is in.
    theirs = model(input_ids=tokens, labels=tokens).loss
    assert abs(theirs.item() - found["full.loss"].item()) < 1e-5
    return found


def rate(step):
    if step < OPTIM["warmup"]:
        return OPTIM["learning_rate"] * (step + 1) / OPTIM["warmup"]
    done = (step - OPTIM["warmup"]) / (OPTIM["steps"] - OPTIM["warmup"])
    return OPTIM["learning_rate"] * 0.5 * (1 + math.cos(math.pi * done))


def course(model, kind, clip, tokens):
    """Some steps of AdamW: the loss and the norm of each, and the final weights."""
    decays = lambda name, p: p.ndim >= 2 and bare(name) not in ["wte.weight", "wpe.weight", "lm_head.weight"]
    groups = [
        dict(params=[p for n, p in model.named_parameters() if decays(n, p) == on], weight_decay=OPTIM["weight_decay"] * on)
        for on in [True, False]
    ]
    adamw = torch.optim.AdamW(groups, betas=(OPTIM["beta1"], OPTIM["beta2"]), eps=OPTIM["epsilon"])
    losses, norms, rates = [], [], []
    for step, batch in enumerate(tokens):
        adamw.zero_grad()
        loss = loss_of(kind, model, batch)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), clip).item())
        for group in adamw.param_groups:
            group["lr"] = rate(step)
        adamw.step()
        losses.append(loss.item())
        rates.append(rate(step))
    found = dict(zip(["course.losses", "course.norms", "course.rates"], map(torch.DoubleTensor, [losses, norms, rates])))
    found.update({f"course.final.{bare(n)}": p.detach() for n, p in model.named_parameters()})
    return found


def reference(name, model, batches, seed):
    """Everything about one shape, and how far the library's own f32 is from it."""
    settings = model.config
    random = torch.Generator().manual_seed(1000 + seed)
    draw = lambda *shape: torch.randint(settings.vocab_size, shape, generator=random)
    work = [(f"{b}x{t}", draw(b, t + 1), lambda m, tokens: measure(m, tokens)) for b, t in batches]
    about = dict(shape=name, seed=seed, torch=torch.__version__.split("+")[0], transformers=transformers.__version__)
    if name in COURSES:
        kind, b, t, clip = COURSES[name]
        work.append((kind, draw(OPTIM["steps"], b, t + 1), lambda m, tokens: course(m, kind, clip, tokens)))
        about["course"] = dict(OPTIM, loss=kind, clip=clip)
    stored = {}
    for place, tokens, run in work:
        exact = run(copy.deepcopy(model).double(), tokens)
        single = run(copy.deepcopy(model), tokens)
        stored[f"{place}.tokens"] = tokens
        for key, value in exact.items():
            keep = value.dtype if value.ndim == 1 and key.split(".")[-1] in ["loss", "losses", "norms", "rates"] else torch.float32
            stored[f"{place}.{key}"] = value.to(keep).contiguous()
        report(name, place, exact, single)
    return stored, about


def report(name, place, exact, single):
    worst = {}
    for key, value in exact.items():
        kind = key.split(".grad.")[0] + (".grad" if ".grad." in key else "")
        kind = "course.final" if key.startswith("course.final") else kind
        if kind == "course.final" and key.endswith("c_attn.bias"):
            # Of k's bias the softmax sees nothing: its gradient is rounding alone, and
            # AdamW makes steps of it.
            seen = lambda t: torch.cat([t.chunk(3)[0], t.chunk(3)[2]])
            value, single[key] = seen(value), seen(single[key])
        error = ((single[key].double() - value).abs().max() / value.abs().max().clamp(min=1e-30)).item()
        worst[kind] = max(worst.get(kind, 0), error)
    print(f"f32 of the library itself, {name} {place}:", ", ".join(f"{k} {e:.1e}" for k, e in worst.items()))


def save(model, folder, **how):
    """As the library saves it, but for what is about sampling."""
    model.save_pretrained(folder, **how)
    (folder / "generation_config.json").unlink(missing_ok=True)


def save_variants(model, out):
    """One network in the forms in which files of GPT-2 are found."""
    clone = lambda: copy.deepcopy(model)
    save(clone(), out / "sharded", max_shard_size="9KB")
    save(clone().half().transformer, out / "bare-f16-sharded", max_shard_size="5KB")
    save(clone().bfloat16(), out / "bf16")
    # As the first files of GPT-2 were: no prefix, and each block with its mask.
    published = {bare(n): p.detach().contiguous() for n, p in model.named_parameters()}
    size = model.config.n_positions
    for layer in range(model.config.n_layer):
        published[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(1, 1, size, size))
        published[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save(clone(), out / "published")
    safetensors.torch.save_file(published, out / "published" / "model.safetensors", {"format": "pt"})


def make(out):
    for name, (settings, seed, batches) in SHAPES.items():
        model = model_of(settings, seed)
        save(model, out / name)
        stored, about = reference(name, model, batches, seed)
        # One entry: the order of several differs from run to run.
        safetensors.torch.save_file(stored, out / name / "reference.safetensors", {"made": json.dumps(about)})
        if name == "one-head":
            save_variants(model, out / "variants")


def compare(made, stored):
    """Requires the same files with the same content, up to rounding."""
    names = lambda folder: sorted(p.relative_to(folder) for p in folder.rglob("*") if p.suffix in [".json", ".safetensors"])
    assert names(made) == names(stored), f"other files:\n{names(made)}\n{names(stored)}"
    for name in names(made):
        if name.suffix == ".json":
            a, b = (json.loads((folder / name).read_text()) for folder in [made, stored])
            a.pop("transformers_version", None), b.pop("transformers_version", None)
            assert a == b, f"{name}: {a} is not {b}"
            continue
        a, b = (safetensors.torch.load_file(folder / name) for folder in [made, stored])
        assert a.keys() == b.keys(), f"{name} has other tensors"
        for key, expected in b.items():
            assert a[key].shape == expected.shape, f"{name}: {key} is {a[key].shape}, not {expected.shape}"
            error = (a[key].double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1e-30)
            assert error <= 2e-7, f"{name}: {key} is off by {error:.1e} of its largest value"
    print(f"{len(names(made))} files are as stored")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the references; a temporary one otherwise")
    parser.add_argument("--compare", type=Path, help="folder of stored references")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or Path(temporary)
        make(out)
        if args.compare:
            compare(out, args.compare)
