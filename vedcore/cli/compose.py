"""``vedcore compose``: two checkpoints become one, ready to train and to read with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vedcore.cli.app import AllowPickle, Debug, app, say, told
from vedcore.cli.inspect import show
from vedcore.errors import ConfigError, SaveError, VedcoreError

ID_OPTIONS = {
    "decoder_start_token_id": "--start-id",
    "bos_token_id": "--bos-id",
    "eos_token_id": "--eos-id",
    "pad_token_id": "--pad-id",
}
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
"""What --force takes out of a folder: all of an older checkpoint that a reader could take for a file of this one."""


class DType(StrEnum):
    """The type of the weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


@app.command()
def compose(
    encoder: Annotated[str, typer.Argument(metavar="ENCODER", help="A folder or a hub id: the encoder, its images.")],
    decoder: Annotated[
        str, typer.Argument(metavar="DECODER", help="A folder or a hub id: the decoder, its tokenizer.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; it may not hold anything.")],
    adapter: Annotated[
        str, typer.Option("--adapter", help="How they are joined: linear, gated, or a plugin's.")
    ] = "linear",
    seed: Annotated[int, typer.Option("--seed", help="What the new weights follow from.")] = 0,
    dtype: Annotated[
        DType | None, typer.Option("--dtype", help="Type of all weights; else as they are stored.")
    ] = None,
    image_processor: Annotated[
        str | None, typer.Option("--image-processor", help="Take the image processor from here, not from ENCODER.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Take the tokenizer from here, not from DECODER.")
    ] = None,
    start_id: Annotated[int | None, typer.Option("--start-id", help="The token that starts a text.")] = None,
    bos_id: Annotated[int | None, typer.Option("--bos-id", help="The begin token.")] = None,
    eos_id: Annotated[list[int] | None, typer.Option("--eos-id", help="The end token; may be given again.")] = None,
    pad_id: Annotated[int | None, typer.Option("--pad-id", help="The padding token.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the checkpoint in --out; its other files stay.")
    ] = False,
    allow_pickle: AllowPickle = False,
    debug: Debug = False,
) -> None:
    """Join an encoder and a decoder into one model, with the image processor of the one and the tokenizer of the other.

    What neither holds (cross-attention, a head, a bridge between their widths) starts random and is named as untrained.
    """
    with told(debug):
        if not force and os.path.isdir(out) and any(out.iterdir()):  # unlike Path.is_dir, no error for a long name
            raise SaveError(f"{out}: is not empty; name another folder, or replace the checkpoint in it with --force")
        import torch

        from vedcore.diagnosis.inspect import inspect
        from vedcore.model import VisionEncoderDecoderModel
        from vedcore.reader import locate
        from vedcore.storage.files import staged
        from vedcore.text import Tokenizer
        from vedcore.vision import ImageProcessor

        sources = [locate(name, allow_pickle=allow_pickle) for name in (encoder, decoder)]
        given = (start_id, bos_id, eos_id[0] if eos_id and len(eos_id) == 1 else eos_id or None, pad_id)
        ids: dict[str, Any] = {name: value for name, value in zip(ID_OPTIONS, given, strict=True) if value is not None}
        with _in_options():
            model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
                *sources,
                adapter=adapter,
                seed=seed,
                dtype=None if dtype is None else getattr(torch, dtype),
                allow_pickle=allow_pickle,
                **ids,
            )
        model.generation_config = model.generation_config.filling(model.decoder.max_positions)
        images = _of_folder(ImageProcessor, image_processor, sources[0], "--image-processor")
        text = _of_folder(Tokenizer, tokenizer, sources[1], "--tokenizer")
        with staged(out, replaces=CHECKPOINT_FILES) as stage:
            for part in (model, images, text):
                part.save_pretrained(stage)
        show(inspect(out))
        say(f"{out} is written. Next: vedcore doctor {out}")


def _of_folder(kind: Any, asked: str | None, source: Path, option: str) -> Any:
    """The image processor or the tokenizer of the folder ``asked`` for, else of ``source``."""
    from vedcore.reader import locate

    try:
        return kind.from_pretrained(source if asked is None else locate(asked))
    except VedcoreError as error:
        raise type(error)(f"{error}; {option} names another folder to take it from") from error


@contextmanager
def _in_options() -> Iterator[None]:
    """An error that asks for an argument of the function asks for the option."""
    try:
        yield
    except ConfigError as error:
        text = str(error).replace("dtype= ", "--dtype ")
        for name, option in ID_OPTIONS.items():
            text = text.replace(f"{name}= ", f"{option} ")
        raise ConfigError(text) from error
