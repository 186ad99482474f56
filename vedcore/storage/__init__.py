"""Checkpoints on disk.

``hub`` finds a folder. ``files`` reads JSON and ``staging`` writes folders. ``tensors`` reads and writes weight files;
``keymap`` translates their names. ``sections`` names the modules of a checkpoint, ``matching`` assigns tensors to them,
``loading`` fills them and ``saving`` checks and collects their tensors. ``own`` is about ``vedcore.json``.
"""
