"""How to repair or replace a file of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from vedcore.diagnosis.checkpoint import PROCESSOR_FILES, OpenedCheckpoint
from vedcore.errors import PluginError
from vedcore.generation.config import FILE as GENERATION_FILE
from vedcore.registry import registry
from vedcore.storage.own import OWN_FILE

REPLACEMENTS = {
    "config": "copy the config.json that was saved with these weights",
    "weights": "copy or download every weight file again, or save the model again",
    "generation": f"remove {GENERATION_FILE}; generation then uses the settings of config.json",
    "image processor": "copy preprocessor_config.json from the checkpoint of the encoder",
    "tokenizer": "copy tokenizer.json and tokenizer_config.json from the checkpoint of the decoder, or save the tokenizer "
    "there with save_pretrained",
    OWN_FILE: f"remove {OWN_FILE}; this loses its rule for long lines, its calibration and its list of untrained weights",
}
"""Where to get another file, for each kind of ``ReadFailure``."""

_FILES = {
    "config": ("config.json",),
    "generation": (GENERATION_FILE,),
    "image processor": PROCESSOR_FILES,
    "tokenizer": ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "vocab.txt"),
    OWN_FILE: (OWN_FILE,),
}


def repair(checkpoint: OpenedCheckpoint, what: str) -> str:
    """The fix for a part of a checkpoint that cannot be read; ``what`` is a ``ReadFailure.what``."""
    names = [name for name in _FILES.get(what, ()) if checkpoint.has_file(name)]
    if what == "config" and not _has_plugins(checkpoint):
        return "correct model_type, or install the plugin that serves it; 'vedcore plugins' lists the installed ones"
    for name in names:
        if not _is_utf8(checkpoint.folder / name):
            return f"save {name} as UTF-8, without a byte order mark"
    if what == "weights" and not checkpoint.allow_pickle and any(checkpoint.folder.glob("pytorch_model*.bin")):
        return "if you trust the pickle, read it with --allow-pickle (allow_pickle=True), and save it as safetensors"
    return f"correct what the message names, or {REPLACEMENTS[what]}" if names else REPLACEMENTS[what]


def _has_plugins(checkpoint: OpenedCheckpoint) -> bool:
    """Whether installed plugins serve the model types in config.json."""
    model_types = {role: checkpoint.model_type(role) for role in checkpoint.roles} or {
        "encoder": checkpoint.config_json.get("model_type")
    }
    try:
        for role, model_type in model_types.items():
            if isinstance(model_type, str):
                registry().backbone(model_type, role)
    except PluginError:
        return False
    return True


def _is_utf8(path: Path) -> bool:
    """Whether a file is UTF-8 without a byte order mark."""
    try:
        return not path.read_text(encoding="utf-8").startswith("\ufeff")
    except (OSError, UnicodeDecodeError):
        return False
