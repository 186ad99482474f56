"""The product of a linear layer by oneDNN: what F.linear computes, and only where nobody looks at F.linear."""

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from vedcore import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.model.prepare import inference_form
from vedcore.nn import Linear
from vedcore.speed.products import LARGE, MANY, WIDE, linear, onednn_pays
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_vit import ViTConfig

module = sys.modules["vedcore.speed.products"]

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this build of torch has no oneDNN"
)


@pytest.fixture(autouse=True)
def oneDNN(monkeypatch):  # noqa: N802 (its name)
    """oneDNN pays, and all products are wide; what is returned counts them."""
    calls = []

    def counting(product):
        return lambda *arguments: (calls.append(product), product(*arguments))[1]

    for name in ("_wide", "_narrow"):
        monkeypatch.setattr(module, name, counting(getattr(module, name)))
    for name, value in (("onednn_pays", lambda: True), ("MANY", 1), ("WIDE", 1)):
        monkeypatch.setattr(module, name, value)
    return calls


shapes = st.lists(st.integers(1, 5), min_size=0, max_size=3)
views = st.sampled_from(["plain", "every other row", "transposed", "one row for all"])


def arranged(x, view):
    """The same numbers, or fewer, otherwise laid out."""
    if view == "every other row":
        return torch.cat([x, x])[::2] if x.dim() > 1 else x
    if view == "transposed":
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    return x[:1].expand(x.shape) if view == "one row for all" and x.dim() > 1 else x


