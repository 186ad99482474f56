"""Checks of labelled lines: the checkpoint can learn to write each label, and the image of each fits the encoder."""

from __future__ import annotations

from collections import Counter

from vedcore.config import pair
from vedcore.diagnosis.checkpoint import OpenedCheckpoint
from vedcore.diagnosis.findings import Finding, Findings
from vedcore.diagnosis.labelled_lines import LabelledLines
from vedcore.errors import TokenizerError
from vedcore.text import describe_unknown, is_unwritable

_MUCH_WIDER = 1.5
"""Times the shape of the input: an image that is wider is squeezed until its letters are narrower than those of training."""


def samples_can_be_used(checkpoint: OpenedCheckpoint, lines: LabelledLines) -> Findings:
    """Every image has one label with text, and can be opened."""
    kinds = Counter(kind for kind, _ in lines.problems)
    for kind, count in kinds.most_common():
        first = next(what for of, what in lines.problems if of == kind)
        fix = "correct them ('vedcore train DATA --check' lists all), or leave them out with --skip-bad"
        yield Finding("warning", "data", f"{_some(count, len(lines.texts))}: {kind}, the first {first}", fix)


def labels_can_be_written(checkpoint: OpenedCheckpoint, lines: LabelledLines) -> Findings:
    """The tokenizer has a token for each character of the labels."""
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        return
    counts = Counter(character for text in lines.texts for character in text)
    unknown = {character: count for character, count in counts.items() if is_unwritable(tokenizer, character)}
    if unknown:
        problem, fix = describe_unknown(unknown)
        yield Finding("warning", "data", problem, fix)


def labels_fit_the_positions(checkpoint: OpenedCheckpoint, lines: LabelledLines) -> Findings:
    """The decoder has a position for each token of a label and for the end token."""
    tokenizer, decoder = checkpoint.tokenizer, checkpoint.part("decoder")
    positions = None if decoder is None else decoder.sizes.max_positions
    if tokenizer is None or positions is None:
        return
    lengths = []
    for text in lines.texts:
        try:
            lengths.append(len(tokenizer.encode(text, add_special_tokens=False)) + 1)
        except TokenizerError:  # labels_can_be_written reports what it can
            lengths.append(0)
    long = [length for length in lengths if length > positions]
    if long:
        index = lengths.index(max(long))
        fix = (
            "none is needed: training cuts these lines as reading does, and splits their labels ('vedcore train DATA --check' "
            "lists those that it leaves out); a decoder with more positions learns them whole"
            if checkpoint.cut_rule is not None
            else "set [model.cut] in a recipe, so that training and reading cut these lines, or use a decoder with more "
            "positions"
        )
        yield Finding(
            "warning",
            "data",
            f"{_some(len(long), len(lengths))}: the label and the end token need more than the decoder's {positions} "
            f"positions; the longest needs {max(long)}: {lines.sources[index]}: {lines.texts[index][:60]!r}",
            fix,
        )


def images_fit_the_input(checkpoint: OpenedCheckpoint, lines: LabelledLines) -> Findings:
    """No image is much wider than the input, in proportion to its height, unless a rule cuts long lines."""
    size = getattr(checkpoint.part_config("encoder"), "image_size", None)
    if size is None or checkpoint.cut_rule is not None:
        return
    height, width = pair(size)
    wide = [(w, h) for w, h in lines.sizes if w / h > _MUCH_WIDER * width / height]
    if wide:
        widest = max(wide, key=lambda image: image[0] / image[1])
        yield Finding(
            "warning",
            "data",
            f"{_some(len(wide), len(lines.sizes))}: the image is more than {_MUCH_WIDER:g} times as wide as the input of "
            f"{width} x {height} (width x height) for its height; the widest has {widest[0]} x {widest[1]}",
            "set [model.cut] in a recipe, so that training and reading cut long lines, or use an encoder with a wider input",
        )


def _some(count: int, of: int) -> str:
    return f"{count} sample{'' if count == 1 else 's'} ({of} labelled in all)"
