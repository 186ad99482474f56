"""Every pair that both libraries build, at a small size: the whole call of ``generate``, greedy and with four beams.

On one thread: a model of this size loses more by waiting for a second thread than it gains, in either library.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.checkpoints import RandomModel
from tests.bench.models import INFERENCE, TRANSFORMERS, load_for_inference
from tests.bench.options import Options, Part
from tests.bench.results import Result
from tests.bench.timing import in_turn
from tests.bench.tokens import check_tokens

BATCH, TOKENS, REPEATS = 4, 16, 9
WIDTH, LAYERS, HEADS, IMAGE, VOCABULARY = 128, 3, 4, 64, 1000
FORCED = {"max_new_tokens": TOKENS, "eos_token_id": None}
STRATEGIES: dict[str, dict[str, Any]] = {"greedy": FORCED, "beam 4": {**FORCED, "num_beams": 4}}
WANTED = dict.fromkeys(STRATEGIES, 1.0)

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
_BART = {**_TROCR, "encoder_layers": LAYERS}  # transformers sizes the decoder's cache by it
_IDS = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTConfig", _PLAIN),
    "deit": ("DeiTConfig", _PLAIN),
    "beit": ("BeitConfig", {**_PLAIN, "use_relative_position_bias": True}),
    "swin": ("SwinConfig", _SWIN),
}
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", {**_BERT, **_IDS}),
    "roberta": ("RobertaConfig", {**_BERT, **_IDS}),
    "gpt2": ("GPT2Config", {**_GPT2, **_IDS}),
    "bart": ("BartConfig", {**_BART, **_IDS}),
    "trocr": ("TrOCRConfig", {**_TROCR, **_IDS}),
}


def run(options: Options) -> Iterator[Result]:
    """Measure each pair whose name (``vit + gpt2``) contains ``options.only``."""
    for encoder, encoder_config in ENCODERS.items():
        for decoder, decoder_config in DECODERS.items():
            name = f"{encoder} + {decoder}"
            if options.only in name:
                pair = RandomModel(encoder_config, decoder_config, start=1, eos=2, pad=0)
                yield Result("pairs", name, times(name, pair, options.repeats or REPEATS), WANTED)


def times(name: str, pair: RandomModel, repeats: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of each strategy for each library. Exits with a message if the tokens differ."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pair.save(Path(folder))
        models = {library: load_for_inference(library, folder) for library in INFERENCE}
    pixels = torch.randn(BATCH, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(0))
    values: dict[str, dict[str, float]] = {library: {} for library in models}
    for strategy, options in STRATEGIES.items():
        calls = {library: partial(model.generate, pixels, **options) for library, model in models.items()}
        with torch.inference_mode():
            ids = {library: call() for library, call in calls.items()}
            for library in models:
                case = f"{name}, {strategy}, {library}"
                check_tokens(case, models[TRANSFORMERS], pixels, options, ids[TRANSFORMERS], ids[library])
            for library, samples in in_turn(calls, repeats).items():
                values[library][strategy] = statistics.median(samples)
    return values


PAIRS = Part(
    f"Pairs of width {WIDTH}, {LAYERS} layers, {IMAGE} px, batch {BATCH}, {TOKENS} tokens: the whole call",
    tuple(STRATEGIES),
    run,
)
