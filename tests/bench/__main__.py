"""Time vedcore against transformers in one run: in turn, on the same checkpoint, with the same tokens, on two threads.

    python -m tests.bench                             everything
    python -m tests.bench generate|train|pairs|start  one part of it
    python -m tests.bench --only NAME                 workloads, or pairs, whose name contains NAME
    python -m tests.bench --peak LIBRARY NAME FOLDER  one workload in this process alone, and its peak memory

A ratio is transformers' time by ours: above 1 we are faster. Each figure is the median of the repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import pairs, training

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

ROOT = Path(__file__).parents[2]
LINE_READER = ROOT / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
GOLDEN = ROOT / "tests/golden/lines"


@dataclass(frozen=True)
class Workload:
    """What is decoded: a checkpoint, how many images at once, and the options of ``generate``."""

    name: str
    checkpoint: str
    batch: int
    options: dict[str, Any]
    repeats: int
    at_least: float


FORCED = {"max_new_tokens": 32, "eos_token_id": None}
WORKLOADS = (
    Workload("line reader, batch 1", "line-reader", 1, {}, 9, 3.0),
    Workload("line reader, batch 32", "line-reader", 32, {}, 9, 1.5),
    Workload("ViT-base + GPT-2, greedy, batch 1", "base", 1, FORCED, 5, 1.15),
    Workload("ViT-base + GPT-2, greedy, batch 8", "base", 8, FORCED, 3, 1.3),
    Workload("ViT-base + GPT-2, beam 4, batch 1", "base", 1, {**FORCED, "num_beams": 4}, 3, 1.3),
)


def main() -> None:
    """Print the table, or one workload's peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "generate", "train", "pairs", "start"), default="all")
    parser.add_argument("--peak", nargs=3, metavar=("LIBRARY", "NAME", "FOLDER"))
    parser.add_argument("--only", default="", help="workloads, or pairs, whose name contains this")
    arguments = parser.parse_args()
    if arguments.peak:
        print(json.dumps(peak(*arguments.peak)))
        return
    parts = {
        "generate": lambda: table(WORKLOADS, GENERATING, row, arguments.only),
        "train": lambda: table(training.TRAININGS, TRAINING, training_row, arguments.only),
        "pairs": lambda: pairs.main(arguments.only),
        "start": startup,
    }
    for name, part in parts.items():
        if arguments.part in (name, "all"):
            part()


GENERATING = (
    f"{'':36}{'transformers, ms':>24}{'vedcore, ms':>24}{'ratio':>8}{'wanted':>8}   peak memory, MB\n"
    f"{'':36}{'encode  decode   whole':>24}{'encode  decode   whole':>24}{'':16}   transformers  vedcore"
)
TRAINING = (
    f"\nTraining step\n{'':26}{'transformers, ms':>36}{'vedcore, ms':>36}{'ratio':>8}{'wanted':>8}   peak memory, MB\n"
    f"{'':26}{'forward backward optimiser  whole':>36}{'forward backward optimiser  whole':>36}{'':16}   transformers  vedcore"
)


