"""The checkpoints that are measured: the line reader of this repository, and random ones of published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LINE_READER = "line reader"
LINE_READER_FOLDER = ROOT / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"

Part = tuple[str, dict[str, Any]]
"""The name of a config class of transformers, and its fields."""


@dataclass(frozen=True)
class RandomModel:
    """An encoder and a decoder with random weights.

    noise: standard deviations of the noise that is added to the initial weights, by a part of the parameter's name. Initial
    weights give nearly equal scores, or the same token at each position and for each image; equal tokens would prove little.
    """

    encoder: Part
    decoder: Part
    start: int
    eos: int
    pad: int
    noise: Mapping[str, float] = field(default_factory=lambda: {"": 0.05})

    def save(self, folder: Path) -> None:
        """Write the checkpoint with transformers. The weights are the same each time."""
        import torch
        import transformers

        torch.manual_seed(0)
        parts = [getattr(transformers, name)(**fields) for name, fields in (self.encoder, self.decoder)]
        config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(*parts)
        ids = {"decoder_start_token_id": self.start, "eos_token_id": self.eos, "pad_token_id": self.pad}
        for name, value in ids.items():
            setattr(config, name, value)
        model = transformers.VisionEncoderDecoderModel(config)
        with torch.no_grad():
            for part, deviation in self.noise.items():
                for name, parameter in model.named_parameters():
                    if part in name:
                        parameter.add_(deviation * torch.randn_like(parameter))
        model.generation_config = transformers.GenerationConfig(**ids)  # type: ignore[no-untyped-call]
        model.save_pretrained(folder)


VIT_GPT2, TROCR_SMALL, TROCR_BASE = "ViT-base + GPT-2", "TrOCR-small", "TrOCR-base"

_DEIT_SMALL = {
    "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536, "image_size": 384,
    "patch_size": 16,
}  # fmt: skip
_TROCR_SMALL = {
    "vocab_size": 64044, "d_model": 256, "decoder_layers": 6, "decoder_attention_heads": 8, "decoder_ffn_dim": 1024,
    "activation_function": "relu", "max_position_embeddings": 512, "scale_embedding": True,
    "use_learned_position_embeddings": True, "layernorm_embedding": True, "cross_attention_hidden_size": 384,
    "tie_word_embeddings": False,
}  # fmt: skip
_VIT_BASE_384 = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "image_size": 384,
    "patch_size": 16, "qkv_bias": False,
}  # fmt: skip
_TROCR_BASE = {
    "vocab_size": 50265, "d_model": 1024, "decoder_layers": 12, "decoder_attention_heads": 16, "decoder_ffn_dim": 4096,
    "activation_function": "gelu", "max_position_embeddings": 512, "scale_embedding": False,
    "use_learned_position_embeddings": True, "layernorm_embedding": True, "cross_attention_hidden_size": 768,
    "tie_word_embeddings": True,
}  # fmt: skip

RANDOM_MODELS = {
    VIT_GPT2: RandomModel(("ViTConfig", {}), ("GPT2Config", {}), 50256, 50256, 50256),
    TROCR_SMALL: RandomModel(("DeiTConfig", _DEIT_SMALL), ("TrOCRConfig", _TROCR_SMALL), 2, 2, 1),
    TROCR_BASE: RandomModel(
        ("ViTConfig", _VIT_BASE_384),
        ("TrOCRConfig", _TROCR_BASE),
        2,
        2,
        1,
        noise={"": 0.02, "encoder_attn": 0.1, "embed_positions": 0.3},
    ),
}


class Checkpoints:
    """The folders of the checkpoints. A random one is written under ``root`` when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        """The folder of a checkpoint."""
        if name == LINE_READER:
            return LINE_READER_FOLDER
        folder = self.root / name.replace(" ", "")
        if not folder.exists():
            RANDOM_MODELS[name].save(folder)
        return folder
