"""The gradient of one step of transformers' Trainer, for their model and ours, by the number of accumulation steps.

    python -m tests.bench.accumulation

The batch of eight rows of unequal length is taken whole, in two halves and in four quarters. The optimiser is plain SGD with
a learning rate of 1, so the change of the parameters is the gradient. It is compared with the gradient of ``loss.backward()``
over the whole batch.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from tests.parity import theirs
from vedcore import VisionEncoderDecoderModel

VIT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip
GPT2 = {
    "vocab_size": 13, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 12, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    "resid_pdrop": 0.0, "add_cross_attention": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


class Learner(nn.Module):
    """A vedcore model for transformers' Trainer, which passes the number of labels of the whole batch to ``forward``."""

    accepts_loss_kwargs = True

    def __init__(self, model: VisionEncoderDecoderModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor, labels: Tensor, num_items_in_batch: Any = None) -> dict[str, Any]:
        """Pixels (B, C, H, W) and labels (B, T) -> the loss."""
        output: Any = self.model(pixel_values=pixel_values, labels=labels, num_items_in_batch=num_items_in_batch)
        return {"loss": output.loss}


class InOrder(transformers.Trainer):  # type: ignore[misc]
    """A Trainer that does not shuffle."""

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def rows() -> list[dict[str, Tensor]]:
    """Eight images with 2 to 8 labels. The last label is the end token."""
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randn(8, 3, 8, 8, generator=generator)
    labels = torch.randint(3, 13, (8, 8), generator=generator)
    for row in range(8):
        end = row * 5 % 7 + 1
        labels[row, end], labels[row, end + 1 :] = 2, -100
    return [{"pixel_values": image, "labels": text} for image, text in zip(pixels, labels, strict=True)]


def step(model: nn.Module, steps: int) -> Tensor:
    """The change of all parameters in one step of the Trainer, as one vector, with the sign of the gradient."""
    before = torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, per_device_train_batch_size=8 // steps, gradient_accumulation_steps=steps, max_steps=1,
            max_grad_norm=0.0, report_to=[], save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True,
            dataloader_pin_memory=False, remove_unused_columns=False,
        )  # fmt: skip
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        InOrder(model=model, args=arguments, train_dataset=rows(), optimizers=(optimizer, constant)).train()
    return before - torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def whole(model: Any) -> Tensor:
    """The gradient of the loss over the whole batch, as one vector."""
    batch = {name: torch.stack([row[name] for row in rows()]) for name in ("pixel_values", "labels")}
    model(**batch).loss.backward()
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])


def main() -> None:
    """Print the norm of each gradient, and its largest difference, against that of the whole batch."""
    reference = theirs(transformers.ViTConfig(**VIT), transformers.GPT2Config(**GPT2))
    print("library       steps  length by the batch's  furthest value")
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        for library, kind in (
            ("transformers", transformers.VisionEncoderDecoderModel),
            ("vedcore", VisionEncoderDecoderModel),
        ):
            expected = whole(kind.from_pretrained(folder))
            for steps in (1, 2, 4):
                model = kind.from_pretrained(folder)
                found = step(Learner(model) if kind is VisionEncoderDecoderModel else model, steps)
                ratio, furthest = float(found.norm() / expected.norm()), float((found - expected).abs().max())
                print(f"{library:12}  {steps:5}  {ratio:22.4f}  {furthest:.1e}")


if __name__ == "__main__":
    main()
