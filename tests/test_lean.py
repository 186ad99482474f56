"""Lean twins: what they compute, and that they never get old."""

import copy
import gc
import importlib
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F

from vedcore import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.contract.types import Step
from vedcore.nn import MLP, Linear, SelfAttention, Twin, lean
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_vit import ViTConfig

lean_module = importlib.import_module("vedcore.nn.lean")  # the package has a function of that name


@pytest.fixture
def model():
    vit = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20, image_size=8, patch_size=4
    )
    gpt2 = GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=12)
    config = VisionEncoderDecoderConfig(encoder=vit, decoder=gpt2, decoder_start_token_id=1, pad_token_id=0)
    model = VisionEncoderDecoderModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def test_query_key_and_value_in_one_product_are_what_three_give():
    for bias, key_bias in ((True, None), (False, None), (True, False)):
        attention = SelfAttention(16, 2, bias=bias, key_bias=key_bias).eval()
        twin, step = lean(attention), Step(cache=object())
        for tokens in (5, 1):
            x = torch.randn(2, tokens, 16)
            with torch.no_grad():
                for ours, theirs in zip(twin._project(x, step), attention._project(x, step), strict=True):
                    torch.testing.assert_close(ours, theirs)
        assert (twin.fused == [None]) == (key_bias is False)


def test_an_encoder_that_is_asked_once_does_not_pay_for_one_product(model):
    model.generate(torch.randn(2, 3, 8, 8), max_new_tokens=3)
    twin, *_ = model._twin._kept
    assert [block.attention.fused for block in twin.encoder.blocks] == [[], []]
    assert all(block.attention.fused for block in twin.decoder.blocks)


def by_data(model):
    model.decoder.blocks[0].attention.query.weight.data += 0.7


def in_place(model):
    with torch.no_grad():
        model.encoder.blocks[1].mlp.up.weight.mul_(3)


def swapped(model):
    model.decoder.blocks[1].mlp = torch.nn.Sequential(torch.nn.Identity())


def reassigned(model):
    model.decoder.norm.weight = torch.nn.Parameter(torch.randn(16))


def attribute(model):
    model.decoder.blocks[0].attention.scale = 3.0


def hooked(model):
    model.decoder.norm.register_forward_hook(lambda *args: args[2] + torch.linspace(0, 5, 16))


def own_forward(model):
    norm = model.decoder.norm
    norm.forward = lambda x: F.layer_norm(x, (16,), norm.weight) + torch.linspace(0, 5, 16)


def number_of_a_leaf(model):
    model.decoder.norm.eps = 10.0


CHANGES = [by_data, in_place, swapped, reassigned, attribute, hooked, own_forward, number_of_a_leaf]


@pytest.mark.parametrize("change", CHANGES)
def test_a_twin_is_made_anew_when_the_model_changes(model, change):
    pixels = torch.randn(4, 3, 8, 8)
    before = model.generate(pixels, max_new_tokens=5, return_dict_in_generate=True)
    assert model._twin.of(model) is model._twin.of(model)
    change(model)
    after = model.generate(pixels, max_new_tokens=5, return_dict_in_generate=True)
    fresh = copy.deepcopy(model).generate(pixels, max_new_tokens=5, return_dict_in_generate=True)
    assert torch.equal(after.token_logprobs, fresh.token_logprobs)
    assert not torch.equal(after.token_logprobs, before.token_logprobs)


@pytest.mark.parametrize("kind", [Linear, MLP])
def test_a_class_that_is_given_another_forward_is_followed(model, monkeypatch, kind):
    pixels = torch.randn(4, 3, 8, 8)
    before = model.generate(pixels, max_new_tokens=5, return_dict_in_generate=True)
    usual = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: 0.5 * usual(self, x))
    after = model.generate(pixels, max_new_tokens=5, return_dict_in_generate=True)
    assert not torch.equal(after.token_logprobs, before.token_logprobs)
    monkeypatch.undo()
    again = model.generate(pixels, max_new_tokens=5, return_dict_in_generate=True)
    assert torch.equal(again.token_logprobs, before.token_logprobs)


def test_the_lean_leaves_compute_what_their_modules_do():
    x = torch.randn(3, 6)
    for layer in (torch.nn.Linear(6, 4), torch.nn.LayerNorm(6), torch.nn.Dropout(0.5).eval()):
        assert torch.equal(lean(layer)(x), layer(x))
    ids = torch.tensor([[0, 2]])
    for layer in (torch.nn.Embedding(3, 6), torch.nn.Embedding(3, 6, max_norm=0.1)):
        with torch.no_grad():
            torch.testing.assert_close(lean(layer)(ids), layer(ids))
    dropout = lean(torch.nn.Dropout(0.5))
    assert (dropout(torch.ones(1000)) == 0).any()


def test_a_call_that_begins_while_a_twin_is_made_makes_one_of_its_own(model, monkeypatch):
    usual, begun = lean_module._Snapshot, []

    def snapshot(modules):
        if not begun:
            begun.append(True)
            begun.append(model._twin.of(model))
        return usual(modules)

    monkeypatch.setattr(lean_module, "_Snapshot", snapshot)
    first = model._twin.of(model)
    assert begun[1].decoder is not first.decoder
    assert model._twin.of(model) is first


def test_a_table_that_was_replaced_is_let_go(model):
    model.generate(torch.randn(1, 3, 8, 8), max_new_tokens=2)
    before = weakref.ref(model.decoder.token_embedding.weight)
    model.resize_token_embeddings(25)
    gc.collect()
    assert before() is None


def test_a_twin_follows_training_mode(model):
    model.train()
    assert model._twin.of(model).training
    model.eval()
    assert not model._twin.of(model).training


def test_a_model_that_has_generated_is_copied_and_pickled_without_its_twin(model):
    pixels = torch.randn(2, 3, 8, 8)
    wanted = model.generate(pixels, max_new_tokens=5)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(again._twin, Twin)
        assert again._twin._kept is None
        assert torch.equal(again.generate(pixels, max_new_tokens=5), wanted)


def test_a_hook_on_all_modules_is_called_though_there_is_a_twin(model):
    pixels, calls = torch.randn(2, 3, 8, 8), []
    model.generate(pixels, max_new_tokens=2)
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: calls.append(1))
    model.generate(pixels, max_new_tokens=2)
    handle.remove()
    assert calls
