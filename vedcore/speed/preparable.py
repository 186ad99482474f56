"""Modules that discard their inference form when their weights change."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn


class Preparable(nn.Module):
    """A module that discards its inference form when its weights or its mode change.

    The inference forms of the models that contain it are discarded, too. Changes that bypass the methods of this class are not
    noticed: in-place edits of a tensor, a replaced submodule, a new hook.
    """

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_inference_form"] = None  # not as an attribute, which would make it a submodule
        self._containers: weakref.WeakSet[Preparable] = weakref.WeakSet()

    @property
    def inference_form(self) -> Any:
        """The form that ``prepare`` has set, or None if there is none or a change has discarded it."""
        return self.__dict__["_inference_form"]

    def set_inference_form(self, form: Any, parts: list[Any]) -> None:
        """Set the inference form. It is kept until this module or one of ``parts`` changes."""
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
        """Load a state dict, as ``nn.Module.load_state_dict`` does, and discard the inference form."""
        self.discard_prepared()
        return super().load_state_dict(*args, **options)

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as ``nn.Module.train`` does. A new mode discards the inference form."""
        if mode != self.training:
            self.discard_prepared()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**state, "_inference_form": None, "_containers": None}  # copies and pickles are not prepared

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._containers = weakref.WeakSet()