@given(shapes, st.integers(1, 20), st.integers(1, 20), st.booleans(), views, st.integers(0, 99))
def test_product_and_gradients_are_those_of_f_linear(shape, width, outputs, biased, view, seed):
    torch.manual_seed(seed)
    x = arranged(torch.randn(*shape, width), view)
    weight = arranged(torch.randn(outputs, width), view)
    bias = torch.randn(outputs) if biased else None
    direction = arranged(torch.randn(*shape, outputs), view)
    results = []
    for product in (linear, F.linear):
        leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias) if t is not None]
        y = product(*leaves)
        results.append([y, *torch.autograd.grad(y, leaves, direction)])
    for ours, theirs in zip(*results, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@given(shapes, st.integers(1, 20), st.integers(1, 20), st.booleans(), views, st.integers(0, 99))
def test_what_learns_nothing_is_multiplied_as_f_linear_does_it(shape, width, outputs, biased, view, seed):
    torch.manual_seed(seed)
    x, weight = arranged(torch.randn(*shape, width), view), arranged(torch.randn(outputs, width), view)
    bias = torch.randn(outputs) if biased else None
    with torch.inference_mode():
        for product in (module._wide, module._narrow):
            torch.testing.assert_close(product(x, weight, bias), F.linear(x, weight, bias), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [20, LARGE // 4])
@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_the_gradients_that_are_wanted_are_computed_and_no_others(wanted, size):
    leaves = [torch.randn(3, 4), torch.randn(size, 4), torch.randn(size)]
    for leaf, is_wanted in zip(leaves, wanted, strict=True):
        leaf.requires_grad_(is_wanted)
    found, expected = [], []
    for product, results in ((linear, found), (F.linear, expected)):
        product(*leaves).sum().backward()
        results.extend(leaf.grad for leaf in leaves)
        for leaf in leaves:
            leaf.grad = None
    assert [gradient is not None for gradient in found] == list(wanted)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_a_gradient_of_a_gradient_is_that_of_f_linear():
    results = []
    for product in (linear, F.linear):
        torch.manual_seed(0)
        x, weight, bias = torch.randn(6, 4), torch.randn(5, 4, requires_grad=True), torch.randn(5, requires_grad=True)
        x.requires_grad_()
        slope = torch.autograd.grad(product(x, weight, bias).pow(3).sum(), x, create_graph=True)[0]
        results.append(torch.autograd.grad(slope.pow(2).sum(), (x, weight, bias)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)


def test_the_same_product_twice_is_the_same_bit_by_bit():
    torch.manual_seed(0)
    results = []
    x, weight = torch.randn(500, 130), torch.randn(70, 130)
    for _ in range(2):
        leaf = weight.clone().requires_grad_()
        y = linear(x, leaf)
        y.square().sum().backward()
        results.append((y, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def in_half_precision():
    return linear(torch.randn(3, 4, dtype=torch.bfloat16), torch.randn(5, 4, dtype=torch.bfloat16))


def under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = linear(torch.randn(3, 4), torch.randn(5, 4))
    assert y.dtype is torch.bfloat16
    return y


def per_sample():
    weight = torch.randn(5, 4)
    loss = torch.func.grad(lambda weight, x: linear(x, weight).sum())
    return torch.func.vmap(loss, (None, 0))(weight, torch.randn(3, 4))


def counted():
    with FlopCounterMode(display=False) as counter:
        y = linear(torch.randn(3, 4), torch.randn(5, 4))
    assert counter.get_total_flops() == 2 * 3 * 4 * 5
    return y


def switched_off():
    enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False
    try:
        return linear(torch.randn(3, 4), torch.randn(5, 4))
    finally:
        torch.backends.mkldnn.enabled = enabled


def exported():
    program = torch.export.export(Linear(4, 5), (torch.randn(3, 4),))
    assert "mkldnn" not in str(program.graph)
    return program.module()(torch.randn(3, 4))


def with_a_tangent():
    with torch.autograd.forward_ad.dual_level():
        x = torch.autograd.forward_ad.make_dual(torch.randn(3, 4), torch.randn(3, 4))
        y = linear(x, torch.randn(5, 4))
        assert torch.autograd.forward_ad.unpack_dual(y).tangent is not None
        return y


def compiled():
    layer = Linear(4, 5)
    return torch.compile(layer, backend="eager", fullgraph=True)(torch.randn(3, 4))


def traced():
    graph = make_fx(Linear(4, 5))(torch.randn(3, 4))
    assert "mkldnn" not in str(graph.graph)


def of_no_width():
    return linear(torch.randn(3, 0), torch.randn(5, 0))


def of_a_subclass():
    class Own(torch.Tensor):
        pass

    return linear(torch.randn(3, 4), torch.randn(5, 4).as_subclass(Own))


def of_nothing():
    return linear(torch.randn(0, 4), torch.randn(5, 4))


def without_storage():
    return linear(torch.empty(3, 4, device="meta"), torch.empty(5, 4, device="meta"))


OTHERWISE = [
    in_half_precision,
    under_autocast,
    per_sample,
    counted,
    switched_off,
    exported,
    with_a_tangent,
    compiled,
    traced,
    of_no_width,
    of_a_subclass,
    of_nothing,
    without_storage,
]


@pytest.mark.filterwarnings("ignore:.torch.jit.script.:DeprecationWarning")  # what forward_ad uses of torch itself
@pytest.mark.parametrize("product", OTHERWISE)
def test_modes_that_know_only_f_linear_get_it(oneDNN, product):  # noqa: N803
    product()
    assert not oneDNN


def test_a_wrong_width_raises_the_error_of_torch():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear(torch.randn(3, 4), torch.randn(5, 6))


@pytest.mark.parametrize(
    ("rows", "outputs", "learns", "product"),
    [
        (7, 100, False, None),
        (MANY // 1600 + 1, 100, True, "_wide"),
        (MANY // 1600 + 1, 100, False, "_wide"),
        (1, LARGE // 16, False, "_narrow"),
        (1, LARGE // 16, True, None),
        (WIDE - 1, MANY // 3000, False, "_narrow"),
    ],
)
def test_each_product_is_made_where_it_pays(oneDNN, monkeypatch, rows, outputs, learns, product):  # noqa: N803
    monkeypatch.setattr(module, "MANY", MANY)
    monkeypatch.setattr(module, "WIDE", WIDE)
    linear(torch.randn(rows, 16), torch.randn(outputs, 16, requires_grad=learns))
    assert [call.__name__ for call in oneDNN] == ([product] if product else [])


def test_products_have_few_different_numbers_of_rows(monkeypatch):
    asked, product = set(), torch.ops.mkldnn._linear_pointwise

    class Recorded:
        def _linear_pointwise(self, x, *arguments):
            asked.add(len(x))
            return product(x, *arguments)

    monkeypatch.setattr(torch.ops, "mkldnn", Recorded())
    for rows in range(1, WIDE):
        x, weight = torch.randn(rows, 6), torch.randn(5, 6)
        torch.testing.assert_close(module._narrow(x, weight, None), F.linear(x, weight))
    assert len(asked) == 8 + WIDE // 8 - 1


def test_the_inference_form_multiplies_as_its_layer_does(oneDNN):  # noqa: N803
    for layer in (Linear(16, 100), nn.Linear(16, LARGE // 16), nn.Linear(16, 100, bias=False)):
        form = inference_form(layer)
        for rows in (1, 3, MANY // 1600 + 1):
            x = torch.randn(rows, 16)
            with torch.inference_mode():
                torch.testing.assert_close(form(x), linear(x, layer.weight, layer.bias))
    assert oneDNN


def test_a_prepared_product_builds_each_way_once(monkeypatch):
    built = []

    def build(weight, bias):
        built.append(weight)
        return lambda x: 2 * F.linear(x, weight, bias)

    ways = (module.Way("doubled", lambda x, weight, bias: x.shape[0] > 2, build), *module.WAYS)
    monkeypatch.setattr(module, "WAYS", ways)
    monkeypatch.setattr(module, "MANY", 0)
    layer = nn.Linear(4, 3)
    product = module.prepared(layer.weight, layer.bias)
    with torch.no_grad():
        for rows in (3, 1, 5):
            x = torch.randn(rows, 4)
            torch.testing.assert_close(product(x), (2 if rows > 2 else 1) * layer(x))
    assert len(built) == 1


def test_the_layer_is_torchs_in_all_else():
    ours, theirs = Linear(6, 4), nn.Linear(6, 4)
    assert isinstance(ours, nn.Linear)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 6)
    torch.testing.assert_close(copy.deepcopy(ours)(x), theirs(x))
    assert repr(ours) == repr(theirs)


def test_a_model_computes_and_learns_the_same_by_either_library(oneDNN, monkeypatch):  # noqa: N803
    vit = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20, image_size=8, patch_size=4
    )
    gpt2 = GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=12)
    ids = {"decoder_start_token_id": 1, "pad_token_id": 0, "eos_token_id": 2}
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=vit, decoder=gpt2, **ids)).eval()
    pixels, labels = torch.randn(3, 3, 8, 8), torch.tensor([[5, 7, 2], [4, 2, -100], [6, 2, -100]])
    results = []
    for pays in (True, False):
        monkeypatch.setattr(module, "onednn_pays", lambda pays=pays: pays)
        oneDNN.clear()
        model.zero_grad()
        output = model(pixel_values=pixels, labels=labels)
        output.loss.backward()
        written = model.generate(pixels, max_new_tokens=5, return_dict_in_generate=True)
        learned = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append([output.logits, written.token_logprobs, *learned])
        assert bool(oneDNN) is pays
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


class Missing:
    def __getattr__(self, name):
        raise AttributeError(name)


class Wrong:
    def _linear_pointwise(self, x, weight, *_):
        return F.linear(x, weight) * 1.01


class Failing:
    def _linear_pointwise(self, *_):
        raise RuntimeError("could not create a primitive")


@pytest.fixture
def amd(monkeypatch, tmp_path):
    """A processor that it pays on, whatever this is; what is returned is its description."""
    described = tmp_path / "cpuinfo"
    described.write_text("vendor_id\t: AuthenticAMD\n")
    monkeypatch.setattr(module, "Path", lambda path: described)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    return described


pays = onednn_pays.__wrapped__


def test_it_pays_on_an_amd_with_avx_512_where_torch_multiplies_by_mkl(amd, monkeypatch):
    assert pays() is True
    amd.write_text("vendor_id\t: GenuineIntel\n")
    assert pays() is False
    amd.unlink()
    monkeypatch.setattr(module.platform, "processor", lambda: "AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD")
    assert pays() is True
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert pays() is False
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert pays() is False


@pytest.mark.parametrize("operators", [Missing, Wrong, Failing])
def test_an_operator_that_is_missing_wrong_or_failing_does_not_pay(amd, monkeypatch, operators):
    monkeypatch.setattr(torch.ops, "mkldnn", operators())
    assert pays() is False
