"""What is wrong with a checkpoint, and what to do about it.

    from vedcore.doctor import diagnose
    for finding in diagnose("my-model"):
        print(finding.problem, finding.fix)

A check is a function of an opened checkpoint, with one concern; CHECKS has them all. What could not be read is None: then a
check that needs it finds nothing, for the cause is a finding already. Weights are read one tensor at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vedcore.config import id_tuple, pair
from vedcore.diagnosis.inspect import PROCESSOR_FILES, Opened, open_checkpoint, untrained
from vedcore.errors import GenerationError, InputError, PluginError, VedcoreError, foreign
from vedcore.generation.config import DEFAULT_NEW_TOKENS
from vedcore.generation.config import FILE as GENERATION_FILE
from vedcore.model import VisionEncoderDecoderModel
from vedcore.model.token_ids import ID_NAMES
from vedcore.registry import registry
from vedcore.storage.own import OWN_FILE
from vedcore.storage.tensors import StoredTensor, listed, stored_tensors
from vedcore.vision import ImageProcessor

DRY_RUN_TOKENS = 128
"""How many tokens the dry run waits for the end of a text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and the fix.

    severity: "error" where text cannot be written or is wrong, "warning" where it is probably not what is meant.
    concern: "config", "weights", "image processor", "tokenizer", "ids", "generation", "vedcore.json" or "dry run".
    """

    severity: Literal["error", "warning"]
    concern: str
    problem: str
    fix: str


Findings = Iterator[Finding]


def diagnose(name: str | os.PathLike[str], *, allow_pickle: bool = False) -> list[Finding]:
    """What is wrong with a folder, a shipped checkpoint or a hub id, errors first; nothing where all is well.

    A whole model also reads a blank and a noise image, unless an error says already that it cannot.
    Raises CheckpointNotFound where there is no such folder.
    """
    opened = open_checkpoint(name, allow_pickle=allow_pickle)
    findings = [finding for check in CHECKS for finding in check(opened)]
    hopeless = any(finding.severity == "error" and finding.concern != "tokenizer" for finding in findings)
    if opened.is_whole and not hopeless:
        findings += dry_run(opened)
    return sorted(findings, key=lambda finding: finding.severity)


# Files.


def files_are_read(opened: Opened) -> Findings:
    """Each file is there, is what its name says, and holds values that can be used."""
    for unread in opened.unread:
        yield Finding("error", unread.what, unread.reason, _repair(opened, unread.what))


_FILES = {
    "config": ("config.json",),
    "generation": (GENERATION_FILE,),
    "image processor": PROCESSOR_FILES,
    "tokenizer": ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "vocab.txt"),
    OWN_FILE: (OWN_FILE,),
}
_SOURCES = {
    "config": "copy the config.json that was saved with these weights",
    "weights": "copy or download the weights again, every file whole, or save the model again",
    "generation": f"remove {GENERATION_FILE} to have what config.json says",
    "image processor": "copy preprocessor_config.json from the checkpoint of the encoder",
    "tokenizer": "copy tokenizer.json and tokenizer_config.json from the checkpoint of the decoder, or save the tokenizer "
    "there with save_pretrained",
    OWN_FILE: f"remove {OWN_FILE}; with it goes what it says of long lines and of untrained weights",
}


def _repair(opened: Opened, what: str) -> str:
    names = [name for name in _FILES.get(what, ()) if (opened.folder / name).is_file()]
    if what == "config" and not _is_served(opened):
        return "correct model_type, or install the plugin that serves it; 'vedcore plugins' lists those that are here"
    for name in names:
        if not _is_utf8(opened.folder / name):
            return f"save {name} as UTF-8, without a byte order mark"
    if what == "weights" and not opened.allow_pickle and any(opened.folder.glob("pytorch_model*.bin")):
        return "if you trust the pickle, read it with --allow-pickle (allow_pickle=True), and save it as safetensors"
    return f"correct what the message names, or {_SOURCES[what]}" if names else _SOURCES[what]


def _is_served(opened: Opened) -> bool:
    """Whether plugins serve what config.json names."""
    asked = {role: opened.model_type(role) for role in opened.roles} or {"encoder": opened.data.get("model_type")}
    try:
        for role, model_type in asked.items():
            if isinstance(model_type, str):
                registry().backbone(model_type, role)
    except PluginError:
        return False
    return True


def _is_utf8(path: Path) -> bool:
    try:
        return not path.read_text(encoding="utf-8").startswith("\ufeff")
    except (OSError, UnicodeDecodeError):
        return False


# Weights.


def weights_fit_the_config(opened: Opened) -> Findings:
    """Every tensor that config.json asks for is there with its shape, and no other."""
    if opened.misfit is None:
        return
    fix = "take config.json and the weights of one save; if a field of config.json was changed by hand, set it back"
    if not opened.is_whole:
        fix += ". A decoder that is composed may lack its head and its cross-attention: they start random"
    for line in opened.misfit.told():
        yield Finding(
            "error" if opened.is_whole else "warning",
            "weights",
            f"the weights are not what config.json asks for: {line}",
            fix,
        )


def weights_hold_values(opened: Opened) -> Findings:
    """Every value is a finite number, and no weight is all zero."""
    if opened.stored is None:
        return
    broken: list[str] = []
    dead: list[str] = []
    try:
        with stored_tensors(opened.folder, allow_pickle=opened.allow_pickle) as stored:
            for tensor in stored.values():
                count = _count(tensor)
                if count.nan or count.infinite:
                    broken.append(f"{tensor.name} ({count.nan} NaN, {count.infinite} infinite)")
                elif not count.nonzero and _passes_on(tensor):
                    dead.append(tensor.name)
    except VedcoreError as error:
        yield Finding("error", "weights", str(error), _SOURCES["weights"])
    if broken:
        yield Finding(
            "error",
            "weights",
            f"values are not finite: {listed(broken)}",
            "go back to an earlier checkpoint of the training, and train with a lower learning rate, clipped gradients or "
            "bfloat16 in place of float16",
        )
    if dead:
        yield Finding(
            "error",
            "weights",
            f"all values are zero, so that nothing passes through: {listed(dead)}",
            "copy these weights from the checkpoint that they were trained in: they were never filled",
        )


@dataclass(frozen=True, slots=True)
class _Count:
    """How many values of a tensor are what."""

    nan: int
    infinite: int
    nonzero: int


def _count(tensor: StoredTensor) -> _Count:
    values = tensor.read()
    if values.element_size() == 1:  # torch cannot compare values of 8 bits
        values = values.float()
    finite = bool(values.isfinite().all())
    nan, infinite = (0, 0) if finite else (int(values.isnan().sum()), int(values.isinf().sum()))
    return _Count(nan, infinite, int(values.count_nonzero()))


def _passes_on(tensor: StoredTensor) -> bool:
    """Whether a tensor is a factor of all that its layer returns: a matrix, or a norm's scale.

    A table of one row is none: RoBERTa's token types are zero.
    """
    shape = tensor.shape
    return tensor.name.endswith(("weight", "gamma")) and (len(shape) == 1 or (len(shape) > 1 and min(shape[:2]) > 1))


def weights_are_trained(opened: Opened) -> Findings:
    """No parameter still holds the random values that it started from."""
    if names := untrained(opened):
        yield Finding(
            "error",
            "weights",
            f"{len(names)} parameters still hold the random values that they started from ({listed(list(names))})",
            "train the model; until then the text means little",
        )


# Images.


def images_have_the_encoders_channels(opened: Opened) -> Findings:
    """The encoder takes the three channels that the image processor makes."""
    channels = getattr(_config(opened, "encoder"), "num_channels", 3)
    if channels != 3:
        yield Finding(
            "error",
            "image processor",
            f"encoder.num_channels is {channels} in config.json, but every image becomes 3 channels (RGB)",
            'set "num_channels": 3 for the encoder in config.json, with weights made for 3 channels',
        )


def images_have_the_encoders_size(opened: Opened) -> Findings:
    """The image processor makes images of the size that the encoder is made for."""
    size, processor = getattr(_config(opened, "encoder"), "image_size", None), opened.image_processor
    if size is None or processor is None:
        return
    (height, width), made = pair(size), processor.output_size
    sides = f'{{"height": {height}, "width": {width}}}'
    file = _processor_file(opened)
    if made is None:
        yield Finding(
            "warning",
            "image processor",
            f"{file} leaves images in sizes of their own, but the encoder is made for {height} x {width} (height x width)",
            f'set "do_resize": true and "size": {sides} in {file}',
        )
    elif made != (height, width):
        field = "crop_size" if processor.do_center_crop else "size"
        yield Finding(
            "error",
            "image processor",
            f"{file} makes images of {made[0]} x {made[1]}, but the encoder is made for {height} x {width} (height x width)",
            f'set "{field}": {sides} in {file}',
        )


def images_are_normalised(opened: Opened) -> Findings:
    """Black becomes a negative number and white a positive one, of the size that encoders are trained with."""
    processor = opened.image_processor
    if processor is None:
        return
    file = _processor_file(opened)
    fix = (
        'set "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": '
        f'[0.5, 0.5, 0.5] and "image_std": [0.5, 0.5, 0.5] in {file}, or the values that the encoder was trained with'
    )
    try:
        levels = ImageProcessor.from_dict({**processor.to_dict(), **dict.fromkeys(_SHAPING, False)})
        black, white = (levels(np.full((8, 8, 3), level, np.uint8)).pixel_values for level in (0, 255))
    except VedcoreError as error:
        yield Finding("error", "image processor", f"{file}: {error}", _repair(opened, "image processor"))
        return
    lowest, highest = black.amin(dim=(0, 2, 3)), white.amax(dim=(0, 2, 3))
    span = highest - lowest
    if not bool((lowest < 0).all() and (highest > 0).all() and (span >= 1).all() and (span <= 10).all()):
        yield Finding(
            "warning",
            "image processor",
            f"{file} makes black {_numbers(lowest)} and white {_numbers(highest)} (a channel each); encoders are "
            "trained with about -1 and 1, or -2 and 2.5",
            fix,
        )


_SHAPING = ("do_resize", "do_center_crop", "do_align_long_axis", "do_thumbnail", "do_pad", "do_crop_margin")
"""What changes an image's shape, and not the number that a level becomes."""


