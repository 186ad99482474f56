"""RoBERTa and XLM-RoBERTa against transformers, live, and the laws of a decoder."""

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
from vedcore import CheckpointError, ConfigError, InputError, Memory, Step
from vedcore.contract.types import Recorder, causal_mask
from vedcore.generation.cache import SelfCache
from vedcore_plugin_roberta import RobertaConfig, RobertaForCausalLM, XLMRobertaConfig, XLMRobertaForCausalLM
from vedcore_plugin_roberta.testing import config_fields

SMALL = {
    "vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20,
    "max_position_embeddings": 16, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
CROSSED = {**SMALL, "add_cross_attention": True}
ROBERTA = (RobertaConfig, RobertaForCausalLM, transformers.RobertaConfig, transformers.RobertaForCausalLM)
XLM = (XLMRobertaConfig, XLMRobertaForCausalLM, transformers.XLMRobertaConfig, transformers.XLMRobertaForCausalLM)
kinds = st.sampled_from([ROBERTA, XLM])
each = pytest.mark.parametrize("kind", [ROBERTA, XLM], ids=["roberta", "xlm-roberta"])


def theirs(kind, fields, seed=0):
    """A random transformers model with eager attention, in eval mode."""
    _, _, config, cls = kind
    model = cls(config(**fields, is_decoder=True)).eval()
    model.set_attn_implementation("eager")
    perturb(model, seed)
    return model


def both(kind, fields, seed=0):
    """A random transformers model, and ours loaded from its files."""
    reference = theirs(kind, fields, seed)
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        return reference, kind[1].from_pretrained(folder)


def ours(kind, fields, seed=0):
    """A random model of ours."""
    config, cls, _, _ = kind
    model = cls(config(**fields)).eval()
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


def decode(model, ids, prefix, memory=None):
    """Hidden states (R, T, D) of ids (R, T): the first ``prefix`` at once, then one by one, cached."""
    rows, length = ids.shape
    cache = SelfCache(model.sizes.layers, rows, length)
    pieces = []
    for start, stop in [(0, prefix), *((i, i + 1) for i in range(prefix, length))]:
        slots = torch.arange(start, stop)[None]
        step = Step(slots=slots, mask=causal_mask(slots, stop), extent=stop, memory=memory, cache=cache)
        with torch.no_grad():
            pieces.append(model(ids[:, start:stop], step))
        cache.set_lengths(torch.full((rows,), stop))
    return torch.cat(pieces, dim=1)


def remember(model, states, mask=None, rows=None):
    with torch.no_grad():
        return Memory(tuple(layer.remember(states) for layer in model.cross), mask, rows)


def write(folder, state, **config):
    """A checkpoint of these tensors, as RoBERTa."""
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta", **SMALL, **config}))


@given(kinds, config_fields(), st.booleans(), st.integers(1, 3), st.integers(1, 11), st.integers(0, 99))
def test_outputs_equal_those_of_transformers(kind, fields, crossed, images, length, seed):
    reference, model = both(kind, {**fields, "add_cross_attention": crossed}, seed)
    ids = torch.randint(0, model.sizes.vocab_size, (images, length))  # padding among them
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
    seen = {"hidden": expected.hidden_states, "self": expected.attentions, "cross": expected.cross_attentions or ()}
    for name, tensors in seen.items():
        assert len(trace.all(name)) == len(tensors), name
        for mine, other in zip(trace.all(name), tensors, strict=True):
            assert_within(mine, other)


@given(kinds, config_fields(), st.booleans(), st.integers(0, 99))
def test_transformers_loads_all_that_we_save(kind, fields, crossed, seed):
    model = ours(kind, {**fields, "add_cross_attention": crossed}, seed)
    ids, states = tokens(model), torch.randn(3, 5, model.sizes.memory_size)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        reference, info = kind[3].from_pretrained(folder, output_loading_info=True)
        again = kind[1].from_pretrained(folder)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    image, memory = ({"encoder_hidden_states": states}, remember(model, states)) if crossed else ({}, None)
    with torch.no_grad():
        assert_within(logits(model, ids, memory=memory), reference.eval()(ids, **image).logits)
    assert again.config == attrs.evolve(model.config, extra=again.config.extra)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))


@given(kinds, config_fields(), st.booleans())
def test_a_config_round_trips_through_dict_json_and_transformers(kind, fields, crossed):
    cls, _, their_config, _ = kind
    config = cls(**fields, add_cross_attention=crossed, extra={"use_cache": False})
    assert cls.from_dict(config.to_dict()) == config
    assert cls.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    through = their_config.from_dict(config.to_dict())
    back = cls.from_dict(through.to_dict())
    assert attrs.evolve(back, extra=config.extra) == config
    assert back.extra["use_cache"] is False


