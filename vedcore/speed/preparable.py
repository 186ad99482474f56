"""Modules that know when the inference form made from them is out of date."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn


class Preparable(nn.Module):
    """A module that discards its inference form, and those of the models that contain it, when weights or mode change.

    Changes that no method of ours makes are not noticed: in-place edits of a tensor, a replaced submodule, a new hook.
    """

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_inference_form"] = None  # not as an attribute, which would make it a submodule
        self._containers: weakref.WeakSet[Preparable] = weakref.WeakSet()

    @property
    def inference_form(self) -> Any:
        """What ``prepare`` has built and no change has discarded; None if there is nothing."""
        return self.__dict__["_inference_form"]

    def set_inference_form(self, form: Any, parts: list[Any]) -> None:
        """Keep ``form`` until this module or one of its ``parts`` changes."""
        self.__dict__["_inference_form"] = form
        for part in parts:
            if isinstance(part, Preparable):
                part._containers.add(self)

    def discard_prepared(self) -> None:
        """Discard the inference form of this module and of the models that contain it."""
        self.__dict__["_inference_form"] = None
        for container in list(self._containers):
            container.discard_prepared()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.discard_prepared()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        """As ``nn.Module.load_state_dict``."""
        self.discard_prepared()
        return super().load_state_dict(*args, **options)

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``."""
        if mode != self.training:
            self.discard_prepared()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**state, "_inference_form": None, "_containers": None}  # copies and pickles are not prepared

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._containers = weakref.WeakSet()