def _numbers(values: torch.Tensor) -> str:
    return ", ".join(f"{value:.3g}" for value in dict.fromkeys(values.tolist()))


def _processor_file(opened: Opened) -> str:
    return next((name for name in PROCESSOR_FILES if (opened.folder / name).is_file()), PROCESSOR_FILES[-1])


def _config(opened: Opened, role: str) -> Any:
    return getattr(opened.part(role), "config", None)


# Tokens.


def tokenizer_is_the_decoders(opened: Opened) -> Findings:
    """The tokenizer and the decoder have the same tokens, but for a vocabulary that is padded to a round number."""
    decoder, tokenizer = opened.part("decoder"), opened.tokenizer
    if decoder is None or tokenizer is None:
        return
    count, size = max(tokenizer.get_vocab().values()) + 1, decoder.vocab_size
    fix = (
        "copy tokenizer.json and tokenizer_config.json from the checkpoint that the decoder was trained in; if tokens were "
        "added, the decoder's embeddings need a row for each, and training"
    )
    if count > size:
        problem = f"the tokenizer has the ids 0 to {count - 1}, but the decoder's vocabulary ends at {size - 1}"
        yield Finding("error", "tokenizer", problem, fix)
    elif count < size and not any(size % step == 0 and size - count < step for step in (8, 16, 32, 64, 128)):
        problem = f"the decoder's vocabulary has {size} tokens, but the tokenizer has text for the first {count} alone"
        yield Finding("warning", "tokenizer", problem, fix)


