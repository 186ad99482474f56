"""The gradient of a loss through ``forward`` beside transformers': every parameter, by its name in the file."""

from itertools import cycle

import pytest
import torch
from safetensors.torch import load_file

from tests.parity import images
from tests.test_forward_parity import labels_of, pair_of
from tests.test_pairs import TheirDecoders, TheirEncoders, as_bert, bert_of, small

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])


def gradients(model, pixels, folder):
    """The gradients by the names, and in the layouts, of the model's file: they take the place of the weights."""
    model.to(pixels.dtype)(pixel_values=pixels, labels=labels_of(3)).loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}


def assert_same_gradients(ours, theirs):
    """1e-5 of the whole; in double precision, where rounding hides nothing, 1e-5 of the largest of each tensor.

    The bias of a key is measured by the whole: a softmax does not see it, so its gradient is rounding alone.
    """
    whole, apart = norm(theirs.values()), norm(ours[name] - theirs[name] for name in ours)
    assert apart <= 1e-5 * whole
    for name, gradient in ours.items():
        if gradient.dtype == torch.float64 and not name.endswith((".key.bias", ".k_proj.bias")):
            assert float((gradient - theirs[name]).abs().max()) <= 1e-5 * float(theirs[name].abs().max()), name


def norm(tensors):
    return float(torch.cat([tensor.flatten() for tensor in tensors]).norm())


@PRECISIONS
@pytest.mark.parametrize("names", list(zip(cycle(TheirEncoders), TheirDecoders, strict=False)), ids="-".join)
def test_the_gradient_of_the_loss_equals_that_of_transformers(tmp_path, names, dtype):
    reference, model = pair_of(*names, tmp_path / "pair")
    pixels = images(model, 3)
    ours = gradients(model, pixels.to(dtype), tmp_path / "ours")
    theirs = gradients(reference, pixels.to(dtype), tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    assert_same_gradients(ours, theirs)


@PRECISIONS
def test_the_gradient_through_distilbert_equals_that_of_a_bert(tmp_path, dtype):
    model = small("vit", "distilbert", 24, seed=3)
    reference = bert_of(tmp_path, model, "vit", 24)
    pixels = images(model, 3).to(dtype)
    theirs = gradients(reference, pixels, tmp_path / "theirs")
    ours = {as_bert(name): gradient for name, gradient in gradients(model, pixels, tmp_path / "ours").items()}
    assert theirs.keys() - ours.keys() == {"decoder.bert.embeddings.token_type_embeddings.weight"}
    assert_same_gradients(ours, theirs)
