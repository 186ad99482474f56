"""A tiny model and a batch, and one of two processes that learn it; without transformers, for importing takes time."""

import torch
import torch.distributed

from vedcore import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.model.loss import count_labels
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_vit import ViTConfig

VIT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip
GPT2 = {
    "vocab_size": 13, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 12, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    "resid_pdrop": 0.0, "add_cross_attention": True,
}  # fmt: skip
IDS = {"decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def build():
    torch.manual_seed(0)
    config = VisionEncoderDecoderConfig(encoder=ViTConfig(**VIT), decoder=GPT2Config(**GPT2), **IDS)
    return VisionEncoderDecoderModel(config).train()


def batch(rows=8):
    """Rows of unequal length: 1 to 7 labels, then an end token, then nothing to learn."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(3, 13, (rows, 8), generator=generator)
    for row in range(rows):
        end = row * 5 % 7 + 1
        labels[row, end], labels[row, end + 1 :] = 2, -100
    return labels


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def process(rank, folder):
    """Learn the rows of this process, and write the gradient down."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model, labels = build(), batch()
    mine = slice(0, 3) if rank == 0 else slice(3, 8)
    count = count_labels(labels[mine])
    torch.distributed.all_reduce(count)
    pixels = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))[mine]
    trained = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)  # the pooler is not read
    trained(pixel_values=pixels, labels=labels[mine], num_items_in_batch=count / 2).loss.backward()
    torch.save(gradients(model), folder / f"{rank}.pt")
    del trained  # its threads end before the group that they talk through, and neither process leaves the other talking
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
