"""The peer of a whole job: Hugging Face's Trainer on the same prompts.

The same base, batches in the same order, steps, schedule, clipping and evaluations;
its prompts come ready made as ids, which ours draws and tokenises itself. What
Trainer offers to anybody is used: the fused AdamW, logits at the last position alone
where nothing else is read, no reports, no checkpoints but the final weights.

    trainer.py BASE PROMPTS OUT STEPS BATCH RATE WARMUP EVAL_EVERY
"""

import sys

import torch
from safetensors.torch import load_file
from torch.utils.data import SequentialSampler, TensorDataset
from transformers import GPT2LMHeadModel, Trainer, TrainingArguments

base, prompts, out = sys.argv[1:4]
steps, batch = int(sys.argv[4]), int(sys.argv[5])
rate, warmup, eval_every = float(sys.argv[6]), int(sys.argv[7]), int(sys.argv[8])

torch.set_num_threads(1)
tensors = {name: tensor.long() for name, tensor in load_file(prompts).items()}
pair = tensors["pair"]
splits = {
    name: TensorDataset(tensors[f"{name}.ids"], tensors[f"{name}.answers"])
    for name in ("train", "val", "test_iid")
}


class LastToken(Trainer):
    """Loss and logits of the last position; batches in the order of the data."""

    def _get_train_sampler(self, *_):
        return SequentialSampler(splits["train"])

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        logits = model(inputs["input_ids"], logits_to_keep=1).logits[:, -1]
        loss = torch.nn.functional.cross_entropy(logits, inputs["labels"])
        return (loss, {"logits": logits[:, pair]}) if return_outputs else loss


def measure(prediction):
    right = pair.numpy()[prediction.predictions.argmax(-1)] == prediction.label_ids
    return {"accuracy": right.mean().item()}


model = GPT2LMHeadModel.from_pretrained(base)
model.config.use_cache = False
trainer = LastToken(
    model=model,
    args=TrainingArguments(
        output_dir=out,
        max_steps=steps,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=256,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=warmup,
        weight_decay=0.01,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        eval_strategy="steps",
        eval_steps=eval_every,
        eval_on_start=True,
        logging_steps=eval_every,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cpu=True,
    ),
    data_collator=lambda rows: dict(
        zip(("input_ids", "labels"), (torch.stack(column) for column in zip(*rows)))
    ),
    train_dataset=splits["train"],
    eval_dataset=splits["val"],
    compute_metrics=measure,
)
trainer.train()
print(trainer.evaluate(splits["test_iid"], metric_key_prefix="test"))
trainer.save_model(out)