def table(workloads: Sequence[Any], head: str, line: Callable[[Any, Path], str], only: str) -> None:
    """Print a line for each workload whose name contains ``only``."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {"line-reader": LINE_READER, "base": Path(temporary)}
        chosen = [workload for workload in workloads if only in workload.name]
        if any(workload.checkpoint == "base" for workload in chosen):
            make_base(Path(temporary))
        print(head)
        for workload in chosen:
            print(line(workload, folders[workload.checkpoint]), flush=True)


def row(workload: Workload, folder: Path) -> str:
    """The line of one workload."""
    times = compare(workload, folder)
    measure = "whole" if workload.checkpoint == "line-reader" else "decode"
    cells = "".join(f"{t[part]:8.1f}" for t in times.values() for part in ("encode", "decode", "whole"))
    return f"{workload.name:36}{cells}{judged(workload, times, measure, folder)}   ({measure})"


def training_row(workload: training.Training, folder: Path) -> str:
    """The line of one training step."""
    times = training.times(workload, folder)
    cells = "".join(f"{t[part]:9.0f}" for t in times.values() for part in training.PARTS)
    return f"{workload.name:26}{cells}{judged(workload, times, 'whole', folder)}"


def judged(workload: Any, times: dict[str, dict[str, float]], measure: str, folder: Path) -> str:
    """The cells that say by how much we are faster, and how much memory each takes."""
    ratio = times["transformers"][measure] / times["vedcore"][measure]
    peaks = [peak_in_a_process(library, workload.name, folder) for library in ("transformers", "vedcore")]
    told = "" if ratio >= workload.at_least and peaks[1] <= peaks[0] else "   <- misses"
    return f"{ratio:8.2f}{workload.at_least:8.2f}   {peaks[0]:12.0f}{peaks[1]:9.0f}{told}"


def compare(workload: Workload, folder: Path) -> dict[str, dict[str, float]]:
    """Median milliseconds of encode, decode and whole for both libraries, measured in turn; their tokens must be equal."""
    import torch

    torch.set_num_threads(2)
    pixels = pixel_values(workload)
    calls = {library: calls_of(library, folder, workload.options) for library in ("transformers", "vedcore")}
    with torch.inference_mode():
        outcomes = {library: [call["whole"](batch) for batch in pixels] for library, call in calls.items()}
        for theirs, ours in zip(outcomes["transformers"], outcomes["vedcore"], strict=True):
            if not same_tokens(theirs, ours):
                sys.exit(f"{workload.name}: the tokens differ:\n{theirs.tolist()}\n{ours.tolist()}")
        samples: dict[str, dict[str, list[float]]] = {
            library: {part: [] for part in ("encode", "decode", "whole")} for library in calls
        }
        for _ in range(workload.repeats):
            for part in ("encode", "whole"):
                for library, call in calls.items():
                    started = time.perf_counter()
                    for batch in pixels:
                        call[part](batch)
                    samples[library][part].append((time.perf_counter() - started) * 1000 / len(pixels))
        for parts in samples.values():
            parts["decode"] = [w - e for w, e in zip(parts["whole"], parts["encode"], strict=True)]
    return {
        library: {part: statistics.median(values) for part, values in parts.items()}
        for library, parts in samples.items()
    }


def calls_of(library: str, folder: Path, options: dict[str, Any]) -> dict[str, Callable[[Any], Any]]:
    """The calls to time: pixels to states, and pixels to ids."""
    if library == "vedcore":
        from vedcore import VisionEncoderDecoderModel

        model: Any = VisionEncoderDecoderModel.from_pretrained(folder)
        return {"encode": model.encode, "whole": lambda pixels: model.generate(pixels, **options)}
    import transformers

    peer = transformers.VisionEncoderDecoderModel.from_pretrained(folder).eval()
    return {"encode": peer.encoder, "whole": lambda pixels: peer.generate(pixels, **options)}


def pixel_values(workload: Workload) -> list[Any]:
    """The images in batches: the golden lines, or noise of the base model's size."""
    import torch

    if workload.checkpoint == "base":
        return [torch.randn(workload.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))]
    from vedcore import ImageProcessor

    files = sorted((GOLDEN / "images").glob("*.png"))
    pixels = ImageProcessor.from_pretrained(LINE_READER)(files).pixel_values
    if workload.batch == 1:
        return list(pixels.split(1))
    return [pixels.repeat(-(-workload.batch // len(pixels)), 1, 1, 1)[: workload.batch]]


def same_tokens(theirs: Any, ours: Any) -> bool:
    """Whether the rows are equal up to padding."""
    width = min(theirs.shape[1], ours.shape[1])
    return theirs[:, :width].tolist() == ours[:, :width].tolist()


def make_base(folder: Path) -> None:
    """A random ViT-base and GPT-2, the same every time."""
    import torch
    import transformers

    torch.manual_seed(0)
    encoder, decoder = transformers.ViTConfig(), transformers.GPT2Config(add_cross_attention=True)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = 50256
    model = transformers.VisionEncoderDecoderModel(config)
    model.generation_config.update(decoder_start_token_id=50256, pad_token_id=50256, eos_token_id=50256)
    model.save_pretrained(folder)


def peak(library: str, name: str, folder: str) -> float:
    """Load and run one workload once; the most memory that this process ever had, in MB."""
    import torch

    torch.set_num_threads(2)
    workload = next(one for one in (*WORKLOADS, *training.TRAININGS) if one.name == name)
    if isinstance(workload, training.Training):
        step = training.Step(library, workload, Path(folder))
        step.model.train()
        for _ in range(2):
            step.run()
        return peak_megabytes()
    pixels = pixel_values(workload)
    whole = calls_of(library, Path(folder), workload.options)["whole"]
    with torch.inference_mode():
        for batch in pixels:
            whole(batch)
    return peak_megabytes()


def peak_megabytes() -> float:
    """The high-water mark of this process; getrusage would begin with that of the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak_in_a_process(library: str, name: str, folder: Path) -> float:
    """``peak`` in a process of its own."""
    command = [sys.executable, "-m", "tests.bench", "--peak", library, name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def startup() -> None:
    """How long ``vedcore --help`` takes beside the import of transformers' class."""
    commands = {
        "vedcore --help": [sys.executable, "-m", "vedcore", "--help"],
        "import transformers' model": [
            sys.executable,
            "-c",
            "from transformers import VisionEncoderDecoderModel",
        ],
    }
    medians = {}
    for name, command in commands.items():
        samples = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            samples.append(time.perf_counter() - started)
        medians[name] = statistics.median(samples)
    ours, theirs = medians.values()
    print(f"\nvedcore --help {ours:.2f} s, import of transformers' VisionEncoderDecoderModel {theirs:.2f} s", end="")
    print(f": {ours / theirs:.3f} of it (wanted below 0.1)")


if __name__ == "__main__":
    main()
