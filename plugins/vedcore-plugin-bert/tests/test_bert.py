"""BERT against transformers, live, and the laws of a decoder."""

import json
import tempfile
from pathlib import Path

import attrs
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.parity import assert_within, perturb
from vedcore import CheckpointError, ConfigError, Memory, Step
from vedcore.contract.types import Recorder, causal_mask
from vedcore.generation.cache import SelfCache
from vedcore_plugin_bert import BertConfig, BertForCausalLM
from vedcore_plugin_bert.testing import config_fields

SMALL = {
    "vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20,
    "max_position_embeddings": 14, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CROSSED = {**SMALL, "add_cross_attention": True}


def theirs(fields, seed=0, cls=transformers.BertLMHeadModel):
    """A random transformers model with eager attention, in eval mode."""
    model = cls(transformers.BertConfig(**fields, is_decoder=True)).eval()
    model.set_attn_implementation("eager")
    perturb(model, seed)
    return model


def both(fields, seed=0):
    """A random transformers model, and ours loaded from its files."""
    reference = theirs(fields, seed)
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        return reference, BertForCausalLM.from_pretrained(folder)


def ours(fields, seed=0):
    """A random model of ours."""
    model = BertForCausalLM(BertConfig(**fields)).eval()
    perturb(model, seed)
    return model


def tokens(model, rows=3, length=7):
    return torch.randint(3, model.sizes.vocab_size, (rows, length))


def run(model, ids, **step):
    """Hidden states (R, T, D) of ids (R, T), or of embeddings (R, T, D) in their place, in one pass."""
    slots = torch.arange(ids.shape[1])[None]
    keys = step.pop("keys", None)
    given = {"inputs_embeds": ids} if ids.dim() == 3 else {}
    step = Step(slots=slots, mask=causal_mask(slots, ids.shape[1], keys), extent=ids.shape[1], **step)
    with torch.no_grad():
        return model(None if given else ids, step, **given)


def logits(model, ids, **step):
    with torch.no_grad():
        return model.lm_head(run(model, ids, **step))


def remember(model, states, mask=None, rows=None):
    with torch.no_grad():
        return Memory(tuple(layer.remember(states) for layer in model.cross), mask, rows)


def write(folder, state, **config):
    """Write a checkpoint with these tensors."""
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **SMALL, **config}))


@given(config_fields(), st.booleans(), st.integers(1, 3), st.integers(1, 11), st.integers(0, 99))
def test_outputs_equal_those_of_transformers(fields, crossed, images, length, seed):
    reference, model = both({**fields, "add_cross_attention": crossed}, seed)
    ids = torch.randint(0, model.sizes.vocab_size, (images, length))
    types = torch.randint(0, fields["type_vocab_size"], ids.shape)
    states, mask = torch.randn(images, 5, model.sizes.memory_size), torch.rand(images, 5) < 0.7
    mask[:, 0] = True
    trace = Recorder("hidden", "self", "cross")
    image = {"encoder_hidden_states": states, "encoder_attention_mask": mask} if crossed else {}
    with torch.no_grad():
        expected = reference(ids, token_type_ids=types, output_hidden_states=True, output_attentions=True, **image)
    memory = remember(model, states, mask) if crossed else None
    hidden = run(model, ids, token_types=types, memory=memory, trace=trace)
    assert_within(hidden, expected.hidden_states[-1])
    assert_within(logits(model, ids, token_types=types, memory=memory), expected.logits)
    assert (model.cross is not None) == crossed
    kinds = {"hidden": expected.hidden_states, "self": expected.attentions, "cross": expected.cross_attentions or ()}
    for kind, tensors in kinds.items():
        assert len(trace.all(kind)) == len(tensors), kind
        for mine, other in zip(trace.all(kind), tensors, strict=True):
            assert_within(mine, other)


@given(config_fields(), st.booleans(), st.integers(0, 99))
def test_transformers_loads_all_that_we_save(fields, crossed, seed):
    model = ours({**fields, "add_cross_attention": crossed}, seed)
    ids, states = tokens(model), torch.randn(3, 5, model.sizes.memory_size)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        reference, info = transformers.BertLMHeadModel.from_pretrained(folder, output_loading_info=True)
        again = BertForCausalLM.from_pretrained(folder)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    image, memory = ({"encoder_hidden_states": states}, remember(model, states)) if crossed else ({}, None)
    with torch.no_grad():
        assert_within(logits(model, ids, memory=memory), reference.eval()(ids, **image).logits)
    assert again.config == attrs.evolve(model.config, extra=again.config.extra)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))


@given(config_fields(), st.booleans())
def test_a_config_round_trips_through_dict_json_and_transformers(fields, crossed):
    config = BertConfig(**fields, add_cross_attention=crossed, extra={"use_cache": False})
    assert BertConfig.from_dict(config.to_dict()) == config
    assert BertConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    through = transformers.BertConfig.from_dict(config.to_dict())
    back = BertConfig.from_dict(through.to_dict())
    assert attrs.evolve(back, extra=config.extra) == config
    assert back.extra["use_cache"] is False


