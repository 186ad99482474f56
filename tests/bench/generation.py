"""The whole call of ``generate``, and encoding and decoding apart, on two threads: a short list of cases and a full one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import memory
from tests.bench.checkpoints import LINE_READER, LINE_READER_FOLDER, ROOT, TROCR_BASE, TROCR_SMALL, VIT_GPT2
from tests.bench.models import INFERENCE, TRANSFORMERS, load_for_inference
from tests.bench.options import Options, Part
from tests.bench.results import MEMORY, Result
from tests.bench.timing import in_turn, milliseconds, rounds_for
from tests.bench.tokens import check_tokens

GOLDEN_LINES = ROOT / "tests/golden/lines/images"
IMAGE_SIZES = {VIT_GPT2: 224, TROCR_SMALL: 384, TROCR_BASE: 384}
MEASURES = ("encode", "decode", "whole", MEMORY)


@dataclass(frozen=True)
class Case:
    """A checkpoint, the number of images at once, the options of ``generate``, and the smallest ratios that are good."""

    name: str
    checkpoint: str
    batch: int
    options: Mapping[str, Any]
    wanted: Mapping[str, float]


FORCED = {"max_new_tokens": 32, "eos_token_id": None}
STRATEGIES: dict[str, dict[str, Any]] = {"greedy": FORCED, "beam 4": {**FORCED, "num_beams": 4}}
DECODE_RATIOS = {("greedy", 1): 1.15, ("greedy", 8): 1.3, ("beam 4", 1): 1.3}
"""The wanted ratios of ViT-base + GPT-2's decoding."""


def full_size_case(checkpoint: str, strategy: str, batch: int) -> Case:
    """32 tokens for each image, whatever the model would choose as its end."""
    wanted = {"whole": 1.0, MEMORY: 1.0}
    if checkpoint == VIT_GPT2 and (strategy, batch) in DECODE_RATIOS:
        wanted["decode"] = DECODE_RATIOS[strategy, batch]
    return Case(f"{checkpoint}, {strategy}, batch {batch}", checkpoint, batch, STRATEGIES[strategy], wanted)


SHORT = (
    Case("line reader, batch 1", LINE_READER, 1, {}, {"whole": 3.0, MEMORY: 1.0}),
    Case("line reader, batch 32", LINE_READER, 32, {}, {"whole": 1.5, MEMORY: 1.0}),
    *(full_size_case(VIT_GPT2, strategy, batch) for strategy, batch in DECODE_RATIOS),
)
FULL = tuple(
    full_size_case(checkpoint, strategy, batch)
    for checkpoint in (TROCR_SMALL, VIT_GPT2, TROCR_BASE)
    for strategy in STRATEGIES
    for batch in (1, 8)
)


def run(part: str, cases: Sequence[Case], options: Options) -> Iterator[Result]:
    """Measure the cases one after the other."""
    for case in cases:
        if options.only in case.name:
            folder = options.checkpoints.folder(case.checkpoint)
            values = times(case, folder, options.repeats)
            for library, measured in values.items():
                measured[MEMORY] = memory.peak(__name__, library, case.name, folder)
            yield Result(part, case.name, values, case.wanted)


def times(case: Case, folder: Path, repeats: int | None) -> dict[str, dict[str, float]]:
    """Median milliseconds of a batch for each library. Exits with a message if the tokens differ.

    Decoding is the rest of the whole call after encoding: the time of ``whole`` minus that of ``encode``.
    """
    import torch

    torch.set_num_threads(2)
    batches = pixel_values(case)
    models = {library: load_for_inference(library, folder) for library in INFERENCE}
    calls = {
        (library, measure): partial(each, call, batches)
        for measure in ("encode", "whole")
        for library, call in ((library, call_of(library, model, case, measure)) for library, model in models.items())
    }
    with torch.inference_mode():
        first = milliseconds(lambda: check(case, models, calls, batches))
        samples = in_turn(calls, repeats or rounds_for(first))
    values = {}
    for library in models:
        encode, whole = ([t / len(batches) for t in samples[library, measure]] for measure in ("encode", "whole"))
        decode = [w - e for w, e in zip(whole, encode, strict=True)]
        columns = {"encode": encode, "decode": decode, "whole": whole}
        values[library] = {measure: statistics.median(column) for measure, column in columns.items()}
    return values


def check(
    case: Case, models: Mapping[str, Any], calls: Mapping[Any, Callable[[], Any]], batches: Sequence[Any]
) -> None:
    """Make each call once, to warm up and to compare the tokens of each library with those of transformers."""
    outputs = {key: call() for key, call in calls.items()}
    for library in models:
        for pixels, theirs, ours in zip(
            batches, outputs[TRANSFORMERS, "whole"], outputs[library, "whole"], strict=True
        ):
            check_tokens(f"{case.name}, {library}", models[TRANSFORMERS], pixels, dict(case.options), theirs, ours)


def each(call: Callable[[Any], Any], batches: Sequence[Any]) -> list[Any]:
    """The outputs of a call for each batch."""
    return [call(batch) for batch in batches]


def call_of(library: str, model: Any, case: Case, measure: str) -> Callable[[Any], Any]:
    """A function of pixels (B, C, H, W): ``encode`` gives the encoder's output, ``whole`` gives ids (B, T)."""
    if measure == "whole":
        return lambda pixels: model.generate(pixels, **case.options)
    encode: Callable[[Any], Any] = model.encoder
    if library != TRANSFORMERS:
        encode = (model.inference_form or model).encode  # what ``generate`` runs
    return encode


def pixel_values(case: Case) -> list[Any]:
    """The batches of a case, each (B, C, H, W): the golden lines for the line reader, else one batch of noise."""
    import torch

    if case.checkpoint != LINE_READER:
        size = IMAGE_SIZES[case.checkpoint]
        return [torch.randn(case.batch, 3, size, size, generator=torch.Generator().manual_seed(0))]
    from vedcore import ImageProcessor

    pixels = ImageProcessor.from_pretrained(LINE_READER_FOLDER)(sorted(GOLDEN_LINES.glob("*.png"))).pixel_values
    if case.batch == 1:
        return list(pixels.split(1))
    return [pixels.repeat(-(-case.batch // len(pixels)), 1, 1, 1)[: case.batch]]


def run_once(library: str, name: str, folder: Path) -> None:
    """Load a checkpoint and run a case once, for ``memory``."""
    import torch

    torch.set_num_threads(2)
    case = next(case for case in (*SHORT, *FULL) if case.name == name)
    call = call_of(library, load_for_inference(library, folder), case, "whole")
    with torch.inference_mode():
        each(call, pixel_values(case))


GENERATE = Part("Generation, one batch", MEASURES, partial(run, "generate", SHORT))
GENERATE_FULL = Part("Generation at full size, one batch, 32 tokens", MEASURES, partial(run, "full", FULL))
