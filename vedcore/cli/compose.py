"""``vedcore compose``: join an encoder and a decoder into one model folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vedcore.cli.app import AllowPickle, Debug, app, reported_errors, say
from vedcore.cli.inspect import show
from vedcore.errors import SaveError, VedcoreError

ID_OPTIONS = {
    "decoder_start_token_id": "--start-id",
    "bos_token_id": "--bos-id",
    "eos_token_id": "--eos-id",
    "pad_token_id": "--pad-id",
}
"""The option for each token id."""

OPTIONS = {**ID_OPTIONS, "adapter": "--adapter", "dtype": "--dtype", "seed": "--seed"}
"""The option for each argument of ``from_encoder_decoder_pretrained``, by the ``field`` of the errors about it."""

CHECKPOINT_FILES = (
    "model*.safetensors*",
    "pytorch_model*.bin*",
    "*config.json",
    "vedcore.json",
    "tokenizer.json",
    "vocab.*",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "*.model",
)
"""The files that --force removes: a reader could take them for files of the new checkpoint."""


class DType(StrEnum):
    """The type of the weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


@app.command()
def compose(
    encoder: Annotated[
        str, typer.Argument(metavar="ENCODER", help="A folder or a hub id with the encoder and its image processor.")
    ],
    decoder: Annotated[
        str, typer.Argument(metavar="DECODER", help="A folder or a hub id with the decoder and its tokenizer.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; it must be empty or not exist.")],
    adapter: Annotated[
        str, typer.Option("--adapter", help="The adapter that joins them: linear, gated, or one from a plugin.")
    ] = "linear",
    seed: Annotated[int, typer.Option("--seed", help="The seed of the new weights.")] = 0,
    dtype: Annotated[
        DType | None, typer.Option("--dtype", help="The type of all weights. By default they keep the stored type.")
    ] = None,
    image_processor: Annotated[
        str | None, typer.Option("--image-processor", help="Take the image processor from here instead of ENCODER.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Take the tokenizer from here instead of DECODER.")
    ] = None,
    start_id: Annotated[int | None, typer.Option("--start-id", help="The id of the token that starts a text.")] = None,
    bos_id: Annotated[int | None, typer.Option("--bos-id", help="The id of the begin token.")] = None,
    eos_id: Annotated[
        list[int] | None, typer.Option("--eos-id", help="The id of the end token. Repeat it for several.")
    ] = None,
    pad_id: Annotated[int | None, typer.Option("--pad-id", help="The id of the padding token.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the checkpoint in --out; keep the other files there.")
    ] = False,
    allow_pickle: AllowPickle = False,
    debug: Debug = False,
) -> None:
    """Join an encoder and a decoder into one model folder, with an image processor and a tokenizer.

    Weights that neither checkpoint has (cross-attention, a head, a bridge between the widths) start random and are listed
    as untrained.
    """
    with reported_errors(debug):
        if not force and os.path.isdir(out) and any(out.iterdir()):  # unlike Path.is_dir, no error for a long name
            raise SaveError(
                f"{out}: is not empty; name another folder, or replace the checkpoint in it with --force", file=out
            )
        import torch

        from vedcore.diagnosis import inspect as inspect_checkpoint
        from vedcore.model import VisionEncoderDecoderModel
        from vedcore.reader import locate
        from vedcore.storage.files import staged
        from vedcore.text import Tokenizer
        from vedcore.vision import ImageProcessor

        sources = [locate(name, allow_pickle=allow_pickle) for name in (encoder, decoder)]
        eos = eos_id[0] if eos_id and len(eos_id) == 1 else eos_id or None
        values = zip(ID_OPTIONS, (start_id, bos_id, eos, pad_id), strict=True)
        ids: dict[str, Any] = {name: value for name, value in values if value is not None}
        with _option_hints():
            model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
                *sources,
                adapter=adapter,
                seed=seed,
                dtype=None if dtype is None else getattr(torch, dtype),
                allow_pickle=allow_pickle,
                **ids,
            )
        model.generation_config = model.generation_config.with_default_length(model.decoder.sizes.max_positions)
        images = _loaded(ImageProcessor, image_processor, sources[0], "--image-processor")
        text = _loaded(Tokenizer, tokenizer, sources[1], "--tokenizer")
        with staged(out, replaces=CHECKPOINT_FILES) as stage:
            for part in (model, images, text):
                part.save_pretrained(stage)
        show(inspect_checkpoint(out))
        say(f"{out} is written. Next: vedcore doctor {out}")


def _loaded(kind: Any, name: str | None, default: Path, option: str) -> Any:
    """The image processor or the tokenizer from the checkpoint ``name``, or from the folder ``default``."""
    from vedcore.reader import locate

    try:
        return kind.from_pretrained(default if name is None else locate(name))
    except VedcoreError as error:
        if name is None:
            error.add_note(f"hint: take it from another folder with {option}")
        raise


@contextmanager
def _option_hints() -> Iterator[None]:
    """Add a note to an error about an argument: the option that sets it."""
    try:
        yield
    except VedcoreError as error:
        if error.field in OPTIONS:
            error.add_note(f"hint: on the command line, {error.field} is the option {OPTIONS[error.field]}")
        raise