def test_the_defaults_are_those_of_transformers():
    known = BertConfig().to_dict()
    published = transformers.BertConfig().to_dict()
    differing = {name for name, value in known.items() if published.get(name) != value}
    assert differing == {"is_decoder", "position_embedding_type"}


def test_the_config_of_an_encoder_becomes_that_of_a_decoder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "is_decoder": False}))
    assert BertConfig.from_pretrained(tmp_path).to_dict()["is_decoder"] is True


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions_are_refused(tmp_path, kind):
    write(tmp_path, {}, position_embedding_type=kind)
    with pytest.raises(ConfigError, match=f"position_embedding_type must be one of absolute, got '{kind}'"):
        BertForCausalLM.from_pretrained(tmp_path)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConfigError, match=r"hidden size \(16\) must be a multiple of the number of heads \(3\)"):
        BertForCausalLM(BertConfig(**{**SMALL, "num_attention_heads": 3}))


def test_the_published_pretraining_file_loads(tmp_path):
    reference = theirs(SMALL, cls=transformers.BertForPreTraining)
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in reference.state_dict().items()
    }
    assert {"bert.embeddings.LayerNorm.gamma", "bert.pooler.dense.weight", "cls.seq_relationship.bias"} <= state.keys()
    state["bert.embeddings.position_ids"] = torch.arange(14)[None]
    write(tmp_path, state)  # with every alias of the tied head
    model = BertForCausalLM.from_pretrained(tmp_path)
    ids = tokens(model)
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).prediction_logits)


@pytest.mark.parametrize("kept", ["word_embeddings", "decoder"])
@pytest.mark.parametrize("prefix", ["", "bert."])
def test_names_without_a_prefix_and_either_name_of_what_is_tied_load(tmp_path, kept, prefix):
    reference = theirs(SMALL)
    other = {"word_embeddings": "decoder", "decoder": "word_embeddings"}[kept]
    state = {
        name.replace("bert.", prefix, 1): tensor
        for name, tensor in reference.state_dict().items()
        if f"{other}.weight" not in name
        and name != {"decoder": "cls.predictions.bias", "word_embeddings": "cls.predictions.decoder.bias"}[kept]
    }
    write(tmp_path, state)
    model = BertForCausalLM.from_pretrained(tmp_path)
    ids = tokens(model)
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).logits)
    assert model.lm_head.decoder.weight is model.token_embedding.weight


def test_a_tied_head_that_differs_is_refused(tmp_path):
    state = {name: tensor.clone() for name, tensor in theirs(SMALL).state_dict().items()}
    state["cls.predictions.decoder.bias"] += 1
    write(tmp_path, state)
    with pytest.raises(CheckpointError, match=r"cls\.predictions\.bias and cls\.predictions\.decoder\.bias differ"):
        BertForCausalLM.from_pretrained(tmp_path)


def test_an_untied_head_keeps_its_own_weights(tmp_path):
    reference, model = both({**SMALL, "tie_word_embeddings": False})
    model.save_pretrained(tmp_path)
    files = load_file(tmp_path / "model.safetensors")
    for name, tensor in reference.state_dict().items():
        assert torch.equal(files.pop(name), tensor)
    assert not files


@pytest.mark.parametrize("lost", ["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"])
def test_a_file_without_its_untied_head_is_refused(tmp_path, lost):
    state = theirs({**SMALL, "tie_word_embeddings": False}).state_dict()
    del state[lost]
    write(tmp_path, state, tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match=f"1 missing .{lost}."):
        BertForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("crossed", [False, True])
def test_a_state_dict_in_a_bin_file_loads(tmp_path, crossed):
    reference = theirs({**SMALL, "add_cross_attention": crossed})
    write(tmp_path, {}, add_cross_attention=crossed)
    (tmp_path / "model.safetensors").unlink()
    torch.save(reference.state_dict(), tmp_path / "pytorch_model.bin")
    model = BertForCausalLM.from_pretrained(tmp_path, allow_pickle=True)
    ids = tokens(model)
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).logits)


def test_cross_attention_in_a_file_is_refused_if_the_config_has_none(tmp_path):
    write(tmp_path, theirs(CROSSED).state_dict())
    with pytest.raises(CheckpointError, match=r"unexpected .*crossattention"):
        BertForCausalLM.from_pretrained(tmp_path)


def test_bfloat16_loads(tmp_path):
    reference = theirs(CROSSED).to(torch.bfloat16)
    reference.save_pretrained(tmp_path)
    model = BertForCausalLM.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    ids, reference = tokens(model), reference.float()
    with torch.no_grad():
        expected = reference(ids).logits
        assert_within(logits(model, ids).float(), expected, 0.05)
        assert_within(logits(BertForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), ids), expected)


def test_without_token_types_every_token_has_type_zero():
    model = ours(SMALL)
    ids = tokens(model)
    assert torch.equal(run(model, ids), run(model, ids, token_types=torch.zeros_like(ids)))
    assert not torch.equal(run(model, ids), run(model, ids, token_types=torch.ones_like(ids)))
    before = run(model, ids)
    with torch.no_grad():
        model.embeddings.types.weight[0, 3] += 1
    assert not torch.equal(run(model, ids), before)


