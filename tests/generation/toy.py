"""A tiny ViT with a tiny GPT-2, and processors that make its rows end at chosen steps."""

import tempfile
from pathlib import Path

import torch
import transformers

from tests.parity import both, perturb
from vedcore import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_vit import ViTConfig

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 17,
    "image_size": 8,
    "patch_size": 4,
}
GPT2 = {
    "vocab_size": 13,
    "n_positions": 20,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def build(vit=VIT, gpt2=GPT2, seed=0):
    config = VisionEncoderDecoderConfig(
        encoder=ViTConfig(**vit),
        decoder=GPT2Config(**gpt2, add_cross_attention=True),
        decoder_start_token_id=1,
        eos_token_id=2,
        pad_token_id=gpt2["pad_token_id"],
    )
    torch.manual_seed(seed)
    model = VisionEncoderDecoderModel(config).eval()
    perturb(model, seed, 0.5)
    return model


def lively():
    """A model whose texts differ from image to image and from step to step."""
    model = build(seed=55)
    with torch.no_grad():
        for layer in range(2):
            model.decoder.blocks[layer].attention.out.weight.mul_(2)
            model.decoder.cross[layer].attention.query.weight.mul_(3)
            model.decoder.cross[layer].attention.out.weight.mul_(4)
        model.decoder.positions.weight.mul_(2)
        model.decoder.norm.bias.zero_()
    return model


def generated(model, pixels, **options):
    return model.generate(pixels, return_dict_in_generate=True, **options)


def rows_of(found):
    """Each row without its padding."""
    return [row[:length] for row, length in zip(found.sequences.tolist(), found.lengths.tolist(), strict=True)]


def end_after(*tokens):
    """A processor that ends a row after any of these tokens, so that rows end at different steps."""

    def process(ids, scores):
        over = torch.isin(ids[:, -1], torch.tensor(tokens))
        only_end = torch.full_like(scores, float("-inf"))
        only_end[:, 2] = 0.0
        return torch.where(over[:, None], only_end, scores)

    return process


def never_end(ids, scores):
    return scores.index_fill(1, torch.tensor([2]), float("-inf"))


STRATEGIES = {
    "greedy": {},
    "beams": {"num_beams": 3},
    "sampling": {"do_sample": True},
    "beam sampling": {"num_beams": 2, "do_sample": True},
}


def pair(seed=0, **gpt2):
    """A random model of transformers, eager, and the same one here."""
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        return both(
            Path(folder), transformers.ViTConfig(**VIT, **off), transformers.GPT2Config(**{**GPT2, **gpt2}), seed
        )
