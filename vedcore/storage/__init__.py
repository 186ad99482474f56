"""Checkpoints on disk: folders and the hub, safetensors, the names of tensors (``keymap``), and ``vedcore.json``."""