def special_tokens_are_hidden(opened: Opened) -> Findings:
    """The tokens that start, end and pad a text are special in the tokenizer, so that the text does not show them."""
    tokenizer = opened.tokenizer
    if tokenizer is None:
        return
    told: set[int] = set()
    for name in ("eos_token_id", "pad_token_id", "decoder_start_token_id"):
        for token in _in_force(opened, name):
            is_wrong = _of_tokenizer(opened, name) not in (None, token)  # a finding of ids_are_the_tokenizers
            if is_wrong or token in told or opened.token(token) is None:
                continue
            told.add(token)
            shown = tokenizer.decode([token], skip_special_tokens=True)
            if shown:
                yield Finding(
                    "warning",
                    "tokenizer",
                    f"{name} is {token}, a token that is not special in the tokenizer: texts will show it as {shown!r}",
                    f'if {token} is right, name {shown!r} in tokenizer_config.json ("{name.removesuffix("_id")}", or among '
                    f'"additional_special_tokens"); if it is not, correct {name} in config.json',
                )


# Token ids.


def ids_are_set(opened: Opened) -> Findings:
    """The ids that begin, end and pad a text are said somewhere."""
    if opened.generation is None or opened.module is None or not opened.is_whole:
        return
    if not _in_force(opened, "decoder_start_token_id") and not _in_force(opened, "bos_token_id"):
        problem = "neither decoder_start_token_id nor bos_token_id is set: no text can begin"
        yield Finding("error", "ids", problem, _set_id(opened, "decoder_start_token_id", "bos_token_id"))
    if not _in_force(opened, "eos_token_id"):
        problem = "eos_token_id is not set: no text ends before its longest length"
        yield Finding("error", "ids", problem, _set_id(opened, "eos_token_id", "eos_token_id"))
    if not _in_force(opened, "pad_token_id"):
        problem = (
            "pad_token_id is not set: labels cannot be padded, and texts of a batch are filled up with the end token"
        )
        yield Finding("warning", "ids", problem, _set_id(opened, "pad_token_id", "pad_token_id"))