@each
def test_the_defaults_are_those_of_transformers(kind):
    known, published = kind[0]().to_dict(), kind[2]().to_dict()
    differing = {name for name, value in known.items() if published.get(name) != value}
    assert differing == {"is_decoder", "position_embedding_type"}


@each
def test_the_config_of_an_encoder_becomes_that_of_a_decoder(kind):
    assert kind[0].from_dict({"is_decoder": False}).to_dict()["is_decoder"] is True


def test_the_config_of_the_other_architecture_is_refused():
    with pytest.raises(ConfigError, match="model_type is 'roberta', but XLMRobertaConfig is for 'xlm-roberta'"):
        XLMRobertaConfig.from_dict(RobertaConfig().to_dict())
    with pytest.raises(ConfigError, match="built from a XLMRobertaConfig, got RobertaConfig"):
        XLMRobertaForCausalLM(RobertaConfig(**SMALL))


@each
@pytest.mark.parametrize("positions", ["relative_key", "relative_key_query"])
def test_relative_positions_are_refused(kind, positions):
    with pytest.raises(ConfigError, match=f"position_embedding_type must be one of absolute, got '{positions}'"):
        kind[0].from_dict({"position_embedding_type": positions})


def test_a_padding_id_outside_the_vocabulary_is_refused():
    with pytest.raises(ConfigError, match=r"pad_token_id \(1\) must be below vocab_size \(1\)") as raised:
        RobertaForCausalLM(RobertaConfig(vocab_size=1, pad_token_id=1))
    assert (raised.value.field, raised.value.expected, raised.value.found) == ("pad_token_id", "below 1", 1)


def test_too_few_positions_are_refused():
    message = r"max_position_embeddings \(6\) must be at least pad_token_id \(5\) \+ 2"
    with pytest.raises(ConfigError, match=message) as raised:
        RobertaForCausalLM(RobertaConfig(**{**SMALL, "max_position_embeddings": 6, "pad_token_id": 5}))
    error = raised.value
    assert (error.field, error.expected, error.found) == ("max_position_embeddings", "at least 7", 6)


@pytest.mark.parametrize("pad", [0, 1, 5])
def test_a_larger_padding_id_leaves_fewer_positions(pad):
    reference, model = both(ROBERTA, {**SMALL, "pad_token_id": pad})
    assert model.sizes.max_positions == 16 - pad - 1
    ids = torch.randint(6, 23, (1, model.sizes.max_positions))
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).logits)
    with pytest.raises(IndexError):
        run(model, torch.randint(6, 23, (1, model.sizes.max_positions + 1)))


def test_the_head_has_gelu_whatever_hidden_act_is():
    reference, model = both(ROBERTA, {**SMALL, "hidden_act": "relu"})
    x = torch.randn(2, 3, 16)
    with torch.no_grad():
        assert_within(model.lm_head(x), reference.lm_head(x))
    assert (model.lm_head.dense(x) < 0).any()


@each
def test_a_start_token_that_is_padding_shifts_uncached_positions(kind):
    reference, model = both(kind, SMALL)
    ids = tokens(model, 2, 6)
    ids[:, 0] = 1
    past, pieces = None, []
    for i in range(6):
        with torch.no_grad():
            out = reference(ids[:, i : i + 1], past_key_values=past, use_cache=True, output_hidden_states=True)
        past = out.past_key_values
        pieces.append(out.hidden_states[-1])
    cached, uncached = decode(model, ids, 1), run(model, ids)
    assert_within(cached, torch.cat(pieces, dim=1))
    with torch.no_grad():
        assert_within(uncached, reference(ids, output_hidden_states=True).hidden_states[-1])
    assert not torch.allclose(cached, uncached, atol=1e-3)


def test_embeddings_have_consecutive_positions_also_after_cached_tokens():
    reference, model = both(ROBERTA, SMALL)
    ids = tokens(model)
    with torch.no_grad():
        embeds = model.token_embedding(ids)
        assert_within(logits(model, embeds), reference(inputs_embeds=embeds).logits)
    whole = run(model, embeds)
    assert_within(whole, run(model, ids))
    cache = SelfCache(model.sizes.layers, 3, 7)
    with torch.no_grad():
        model(None, Step(slots=torch.arange(4)[None], mask=causal_mask(torch.arange(4)[None], 4), extent=4, cache=cache),
              inputs_embeds=embeds[:, :4])  # fmt: skip
        slots = torch.arange(4, 7)[None]
        rest = Step(slots=slots, mask=causal_mask(slots, 7), extent=7, cache=cache)
        assert_within(model(None, rest, inputs_embeds=embeds[:, 4:]), whole[:, 4:])


