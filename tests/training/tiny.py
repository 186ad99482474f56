"""A tiny model and eight lines to learn; also as a program: python -m tests.training.tiny FOLDER STEPS."""

from __future__ import annotations

import json
import os
import signal
import sys
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from vedcore.reader import Reader
from vedcore.training import Recipe, Sample, train
from vedcore.training.log import read_log
from vedcore.training.result import EventCallback

NO_EVALUATION = {"evaluation": {"lines": 0}}
TEXTS = ("one", "two", "three", "four", "five", "six", "seven", "eight")


@lru_cache
def draw(text: str) -> Image.Image:
    image = Image.new("RGB", (64, 16), "white")
    ImageDraw.Draw(image).text((3, 2), text, fill="black")
    return image


class Lines:
    """Eight lines, drawn on access."""

    def __len__(self) -> int:
        return len(TEXTS)

    def __getitem__(self, index: int) -> Sample:
        return Sample(draw(TEXTS[index]), TEXTS[index], f"line {index}")


class TurnsBad(Lines):
    """More samples than are checked before a run; those after them are bad."""

    def __len__(self) -> int:
        return 400

    def __getitem__(self, index: int) -> Sample:
        return super().__getitem__(index % 8) if index < 200 else Sample(draw("x"), "caf\u00e9", f"line {index}")


def recipe(steps: int = 6, *, dropout: float = 0.1, **tables: object) -> Recipe:
    """A recipe for a model of two layers with 16 numbers; ``tables`` replace tables of the recipe."""
    model = {
        "tokenizer": "line-reader",
        "image_processor": {"size": {"height": 16, "width": 64}},
        "encoder": {
            "model_type": "vit",
            "image_size": [16, 64],
            "patch_size": [16, 4],
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "hidden_dropout_prob": dropout,
        },
        "decoder": {
            "model_type": "gpt2",
            "vocab_size": 99,
            "n_embd": 16,
            "n_head": 2,
            "n_layer": 1,
            "n_positions": 16,
            "resid_pdrop": dropout,
            "embd_pdrop": dropout,
            "attn_pdrop": dropout,
        },
    }
    given = {
        "model": model,
        "stages": [{"steps": steps, "lr": 5e-3, "warmup": 2}],
        "batch": {"size": 4, "workers": 0},
        "loss": {"ctc": 0.5},
        "augmentation": {"noise": 0.05, "rotation": 2.0},
        "evaluation": {"data": "train", "lines": 8, "every": 4},
        "checkpoints": {"every": 3},
        "log": 1,
    }
    return Recipe.from_dict({**given, **tables})


def steps_of(run: Path) -> list[dict[str, object]]:
    """The log records of the steps."""
    return [record for record in read_log(run) if record["event"] == "step"]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the checkpoint in ``folder``."""
    return Reader.load(folder).model.state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stop_after(step: int, number: int = signal.SIGINT) -> EventCallback:
    """A callback that sends a signal after the checkpoint of ``step``."""

    def watch(event: str, fields: Mapping[str, Any]) -> None:
        if event == "checkpoint" and fields["step"] == step:
            os.kill(os.getpid(), number)

    return watch


def write_folder(folder: Path, form: str = "jsonl", texts: tuple[str, ...] = TEXTS) -> Path:
    """Write the lines as a folder of images with labels."""
    folder.mkdir(parents=True)
    names = [f"{index}.png" for index in range(len(texts))]
    for name, text in zip(names, texts, strict=True):
        draw(text).save(folder / name)
    if form == "jsonl":
        rows = [json.dumps({"file": name, "text": text}) for name, text in zip(names, texts, strict=True)]
        (folder / "labels.jsonl").write_text("\n".join(rows) + "\n")
    elif form == "csv":
        rows = [f'{name},"{text}"' for name, text in zip(names, texts, strict=True)]
        (folder / "labels.csv").write_text("\n".join(["file,text", *rows]) + "\n")
    else:
        for name, text in zip(names, texts, strict=True):
            (folder / name).with_suffix(".txt").write_text(text + "\n")
    return folder


def write_archive(path: Path, texts: tuple[str, ...] = TEXTS) -> Path:
    """Write the lines as a zip file of images with labels."""
    rows = [json.dumps({"file": f"{index}.png", "text": text}) for index, text in enumerate(texts)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.jsonl", "\n".join(rows) + "\n")
        for index, text in enumerate(texts):
            with archive.open(f"{index}.png", "w") as image:
                draw(text).save(image, "PNG")
    return path


def write_recipe(path: Path, plan: Recipe) -> Path:
    """Write the recipe as a toml file."""
    rows = (f"{key} = {_toml(value)}\n" for key, value in plan.to_dict().items() if value is not None)
    path.write_text("".join(rows))
    return path


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else json.dumps(value)


def main(folder: str, steps: str) -> None:
    """Start or resume a run of ``steps`` steps with dropout, augmentation and evaluations."""
    plan = recipe(int(steps), evaluation={"data": "train", "lines": 8, "every": 25}, checkpoints={"every": 5})
    train(plan, folder, Lines(), resume=(Path(folder) / "recipe.json").exists())


if __name__ == "__main__":
    main(*sys.argv[1:])
