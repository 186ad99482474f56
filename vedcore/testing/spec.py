"""``BackboneSpec``: what the contract tests need to know about a backbone beside its record."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

from hypothesis.strategies import SearchStrategy

from vedcore.contract.hookspecs import Backbone
from vedcore.errors import PluginError, foreign

Claim = Literal["global attention", "resize"]


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A backbone and how to test it. A package builds one for each of its backbones in its ``testing`` module.

    Attributes:
        record: the backbone, as the package's hook returns it.
        configs: a strategy of small configs, each the fields of a config.json.
        reference: the class in transformers whose numbers, names on disk and defaults the backbone must match; None
            compares with nothing. A decoder without cross-attention of its own is compared without an image.
        claims: promises beyond the contract. "resize": other image sizes work with ``interpolate_pos_encoding=True``.
            "global attention": every state attends to every state, so a masked pixel changes no state that counts.
        derived: config fields that transformers' class computes from other fields. They are not compared.
        unread: parameters that stand in published files and that the model never uses, by a prefix of their names. They
            need no gradient.
        pixel_shape: config -> (C, height, width), for an encoder whose config has no ``num_channels`` or ``image_size``.

    Raises PluginError for an unknown claim.
    """

    record: Backbone
    configs: SearchStrategy[dict[str, Any]]
    _: KW_ONLY
    reference: str | None = None
    claims: tuple[Claim, ...] = ()
    derived: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    pixel_shape: Callable[[Any], tuple[int, int, int]] | None = None

    def __post_init__(self) -> None:
        known = get_args(Claim)
        for claim in self.claims:
            if claim not in known:
                raise PluginError(
                    f"the spec of {self.record.name} claims {claim!r}; the claims are {', '.join(map(repr, known))}",
                    field="claims",
                    expected=known,
                    found=claim,
                )


def spec_of(backbone: Backbone | BackboneSpec) -> BackboneSpec:
    """The spec of a backbone: a spec itself, or the one in the module ``testing`` of the record's package.

    Raises PluginError if there is no such module, or if it holds no spec of this record.
    """
    if isinstance(backbone, BackboneSpec):
        return backbone
    name = f"{backbone.model.__module__.partition('.')[0]}.testing"
    with foreign(PluginError, f"{name} cannot be imported; the contract tests of {backbone.name} need it"):
        module = importlib.import_module(name)
    for value in vars(module).values():
        if isinstance(value, BackboneSpec) and value.record == backbone:
            return value
    raise PluginError(
        f"{name} has no BackboneSpec for the {backbone.role} {backbone.name!r}; add one, for instance "
        f"SPEC = BackboneSpec({backbone.name.upper().replace('-', '_')}, config_fields())",
        file=module.__file__,
        expected="a BackboneSpec",
        found=None,
    )