def test_given_positions_take_precedence():
    reference, model = both(ROBERTA, SMALL)
    ids = tokens(model)
    positions = torch.randint(0, 16, ids.shape)
    with torch.no_grad():
        assert_within(logits(model, ids, positions=positions), reference(ids, position_ids=positions).logits)


def test_a_step_without_slots_and_positions_is_refused():
    model = ours(ROBERTA, SMALL)
    with pytest.raises(InputError, match="slots or positions"):
        model(tokens(model), Step(extent=7))


def test_padding_tokens_are_not_attended_to():
    reference, model = both(ROBERTA, SMALL)
    ids, keys = tokens(model, 2, 6), torch.ones(2, 6, dtype=torch.bool)
    ids[0, :2], keys[0, :2] = 1, False
    with torch.no_grad():
        expected = reference(ids, attention_mask=keys).logits
    assert_within(logits(model, ids, keys=keys)[keys], expected[keys])


def test_one_row_of_token_types_is_enough():
    reference, model = both(ROBERTA, {**SMALL, "type_vocab_size": 1})
    ids = tokens(model)
    assert model.embeddings.types.weight.shape == (1, 16)
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).logits)


def test_the_published_file_loads(tmp_path):
    full = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**SMALL))
    full.roberta.pooler = transformers.models.roberta.modeling_roberta.RobertaPooler(full.config)
    perturb(full, 0)
    state = full.state_dict()
    reference = transformers.RobertaForCausalLM(transformers.RobertaConfig(**SMALL, is_decoder=True)).eval()
    reference.load_state_dict({name: tensor for name, tensor in state.items() if "pooler" not in name})
    assert {"roberta.pooler.dense.weight", "lm_head.decoder.weight", "lm_head.bias"} <= state.keys()
    state["roberta.embeddings.position_ids"] = torch.arange(16)[None]
    write(tmp_path, state)  # with every alias of the tied head
    model = RobertaForCausalLM.from_pretrained(tmp_path)
    ids = tokens(model)
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).logits)


@pytest.mark.parametrize("kept", ["word_embeddings", "decoder"])
@pytest.mark.parametrize("prefix", ["", "roberta."])
@pytest.mark.parametrize("norm", [("weight", "bias"), ("gamma", "beta")])
def test_other_names_of_the_same_tensors_load(tmp_path, kept, prefix, norm):
    reference = theirs(ROBERTA, SMALL)
    lost = {
        "word_embeddings": ("lm_head.decoder.weight", "lm_head.decoder.bias"),
        "decoder": ("roberta.embeddings.word_embeddings.weight", "lm_head.bias"),
    }[kept]
    state = {
        name.replace("roberta.", prefix, 1)
        .replace("LayerNorm.weight", f"LayerNorm.{norm[0]}")
        .replace("LayerNorm.bias", f"LayerNorm.{norm[1]}"): tensor
        for name, tensor in reference.state_dict().items()
        if name not in lost
    }
    write(tmp_path, state)
    model = RobertaForCausalLM.from_pretrained(tmp_path)
    ids = tokens(model)
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).logits)
    assert model.lm_head.decoder.weight is model.token_embedding.weight


def test_a_tied_head_that_differs_is_refused(tmp_path):
    state = {name: tensor.clone() for name, tensor in theirs(ROBERTA, SMALL).state_dict().items()}
    state["lm_head.decoder.weight"] += 1
    write(tmp_path, state)
    with pytest.raises(CheckpointError, match=r"word_embeddings\.weight and lm_head\.decoder\.weight differ"):
        RobertaForCausalLM.from_pretrained(tmp_path)


@each
def test_an_untied_head_keeps_its_own_weights(tmp_path, kind):
    reference, model = both(kind, {**SMALL, "tie_word_embeddings": False})
    model.save_pretrained(tmp_path)
    files = load_file(tmp_path / "model.safetensors")
    for name, tensor in reference.state_dict().items():
        assert torch.equal(files.pop(name), tensor)
    assert not files


@pytest.mark.parametrize("lost", ["lm_head.decoder.weight", "lm_head.decoder.bias"])
def test_a_file_without_its_untied_head_is_refused(tmp_path, lost):
    state = theirs(ROBERTA, {**SMALL, "tie_word_embeddings": False}).state_dict()
    del state[lost]
    write(tmp_path, state, tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match=f"1 missing .{lost}."):
        RobertaForCausalLM.from_pretrained(tmp_path)