def ids_are_in_the_vocabulary(opened: Opened) -> Findings:
    """Every id is one of the decoder's."""
    decoder = opened.part("decoder")
    if decoder is None:
        return
    for name in ID_NAMES:
        for place, ids in _by_place(opened, name).items():
            if any(token >= decoder.vocab_size for token in ids):
                problem = (
                    f"{name} is {_shown(ids)} in {place}, but the decoder's vocabulary has {decoder.vocab_size} tokens"
                )
                yield Finding("error", "ids", problem, _set_id(opened, name, name, place))


def ids_are_the_tokenizers(opened: Opened) -> Findings:
    """The begin, end and padding ids are those of the tokenizer."""
    decoder = opened.part("decoder")
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        theirs = _of_tokenizer(opened, name)
        for place, ids in _by_place(opened, name).items():
            known = decoder is None or all(token < decoder.vocab_size for token in ids)
            if theirs is not None and known and theirs not in ids:
                problem = (
                    f"{name} is {_shown(ids)} ({opened.token(ids)!r}) in {place}, but {theirs} "
                    f"({opened.token(theirs)!r}) in the tokenizer"
                )
                severity: Literal["error", "warning"] = "warning" if name == "bos_token_id" else "error"
                yield Finding(severity, "ids", problem, _set_id(opened, name, name, place))


def ids_agree(opened: Opened) -> Findings:
    """config.json and generation_config.json say the same, where the tokenizer does not decide who is right."""
    for name in ID_NAMES:
        said = _by_place(opened, name)
        ours, theirs = said.get("config.json"), said.get(GENERATION_FILE)
        if ours and theirs and not set(ours) <= set(theirs) and _of_tokenizer(opened, name) is None:
            yield Finding(
                "warning",
                "ids",
                f"{name} is {_shown(ours)} in config.json, but {_shown(theirs)} in {GENERATION_FILE}: training goes by the "
                "one, generation by the other",
                f'set "{name}" in both to the one that the model was trained with',
            )


def _by_place(opened: Opened, name: str) -> dict[str, tuple[int, ...]]:
    """What the files say on an id. The decoder's part counts where nothing else does."""
    said = {item.place: item.value for item in opened.said_ids(name) if item.place != "tokenizer"}
    in_decoder = said.pop("config.json (decoder)", None)
    if not said and in_decoder is not None and not (opened.folder / GENERATION_FILE).is_file():
        said = {"config.json (decoder)": in_decoder}
    ids = {place: tuple(t for t in id_tuple(value) if type(t) is int and t >= 0) for place, value in said.items()}
    return {place: tokens for place, tokens in ids.items() if tokens}


def _in_force(opened: Opened, name: str) -> tuple[int, ...]:
    """The ids that generation goes by."""
    said = _by_place(opened, name)
    return said.get(GENERATION_FILE) or next(iter(said.values()), ())


_INSTEAD = {"bos_token_id": "cls_token_id", "eos_token_id": "sep_token_id"}
"""What a tokenizer of BERT's kind has in place of a begin and an end token."""


def _of_tokenizer(opened: Opened, name: str) -> int | None:
    found: int | None = getattr(opened.tokenizer, name, None)
    return getattr(opened.tokenizer, _INSTEAD.get(name, name), None) if found is None else found


def _set_id(opened: Opened, name: str, like: str, place: str = "config.json") -> str:
    """The fix for an id: what it must be, where the tokenizer says so."""
    token = _of_tokenizer(opened, like)
    if token is None:
        return f'set "{name}" in {place} to the id of the token that the decoder was trained with'
    return f'set "{name}": {token} ({opened.token(token)!r}) in {place}, if this is the decoder\'s tokenizer'


