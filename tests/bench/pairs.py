"""Every pair that both libraries build, at a small size: the whole call of ``generate``, greedy and with four beams.

On one thread: in a model of this size a second one waits more than it works, for either library.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH, TOKENS, REPEATS = 4, 16, 9
WIDTH, LAYERS, HEADS, IMAGE, VOCABULARY = 128, 3, 4, 64, 1000
FORCED = {"max_new_tokens": TOKENS, "eos_token_id": None}
STRATEGIES: dict[str, dict[str, Any]] = {"greedy": FORCED, "beam 4": {**FORCED, "num_beams": 4}}
TIE = 1e-5

_PLAIN = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 4 * WIDTH,
    "image_size": IMAGE, "patch_size": 8,
}  # fmt: skip
_SWIN = {
    "embed_dim": WIDTH // 4, "depths": [2, 2, 2], "num_heads": [1, 2, 4], "window_size": 4, "image_size": IMAGE,
    "patch_size": 4,
}  # fmt: skip
_BERT = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 4 * WIDTH,
    "max_position_embeddings": 64,
}  # fmt: skip
_GPT2 = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 64}
_TROCR = {
    "d_model": WIDTH, "decoder_layers": LAYERS, "decoder_attention_heads": HEADS, "decoder_ffn_dim": 4 * WIDTH,
    "max_position_embeddings": 64,
}  # fmt: skip
_BART = {**_TROCR, "encoder_layers": LAYERS}  # by which transformers sizes the decoder's cache

ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {  # the name of transformers' config, and its fields
    "vit": ("ViTConfig", _PLAIN),
    "deit": ("DeiTConfig", _PLAIN),
    "beit": ("BeitConfig", {**_PLAIN, "use_relative_position_bias": True}),
    "swin": ("SwinConfig", _SWIN),
}
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", _BERT),
    "roberta": ("RobertaConfig", _BERT),
    "gpt2": ("GPT2Config", _GPT2),
    "bart": ("BartConfig", _BART),
    "trocr": ("TrOCRConfig", _TROCR),
}


def main(only: str = "") -> None:
    """Print a line for each pair whose name (``vit + gpt2``) contains ``only``."""
    import torch

    torch.set_num_threads(1)
    print(f"\nPairs at width {WIDTH}, {LAYERS} layers, {IMAGE} px, batch {BATCH}, {TOKENS} tokens: the whole call, ms")
    print(f"{'':20}" + "".join(f"{name:^42}" for name in STRATEGIES))
    print(f"{'':20}" + f"{'transformers':>16}{'vedcore':>10}{'ratio':>8}{'':8}" * len(STRATEGIES))
    for encoder in ENCODERS:
        for decoder in DECODERS:
            name = f"{encoder} + {decoder}"
            if only in name:
                print(f"{name:20}{''.join(cells(name, encoder, decoder))}".rstrip(), flush=True)


def cells(name: str, encoder: str, decoder: str) -> list[str]:
    """The cells of a pair's line: both times and their ratio for each strategy."""
    import torch

    peer, model = both(encoder, decoder)
    pixels = torch.randn(BATCH, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(0))
    told = []
    for strategy, options in STRATEGIES.items():
        with torch.inference_mode():
            check_tokens(f"{name}, {strategy}", peer, model, pixels, options)
            theirs, ours = times(peer, model, pixels, options)
        ratio = theirs / ours
        told.append(f"{theirs:16.1f}{ours:10.1f}{ratio:8.2f}{'' if ratio >= 1 else '<- slower':>8}")
    return [f"{cell:42}" for cell in told]


def both(encoder: str, decoder: str) -> tuple[Any, Any]:
    """The same random pair in both libraries, each loaded from the same folder."""
    import torch
    import transformers

    from vedcore import VisionEncoderDecoderModel

    torch.manual_seed(0)
    parts = []
    for kind, fields in (ENCODERS[encoder], DECODERS[decoder]):
        ids = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        parts.append(getattr(transformers, kind)(**fields, **(ids if parts else {})))
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(*parts)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 0
    made = transformers.VisionEncoderDecoderModel(config)
    with torch.no_grad():
        for parameter in made.parameters():  # first values are all alike: tokens would repeat, and tie
            parameter.add_(0.05 * torch.randn_like(parameter))
    made.generation_config = transformers.GenerationConfig(decoder_start_token_id=1, eos_token_id=2, pad_token_id=0)
    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder)
        peer = transformers.VisionEncoderDecoderModel.from_pretrained(folder).eval()
        return peer, VisionEncoderDecoderModel.from_pretrained(Path(folder))


def times(peer: Any, model: Any, pixels: Any, options: dict[str, Any]) -> tuple[float, float]:
    """Median milliseconds of a call of theirs and of ours, measured in turn."""
    samples: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for one, taken in zip((peer, model), samples, strict=True):
            started = time.perf_counter()
            one.generate(pixels, **options)
            taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(samples[0]), statistics.median(samples[1])


def check_tokens(what: str, peer: Any, model: Any, pixels: Any, options: dict[str, Any]) -> None:
    """Leave with a message unless both write the same tokens; two that score the same to the reference are a tie."""
    theirs, ours = peer.generate(pixels, **options), model.generate(pixels, **options)
    for row, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        if a.tolist() != b.tolist() and not is_tie(peer, pixels[row : row + 1], a, b, beams="num_beams" in options):
            sys.exit(f"{what}: the tokens of row {row} differ:\n{a.tolist()}\n{b.tolist()}")


def is_tie(peer: Any, pixels: Any, theirs: Any, ours: Any, *, beams: bool) -> bool:
    """Whether the reference's two best scores where the rows part, or its scores of both hypotheses, are within 1e-5."""
    if theirs.shape != ours.shape:
        return False
    if beams:
        worth = []
        for ids in (theirs, ours):
            logits = peer(pixel_values=pixels, decoder_input_ids=ids[None, :-1]).logits[0]
            worth.append(float(logits.log_softmax(dim=-1).gather(1, ids[1:, None]).mean()))
        return abs(worth[0] - worth[1]) <= TIE
    position = int((theirs != ours).nonzero()[0])
    logits = peer(pixel_values=pixels, decoder_input_ids=theirs[None, :position]).logits[0, -1]
    best = logits.topk(2).values
    return float(best[0] - best[1]) <= TIE