def test_a_state_dict_in_a_bin_file_loads(tmp_path):
    reference = theirs(ROBERTA, CROSSED)
    write(tmp_path, {}, add_cross_attention=True)
    (tmp_path / "model.safetensors").unlink()
    torch.save(reference.state_dict(), tmp_path / "pytorch_model.bin")
    model = RobertaForCausalLM.from_pretrained(tmp_path, allow_pickle=True)
    ids = tokens(model)
    with torch.no_grad():
        assert_within(logits(model, ids), reference(ids).logits)


@each
def test_bfloat16_loads(tmp_path, kind):
    reference = theirs(kind, CROSSED).to(torch.bfloat16)
    reference.save_pretrained(tmp_path)
    model = kind[1].from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    ids, reference = tokens(model), reference.float()
    with torch.no_grad():
        expected = reference(ids).logits
        assert_within(logits(model, ids).float(), expected, 0.05)
        assert_within(logits(kind[1].from_pretrained(tmp_path, dtype=torch.float32), ids), expected)


@given(kinds, config_fields(), st.integers(1, 4), st.integers(0, 99))
def test_cached_decoding_equals_uncached(kind, fields, prefix, seed):
    model = ours(kind, {**fields, "add_cross_attention": True}, seed)
    ids, memory = tokens(model, 3, 8), remember(model, torch.randn(3, 4, model.sizes.memory_size))
    assert_within(decode(model, ids, prefix, memory), run(model, ids, memory=memory))


@given(kinds, config_fields(), st.integers(1, 7))
def test_a_token_changes_no_earlier_state(kind, fields, place):
    model = ours(kind, fields)
    ids = tokens(model, 2, 8)
    changed = ids.clone()
    changed[:, place:] = (changed[:, place:] - 2) % (model.sizes.vocab_size - 3) + 3
    before, after = run(model, ids), run(model, changed)
    assert_within(after[:, :place], before[:, :place])
    assert not torch.allclose(after[:, place], before[:, place])


def test_rows_of_one_image_share_its_memory():
    model = ours(ROBERTA, CROSSED)
    ids, states, mask = tokens(model, 6), torch.randn(2, 5, 16), torch.rand(2, 5) < 0.5
    mask[:, 0] = True
    rows = torch.tensor([0, 0, 0, 1, 1, 1])
    expected = run(model, ids, memory=remember(model, states[rows], mask[rows]))
    assert_within(run(model, ids, memory=remember(model, states, mask)), expected)
    mixed = torch.tensor([1, 0, 0, 1, 0, 1])
    expected = run(model, ids, memory=remember(model, states[mixed], mask[mixed]))
    assert_within(run(model, ids, memory=remember(model, states, mask, mixed)), expected)


@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.3, 0.2)])
def test_dropout_in_training_equals_that_of_transformers(rates):
    hidden, attention = rates
    fields = {**CROSSED, "hidden_dropout_prob": hidden, "attention_probs_dropout_prob": attention}
    reference, model = both(ROBERTA, fields)
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
    fields = {**CROSSED, "hidden_size": 32, "vocab_size": 400, "max_position_embeddings": 60, "initializer_range": 0.5}
    reference = transformers.RobertaForCausalLM(transformers.RobertaConfig(**fields, is_decoder=True))
    with tempfile.TemporaryDirectory() as folder:
        RobertaForCausalLM(RobertaConfig(**fields)).save_pretrained(folder)
        files = load_file(Path(folder) / "model.safetensors")
    for name, tensor in files.items():
        other = reference.state_dict()[name]
        assert abs(float(tensor.mean() - other.mean())) < 0.15, name
        assert float(tensor.std()) == pytest.approx(float(other.std()), rel=0.25), name
    for table in ("word", "position"):
        assert not files[f"roberta.embeddings.{table}_embeddings.weight"][1].any()


def test_the_position_of_padding_is_not_trained():
    reference, model = both(ROBERTA, SMALL)
    ids = torch.tensor([[0, 5, 1, 6, 1]])
    slots = torch.arange(5)[None]
    model(ids, Step(slots=slots, mask=causal_mask(slots, 5), extent=5)).square().sum().backward()
    reference.roberta(ids).last_hidden_state.square().sum().backward()
    mine = model.embeddings.positions.weight.grad
    assert not mine[1].any()
    assert_within(mine, reference.roberta.embeddings.position_embeddings.weight.grad)
    assert_within(model.token_embedding.weight.grad, reference.get_input_embeddings().weight.grad)


@each
def test_a_step_compiles_as_one_graph(kind):
    model = ours(kind, CROSSED)
    ids, memory = tokens(model), remember(model, torch.randn(3, 5, 16))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert_within(run(compiled, ids, memory=memory), run(model, ids, memory=memory))
