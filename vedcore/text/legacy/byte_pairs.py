"""Byte-level BPE, as GPT-2 and RoBERTa use it: vocab.json and merges.txt."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from vedcore.errors import TokenizerError
from vedcore.storage.files import read_json
from vedcore.text.ids import LARGEST_ID
from vedcore.text.legacy.folder import VocabularyFolder

BYTE_PAIR_FILES = ("vocab.json", "merges.txt")


def byte_level_bpe(folder: VocabularyFolder) -> Tokenizer:
    """The tokenizer without special tokens around a text. Raises TokenizerError for a broken line or id."""
    path, merges_path = (folder.path / name for name in BYTE_PAIR_FILES)
    vocab, merges = read_json(path), []
    for token, number in vocab.items():
        if type(number) is not int or not 0 <= number < LARGEST_ID:
            raise TokenizerError(
                f"{path}: the id of {token!r} is {number!r}",
                file=path,
                expected=f"an int below {LARGEST_ID}",
                found=number,
            )
    for place, line in enumerate(folder.lines("merges.txt"), 1):
        if not line or line.startswith("#version"):
            continue
        pair = tuple(line.split(" "))
        if len(pair) != 2 or not all(pair):
            raise TokenizerError(
                f"{merges_path}: line {place} must be two tokens, found {line!r}",
                file=merges_path,
                expected="two tokens",
                found=line,
            )
        merges.append((pair[0], pair[1]))
    core = Tokenizer(models.BPE(vocab, merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(folder.flag("add_prefix_space", False)))
    core.decoder = decoders.ByteLevel()
    return core


def gpt2_template(folder: VocabularyFolder, core: Tokenizer) -> Any:
    """Adds bos_token before a text and eos_token after it, if the settings ask for them."""
    template, used = ["$A"], []
    if folder.flag("add_bos_token", False):
        used.append(folder.token_with_id(core, "bos_token"))
        template.insert(0, used[-1][0])
    if folder.flag("add_eos_token", False):
        used.append(folder.token_with_id(core, "eos_token"))
        template.append(used[-1][0])
    if not used:
        return processors.ByteLevel(trim_offsets=False)
    return processors.TemplateProcessing(single=template, special_tokens=list(dict.fromkeys(used)))


def roberta_template(folder: VocabularyFolder, core: Tokenizer) -> Any:
    """Adds cls_token before a text and sep_token after it."""
    return processors.RobertaProcessing(
        folder.token_with_id(core, "sep_token"),
        folder.token_with_id(core, "cls_token"),
        trim_offsets=bool(folder.flag("trim_offsets", True)),
        add_prefix_space=bool(folder.flag("add_prefix_space", False)),
    )
