"""The peer of step.rs: PyTorch eager with Hugging Face's GPT-2 and the fused AdamW.

The same arguments, the same lines in and out. What PyTorch offers to anybody is
used: scaled-dot-product attention, its own tanh GELU in place of the one that
transformers writes out in Python, and logits at the last position alone where the
loss reads no other.
"""

import json
import resource
import sys
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

options = dict(arg.split("=") for arg in sys.argv[1:])
torch.set_num_threads(int(options["threads"]))
torch.manual_seed(0)
vocab, batch, tokens = (int(options[key]) for key in ("vocab", "batch", "tokens"))
layers, frozen = int(options["layers"]), int(options["frozen_blocks"])

model = GPT2LMHeadModel(
    GPT2Config(
        vocab_size=vocab,
        n_positions=int(options["positions"]),
        n_embd=int(options["width"]),
        n_layer=layers,
        n_head=int(options["heads"]),
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
)
if frozen:
    parts = [model.transformer.wte, model.transformer.wpe, *model.transformer.h[:frozen]]
    for parameter in (p for part in parts for p in part.parameters()):
        parameter.requires_grad_(False)
named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
decays = [p for n, p in named if p.dim() > 1 and "wte" not in n and "wpe" not in n]
others = [p for n, p in named if all(p is not d for d in decays)]
adamw = torch.optim.AdamW(
    [{"params": decays, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
    lr=1e-4,
    fused=True,
)
trained = [p for _, p in named]

stream = torch.arange(batch * tokens + 1) * 2654435761 % 2**32 % vocab
ids = stream[:-1].reshape(batch, tokens)
following = stream[1:].reshape(batch, tokens)
full = options["loss"] == "full"


def step():
    adamw.zero_grad(set_to_none=True)
    logits = model(ids, logits_to_keep=0 if full else 1).logits
    targets = following if full else following[:, -1]
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, vocab), targets.reshape(-1))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    adamw.step()
    return loss.item()


for line in sys.stdin:
    cpu, wall, loss = time.process_time(), time.perf_counter(), float("nan")
    for _ in range(int(line)):
        loss = step()
    answer = {
        "cpu_secs": time.process_time() - cpu,
        "wall_secs": time.perf_counter() - wall,
        "loss": loss,
    }
    print(json.dumps(answer), flush=True)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak_mib": peak}), flush=True)
