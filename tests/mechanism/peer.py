"""A GPT-2 of Hugging Face's in TransformerLens, its weights as they are.

No folding, no centring: the activations are those of the network itself.
"""

import copy
import tempfile

import torch


def hooked(model, dtype=torch.float32):
    """The same network, to run with hooks: a copy in `dtype`."""
    try:
        from transformer_lens import HookedTransformer, HookedTransformerConfig
    except ImportError:
        return bridge(model, dtype)
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    c = model.config
    cfg = HookedTransformerConfig(
        n_layers=c.n_layer, n_heads=c.n_head, d_model=c.n_embd, d_head=c.n_embd // c.n_head, d_mlp=c.n_inner or 4 * c.n_embd,
        n_ctx=c.n_positions, d_vocab=c.vocab_size, act_fn="gelu_new", eps=c.layer_norm_epsilon,
        normalization_type="LN", original_architecture="GPT2LMHeadModel", dtype=dtype, device="cpu",
    )
    net = HookedTransformer(cfg)
    as_they_are = dict(fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False)
    net.load_and_process_state_dict(convert_gpt2_weights(model, cfg), **as_they_are)
    return frozen(net.to(dtype))


def bridge(model, dtype):
    """Since TransformerLens 3 networks are wrapped, not copied."""
    from tokenizers import Tokenizer, models
    from transformer_lens import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    # It wants one, and would ask the hub; prompts are ids here.
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    special = dict.fromkeys(["bos_token", "eos_token", "pad_token", "unk_token"], "a")
    model = copy.deepcopy(model).to(dtype)
    with tempfile.TemporaryDirectory() as folder:
        # It reads it a second time, by its name.
        PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        net = TransformerBridge.boot_transformers("gpt2", hf_model=model, dtype=dtype, device="cpu", tokenizer=tokenizer)
    return frozen(net)


def frozen(net):
    for p in net.parameters():
        p.requires_grad_(False)
    return net.eval()
