"""Preparation: the inference form computes what the modules compute, and every change of weights or mode discards it."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F

from tests.generation.toy import STRATEGIES
from tests.test_vocabulary import words
from vedcore import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.model.prepare import inference_form
from vedcore.nn import MLP, Linear, SelfAttention
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_vit import ViTConfig

IDS = {"decoder_start_token_id": 1, "pad_token_id": 0}


@pytest.fixture
def model():
    vit = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20, image_size=8, patch_size=4
    )
    gpt2 = GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=12)
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=vit, decoder=gpt2, **IDS)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def written(model, **options):
    pixels = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return model.generate(pixels, max_new_tokens=5, return_dict_in_generate=True, seed=3, **options)


# The results of the form.


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_a_prepared_model_generates_what_it_generates_unprepared(model, options):
    plain = written(model, **options)
    prepared = written(model.prepare(), **options)
    assert model.inference_form is not None
    assert torch.equal(prepared.sequences, plain.sequences)
    torch.testing.assert_close(prepared.token_logprobs, plain.token_logprobs)


def test_a_prepared_forward_pass_equals_an_unprepared_one(model):
    pixels, ids = torch.randn(2, 3, 8, 8), torch.tensor([[1, 5, 7], [1, 2, 3]])
    with torch.no_grad():
        plain = model(pixels, decoder_input_ids=ids).logits
        prepared = model.prepare()(pixels, decoder_input_ids=ids).logits
    torch.testing.assert_close(prepared, plain)


def test_gradients_traces_and_autocast_use_the_modules(model):
    calls = []
    model.prepare()
    model.decoder.norm.register_forward_hook(lambda *_: calls.append(1))  # the form does not call it
    pixels, ids = torch.randn(2, 3, 8, 8), torch.tensor([[1, 5], [1, 2]])
    with torch.no_grad():
        model(pixels, decoder_input_ids=ids)
    assert not calls
    model(pixels, decoder_input_ids=ids).logits.sum().backward()
    assert len(calls) == 1
    with torch.no_grad():
        model(pixels, decoder_input_ids=ids, output_attentions=True)
    assert len(calls) == 2
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(pixels, decoder_input_ids=ids)
    assert len(calls) == 3


def test_query_key_and_value_as_one_product_equal_three_products():
    for bias, key_bias in ((True, None), (False, None), (True, False)):
        attention = SelfAttention(16, 2, bias=bias, key_bias=key_bias).eval()
        form = inference_form(attention)
        for tokens in (5, 1):
            x = torch.randn(2, tokens, 16)
            with torch.no_grad():
                for ours, theirs in zip(form._project(x), attention._project(x), strict=True):
                    torch.testing.assert_close(ours, theirs)
        assert (form.qkv is None) == (key_bias is False)
        assert attention.qkv is None


def test_the_leaves_compute_the_same_as_their_modules():
    x = torch.randn(3, 6)
    for layer in (torch.nn.Linear(6, 4), torch.nn.LayerNorm(6), torch.nn.Dropout(0.5).eval(), Linear(6, 4)):
        assert torch.equal(inference_form(layer)(x), layer(x))
    ids = torch.tensor([[0, 2]])
    for layer in (torch.nn.Embedding(3, 6), torch.nn.Embedding(3, 6, max_norm=0.1)):
        with torch.no_grad():
            torch.testing.assert_close(inference_form(layer)(ids), layer(ids))
    dropout = inference_form(torch.nn.Dropout(0.5))
    assert (dropout(torch.ones(1000)) == 0).any()


def test_the_form_shares_tensors_and_leaves_modules_with_hooks_alone(model):
    block = model.decoder.blocks[1]
    block.register_forward_hook(lambda *_: None)
    form = inference_form(model.decoder)
    assert form.blocks[1] is block
    assert form.blocks[0] is not model.decoder.blocks[0]
    assert form.lm_head.weight is model.decoder.lm_head.weight
    assert type(form) is type(model.decoder)


def test_a_module_with_a_forward_of_its_own_stays_as_it_is(model):
    norm = model.decoder.norm
    norm.forward = lambda x: F.layer_norm(x, (16,), norm.weight) + torch.linspace(0, 5, 16)
    assert inference_form(model.decoder).norm is norm


@pytest.mark.parametrize("kind", [Linear, MLP])
def test_another_forward_of_a_class_is_used_from_the_next_preparation_on(model, monkeypatch, kind):
    before = written(model.prepare())
    usual = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: 0.5 * usual(self, x))
    after = written(model.prepare())
    assert not torch.equal(after.token_logprobs, before.token_logprobs)


# Changes that discard the form.


def reload(model):
    model.load_state_dict(model.state_dict())


def reload_part(model):
    model.decoder.load_state_dict(model.decoder.state_dict())


def replace_tokenizer(model):
    tokenizer = words(*(str(number) for number in range(20)), pad_token="0", bos_token="1", unk_token="2")
    model.replace_tokenizer(tokenizer, tokenizer)


DISCARDS = {
    "to": lambda model: model.to(torch.float64),
    "to of a part": lambda model: model.encoder.to(torch.float64),
    "half": lambda model: model.decoder.half(),
    "load_state_dict": reload,
    "load_state_dict of a part": reload_part,
    "train": lambda model: model.train(),
    "train of a part": lambda model: model.encoder.train(),
    "prune_heads": lambda model: model.decoder.prune_heads({0: [1]}),
    "prune_heads of the encoder": lambda model: model.encoder.prune_heads({1: [0]}),
    "resize_token_embeddings": lambda model: model.resize_token_embeddings(25),
    "replace_tokenizer": replace_tokenizer,
    "freeze": lambda model: model.freeze("encoder"),
    "unfreeze": lambda model: model.unfreeze(),
    "gradient_checkpointing_enable": lambda model: model.gradient_checkpointing_enable(),
    "gradient_checkpointing_disable": lambda model: model.gradient_checkpointing_disable(),
    "discard_prepared": lambda model: model.discard_prepared(),
}


@pytest.mark.parametrize("change", DISCARDS.values(), ids=DISCARDS)
def test_a_change_through_a_method_discards_the_preparation(model, change):
    model.prepare()
    assert model.inference_form is not None
    change(model)
    assert model.inference_form is None


def test_a_mode_that_does_not_change_keeps_the_preparation(model):
    form = model.prepare().inference_form
    model.eval()
    model.encoder.eval()
    assert model.inference_form is form


def test_a_part_of_two_models_discards_the_preparation_of_both(model):
    other = VisionEncoderDecoderModel(encoder=model.encoder, decoder=copy.deepcopy(model.decoder)).eval()
    model.prepare()
    other.prepare()
    model.encoder.to(torch.float64)
    assert model.inference_form is None
    assert other.inference_form is None


def test_a_prepared_model_that_is_deleted_is_not_kept_by_its_parts(model):
    other = copy.deepcopy(model)  # the fixture keeps its own model
    encoder, form = other.encoder, weakref.ref(other.prepare().inference_form)
    del other
    gc.collect()
    assert form() is None
    encoder.to(torch.float64)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_and_pickles_are_not_prepared_and_write_the_same(model, copied):
    before = written(model.prepare())
    again = copied(model)
    assert again.inference_form is None
    assert torch.equal(written(again).sequences, before.sequences)
    assert torch.equal(written(again.prepare()).sequences, before.sequences)


def test_a_replaced_table_is_freed(model):
    written(model.prepare())
    before = weakref.ref(model.decoder.token_embedding.weight)
    model.resize_token_embeddings(25)
    gc.collect()
    assert before() is None


def test_preparing_leaves_training_mode(model):
    model.train()
    assert not model.prepare().training


# Changes that only an unprepared model notices.


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
def test_an_unprepared_model_computes_with_every_change(model, change):
    before = written(model)
    change(model)
    after, fresh = written(model), written(copy.deepcopy(model))
    assert torch.equal(after.token_logprobs, fresh.token_logprobs)
    assert not torch.equal(after.token_logprobs, before.token_logprobs)


@pytest.mark.parametrize("change", CHANGES)
def test_a_new_preparation_computes_with_every_change(model, change):
    before = written(model.prepare())
    change(model)
    after, fresh = written(model.prepare()), written(copy.deepcopy(model))
    torch.testing.assert_close(after.token_logprobs, fresh.token_logprobs)
    assert not torch.equal(after.token_logprobs, before.token_logprobs)


def test_a_hook_on_all_modules_is_called(model):
    calls = []
    written(model)
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: calls.append(1))
    written(model)
    handle.remove()
    assert calls