def _shown(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids))


# Generation.


def settings_can_be_followed(opened: Opened) -> Findings:
    """The generation settings let a text end, do not contradict each other, and ask for nothing that is not done here."""
    if opened.generation is None:
        return
    ends = _in_force(opened, "eos_token_id") or None
    try:
        opened.generation.replace(eos_token_id=ends).resolved()
    except VedcoreError as error:
        yield Finding("error", "generation", f"{GENERATION_FILE}: {error}", _repair(opened, "generation"))
    suppressed = set(opened.generation.suppress_tokens or ())
    if ends is not None and set(ends) <= suppressed:
        problem = f"suppress_tokens has {_shown(ends)}, the end token: no text ends before its longest length"
        fix = f'take {_shown(ends)} out of "suppress_tokens" in {GENERATION_FILE}'
        yield Finding("error", "generation", problem, fix)


def length_is_set(opened: Opened) -> Findings:
    """A longest length is said, is within the decoder's positions, and leaves room for the shortest."""
    generation, decoder = opened.generation, opened.part("decoder")
    if generation is None or not opened.is_whole:
        return
    positions = getattr(decoder, "max_positions", None)
    room = [n for n in (positions, getattr(opened.tokenizer, "model_max_length", None)) if n is not None]
    length = f'set "max_length"{f": {min(room)}" if room else ""} in {GENERATION_FILE}'
    limit = generation.limit(1)
    if generation.max_length is None and generation.max_new_tokens is None:
        problem = (
            f"neither max_length nor max_new_tokens is set, so every text is cut after {DEFAULT_NEW_TOKENS} tokens"
        )
        yield Finding("warning", "generation", problem, f"{length}, or as many as your longest text needs")
    elif positions is not None and limit > positions + 1:  # the last token is never fed
        problem = f"texts may grow to {limit} tokens, but the decoder has positions for {positions}, where they are cut"
        yield Finding("warning", "generation", problem, length)
    if generation.least(1) > limit:
        problem = f"a text must have {generation.least(1)} tokens before it ends, but is cut after {limit}"
        yield Finding("error", "generation", problem, f'set "min_length" below "max_length" in {GENERATION_FILE}')


# The dry run.


def dry_run(opened: Opened) -> Findings:
    """The whole model reads a blank and a noise image, and each text comes to an end."""
    processor = opened.image_processor
    if processor is None:
        return
    size = processor.output_size or pair(getattr(_config(opened, "encoder"), "image_size", 64))
    blank = np.full((*size, 3), 255, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, blank.shape, dtype=np.uint8)
    try:
        with foreign(InputError, "the dry run"):
            model = VisionEncoderDecoderModel.from_pretrained(opened.folder, allow_pickle=opened.allow_pickle)
            output = model.generate(
                processor([blank, noise]).pixel_values,
                generator=torch.Generator().manual_seed(0),
                max_new_tokens=DRY_RUN_TOKENS,
                return_dict_in_generate=True,
            )
    except VedcoreError as error:
        fix = "correct what the message names, in config.json or in generation_config.json"
        if isinstance(error, GenerationError):
            fix = "load the model with dtype=torch.float32 and save it so; if that fails too, train it anew"
        yield Finding("error", "dry run", f"reading a blank and a noise image failed: {error}", fix)
        return
    reasons = output.stop_reasons
    each = len(reasons) // 2
    endless = [name for i, name in enumerate(("a blank", "a noise")) if "eos" not in reasons[i * each : (i + 1) * each]]
    if endless:
        count = int(output.lengths.max()) - 1
        yield Finding(
            "warning",
            "dry run",
            f"{' and '.join(endless)} image gave {count} tokens and no end token",
            "train with the end token behind every label; until then no_repeat_ngram_size breaks a loop, and max_length "
            "cuts it",
        )


CHECKS: tuple[Callable[[Opened], Findings], ...] = (
    files_are_read,
    weights_fit_the_config,
    weights_hold_values,
    weights_are_trained,
    images_have_the_encoders_channels,
    images_have_the_encoders_size,
    images_are_normalised,
    tokenizer_is_the_decoders,
    special_tokens_are_hidden,
    ids_are_set,
    ids_are_in_the_vocabulary,
    ids_are_the_tokenizers,
    ids_agree,
    settings_can_be_followed,
    length_is_set,
)
"""Every check but the dry run, in the order in which findings are told."""
