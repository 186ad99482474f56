"""The tensors of training in a checkpoint: the moments of AdamW, and the CTC layer, which reading does not need.

They are stored as ``optimizer.PARAMETER:step``, ``:exp_avg`` and ``:exp_avg_sq``, and ``ctc.NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vedcore.errors import CheckpointError
from vedcore.storage.tensors import listed, stored_tensors, write_tensors
from vedcore.training.finite import not_finite
from vedcore.training.objective import Objective

_STEP, _MOMENTS = "step", ("exp_avg", "exp_avg_sq")
"""What AdamW stores per parameter. The moments exist from its first gradient on; before that the step is 0."""


def save_optimizer_state(folder: Path, objective: Objective, optimizer: torch.optim.Optimizer) -> None:
    """Write the tensors to ``folder``."""
    tensors = _ctc_tensors(objective)
    for name, parameter in _optimized_parameters(objective, optimizer).items():
        for key, value in (optimizer.state.get(parameter) or {_STEP: 0.0}).items():
            tensors[_key(name, key)] = torch.as_tensor(value, dtype=torch.float32)
    write_tensors(folder, tensors, "50GB")


def load_optimizer_state(folder: Path, step: int, objective: Objective, optimizer: torch.optim.Optimizer) -> None:
    """Load the tensors in ``folder``, saved after ``step`` steps, into the CTC layer and the optimiser.

    Raises CheckpointError, and loads nothing, unless each tensor has the expected type and shape and finite values.
    """
    parameters = _optimized_parameters(objective, optimizer)
    ctc = _ctc_tensors(objective)
    tensors = _read_tensors(folder, ctc, parameters)
    _check_values(folder, step, tensors, parameters)
    if objective.ctc is not None:
        objective.ctc.load_state_dict({name.removeprefix("ctc."): tensors[name] for name in ctc})
    groups = optimizer.state_dict()["param_groups"]
    indices = [index for group in groups for index in group["params"]]
    state = {
        index: {key: tensors[_key(name, key)] for key in (_STEP, *_MOMENTS)}
        for index, name in zip(indices, parameters, strict=True)
        if _key(name, _MOMENTS[0]) in tensors
    }
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _read_tensors(folder: Path, ctc: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in ``folder``: exactly the expected names, each with the expected shape and type."""
    expected = {**ctc, **{_key(name, _STEP): torch.zeros((), dtype=torch.float32) for name in parameters}}
    with stored_tensors(folder) as stored:
        for name, parameter in parameters.items():
            moments = {_key(name, moment): parameter for moment in _MOMENTS}
            if moments.keys() & stored.keys():
                expected |= moments
        if missing := sorted(expected.keys() - stored.keys()):
            raise CheckpointError(f"{folder}: missing are {listed(missing)}", file=folder, tensor=missing[0])
        if unknown := sorted(stored.keys() - expected.keys()):
            raise CheckpointError(
                f"{folder}: has {listed(unknown)}, which this run does not use", file=folder, tensor=unknown[0]
            )
        for name, tensor in expected.items():
            found, dtype, shape = stored[name], str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
            if (found.shape, found.dtype) != (shape, dtype):
                raise CheckpointError(
                    f"{folder / found.file}: {name} is {found.dtype} {list(found.shape)}, expected {dtype} {list(shape)}",
                    file=folder / found.file,
                    tensor=name,
                    expected=(dtype, shape),
                    found=(found.dtype, found.shape),
                )
        return {name: stored[name].read() for name in expected}


def _check_values(folder: Path, step: int, tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for values that no run has after ``step`` steps."""
    if bad := not_finite(tensors):
        raise CheckpointError(f"{folder}: not finite are {listed(bad)}", file=folder, tensor=bad[0])
    for name in parameters:
        key, squares = _key(name, _STEP), tensors.get(_key(name, _MOMENTS[1]))
        steps = float(tensors[key])
        least, most = (0, 0) if squares is None else (1, step)
        if not (steps.is_integer() and least <= steps <= most):
            expected = "0, or moments for it" if squares is None else f"a whole number from 1 to {step}"
            raise CheckpointError(
                f"{folder}: {key} is {steps:g}, expected {expected}",
                file=folder,
                tensor=key,
                expected=expected,
                found=steps,
            )
        if squares is not None and bool((squares < 0).any()):
            key = _key(name, _MOMENTS[1])
            raise CheckpointError(
                f"{folder}: {key}, a mean of squares, has values below 0",
                file=folder,
                tensor=key,
                expected="at least 0",
            )


def _ctc_tensors(objective: Objective) -> dict[str, Tensor]:
    return {} if objective.ctc is None else {f"ctc.{name}": t for name, t in objective.ctc.state_dict().items()}


def _optimized_parameters(objective: Objective, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The parameters of the optimiser by name, in the order of the optimiser."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    return {names[id(parameter)]: parameter for group in optimizer.param_groups for parameter in group["params"]}


def _key(parameter: str, key: str) -> str:
    return f"optimizer.{parameter}:{key}"
