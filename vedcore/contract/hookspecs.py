"""The hook of plugins, and the records that it returns.

A plugin is a module that an entry point of the group ``vedcore.plugins`` refers to:

    [project.entry-points."vedcore.plugins"]
    vit = "vedcore_plugin_vit"                   # the name of a model type, an adapter or a checkpoint
    "segmenter.pages" = "vedcore_plugin_pages"   # the kind and the name of a segmenter or a type of image processor

The module defines ``@hookimpl def vedcore_plugin()``, which returns a list of records. There is one entry point for each
record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pluggy

if TYPE_CHECKING:
    from vedcore.contract.protocols import CrossAttentionAdapter, PageSegmenter

PROTOCOL = 2
"""The version of the contract. Each record has, as a literal, the version that it was written for."""

CHANGES = {
    1: (
        "set protocol=2; import Part from vedcore and use field factories through their module (from vedcore.config "
        "import field); Backbone has only name, role, model and protocol, the rest is a vedcore.testing.BackboneSpec in "
        "the package's testing module; a decoder is a vedcore.DecoderPart with sizes=DecoderSizes.uniform(..., "
        "seam=Seam(...)) in place of hidden_size, memory_size, vocab_size, max_positions, cache_shapes and seam, with "
        "embed() in place of forward(), with norm (nn.Identity() if there is none) and with make_cross(); an adapter's "
        "layer() gets the decoder's sizes in place of its seam"
    ),
}
"""The changes that a plugin needs, by the version of its records."""

GROUP = "vedcore.plugins"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """An encoder or a decoder architecture.

    name: the ``model_type`` in config.json. model: a subclass of ``vedcore.Part``. protocol: the version of the contract that
    the package was written for, as a literal. Data for the contract tests is in a ``vedcore.testing.BackboneSpec``.
    """

    name: str
    role: Literal["encoder", "decoder"]
    model: type[Any]
    protocol: int

    @property
    def config(self) -> type[Any]:
        """The config class of the model."""
        return self.model.config_class  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A cross-attention adapter, which joins an encoder and a decoder. name: its name in config.json.

    protocol: the version of the contract that the package was written for, as a literal.
    """

    name: str
    adapter: CrossAttentionAdapter
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that a package contains. name: what users pass to ``from_pretrained``. summary: one line.

    protocol: the version of the contract that the package was written for, as a literal.
    """

    name: str
    folder: Path
    summary: str
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenter:
    """Finds the lines of a page. name: the part of its entry point's name after ``segmenter.``.

    protocol: the version of the contract that the package was written for, as a literal.
    """

    name: str
    segmenter: PageSegmenter
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProcessorType:
    """A type of image processor: the defaults of ``vedcore.ImageProcessor`` for files that name it.

    name: the ``image_processor_type`` in preprocessor_config.json, without "Fast"; the name of its entry point begins with
    ``image-processor.``. defaults: the values of fields that a file leaves out, where they differ from a ViT's.
    protocol: the version of the contract that the package was written for, as a literal.
    """

    name: str
    defaults: Mapping[str, Any]
    protocol: int


Record = Backbone | Adapter | Checkpoint | Segmenter | ImageProcessorType


@hookspec
def vedcore_plugin() -> Sequence[Record]:
    """The records of the plugin. Called once, when one of its names is first requested."""
    raise NotImplementedError