@pytest.mark.parametrize("pad", [0, 4, None])
def test_positions_ignore_padding(pad):
    reference, model = both({**SMALL, "pad_token_id": pad})
    ids = torch.tensor([[4, 4, 5, 0, 4, 6]])
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).logits)


def test_given_positions_and_embeddings_take_precedence():
    reference, model = both(SMALL)
    ids = tokens(model)
    positions = torch.randint(0, 14, ids.shape)
    with torch.no_grad():
        embeds = model.token_embedding(ids)
        assert_within(logits(model, ids, positions=positions), reference(ids, position_ids=positions).logits)
        assert_within(logits(model, embeds), reference(inputs_embeds=embeds).logits)
    assert_within(run(model, embeds), run(model, ids))


def test_padding_tokens_are_not_attended_to():
    reference, model = both(SMALL)
    ids, keys = tokens(model, 2, 6), torch.ones(2, 6, dtype=torch.bool)
    keys[0, :2] = False
    with torch.no_grad():
        expected = reference(ids, attention_mask=keys).logits
    assert_within(logits(model, ids, keys=keys)[keys], expected[keys])


@given(config_fields(), st.integers(1, 4), st.integers(0, 99))
def test_cached_decoding_equals_uncached(fields, prefix, seed):
    model = ours({**fields, "add_cross_attention": True}, seed)
    ids, memory = tokens(model, 3, 8), remember(model, torch.randn(3, 4, model.sizes.memory_size))
    cache = SelfCache(model.sizes.layers, 3, 8)
    pieces = []
    for start, stop in [(0, prefix), *((i, i + 1) for i in range(prefix, 8))]:
        slots = torch.arange(start, stop)[None]
        step = Step(slots=slots, mask=causal_mask(slots, stop), extent=stop, memory=memory, cache=cache)
        with torch.no_grad():
            pieces.append(model(ids[:, start:stop], step))
        cache.set_lengths(torch.full((3,), stop))
    assert_within(torch.cat(pieces, dim=1), run(model, ids, memory=memory))


@given(config_fields(), st.integers(1, 7))
def test_a_token_changes_no_earlier_state(fields, place):
    model = ours(fields)
    ids = tokens(model, 2, 8)
    changed = ids.clone()
    changed[:, place:] = (changed[:, place:] - 2) % (model.sizes.vocab_size - 3) + 3
    before, after = run(model, ids), run(model, changed)
    assert_within(after[:, :place], before[:, :place])
    assert not torch.allclose(after[:, place], before[:, place])


def test_rows_of_one_image_share_its_memory():
    model = ours(CROSSED)
    ids, states, mask = tokens(model, 6), torch.randn(2, 5, 16), torch.rand(2, 5) < 0.5
    mask[:, 0] = True
    rows = torch.tensor([0, 0, 0, 1, 1, 1])
    expected = run(model, ids, memory=remember(model, states[rows], mask[rows]))
    assert_within(run(model, ids, memory=remember(model, states, mask)), expected)
    mixed = torch.tensor([1, 0, 0, 1, 0, 1])
    expected = run(model, ids, memory=remember(model, states[mixed], mask[mixed]))
    assert_within(run(model, ids, memory=remember(model, states, mask, mixed)), expected)
    other = states.masked_fill(~mask[..., None], 9.0)
    assert_within(run(model, ids, memory=remember(model, other, mask, mixed)), expected)


def test_without_cross_attention_there_is_none():
    model = ours(SMALL)
    assert model.cross is None
    assert model.sizes.max_positions == 14


@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.3, 0.2)])
def test_dropout_in_training_equals_that_of_transformers(rates):
    hidden, attention = rates
    reference, model = both({**CROSSED, "hidden_dropout_prob": hidden, "attention_probs_dropout_prob": attention})
    ids, states = tokens(model), torch.randn(3, 5, 16)
    memory = remember(model, states)
    reference.train()
    model.train()
    torch.manual_seed(5)
    mine = logits(model, ids, memory=memory)
    torch.manual_seed(5)
    with torch.no_grad():
        assert_within(mine, reference(ids, encoder_hidden_states=states).logits)


def test_initial_weights_have_the_distributions_of_transformers():
    fields = {**CROSSED, "hidden_size": 32, "vocab_size": 400, "initializer_range": 0.5}
    reference = transformers.BertLMHeadModel(transformers.BertConfig(**fields, is_decoder=True))
    with tempfile.TemporaryDirectory() as folder:
        BertForCausalLM(BertConfig(**fields)).save_pretrained(folder)
        files = load_file(Path(folder) / "model.safetensors")
    for name, tensor in files.items():
        other = reference.state_dict()[name]
        assert abs(float(tensor.mean() - other.mean())) < 0.15, name
        assert float(tensor.std()) == pytest.approx(float(other.std()), rel=0.25), name
    assert not files["bert.embeddings.word_embeddings.weight"][0].any()


def test_a_step_compiles_as_one_graph():
    model = ours(CROSSED)
    ids, memory = tokens(model), remember(model, torch.randn(3, 5, 16))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert_within(run(compiled, ids, memory=memory), run(model, ids, memory=memory))
