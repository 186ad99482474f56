"""DistilBERT as a decoder against transformers, live, and the laws of a decoder.

transformers has DistilBERT as an encoder alone. Two references: that encoder under a causal mask, and a causal BERT whose
token types are zero, with the weights renamed.
"""

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
from torch import nn

from tests.parity import assert_within, perturb
from vedcore import CheckpointError, ConfigError, InputError, Memory, Step
from vedcore.contract.types import Recorder, causal_mask
from vedcore.generation.cache import SelfCache
from vedcore.nn import CrossAttention, PostNormCrossAttention
from vedcore_plugin_distilbert import DistilBertConfig, DistilBertForCausalLM
from vedcore_plugin_distilbert.testing import config_fields

SMALL = {
    "vocab_size": 23, "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 20,
    "max_position_embeddings": 14, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
AS_BERT = (  # (theirs, as a BERT)
    ("distilbert.transformer.layer", "bert.encoder.layer"),
    ("distilbert.embeddings", "bert.embeddings"),
    ("attention.q_lin", "attention.self.query"),
    ("attention.k_lin", "attention.self.key"),
    ("attention.v_lin", "attention.self.value"),
    ("attention.out_lin", "attention.output.dense"),
    ("sa_layer_norm", "attention.output.LayerNorm"),
    ("ffn.lin1", "intermediate.dense"),
    ("ffn.lin2", "output.dense"),
    ("output_layer_norm", "output.LayerNorm"),
    ("vocab_transform", "cls.predictions.transform.dense"),
    ("vocab_layer_norm", "cls.predictions.transform.LayerNorm"),
    ("vocab_projector", "cls.predictions.decoder"),
)


def theirs(fields, seed=0):
    """A random transformers model with eager attention, in eval mode."""
    model = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**fields)).eval()
    model.set_attn_implementation("eager")
    perturb(model, seed)
    return model


def both(fields, seed=0):
    """A random transformers model, and ours loaded from its files."""
    reference = theirs(fields, seed)
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        return reference, DistilBertForCausalLM.from_pretrained(folder)


def as_bert(reference):
    """The causal BERT with their weights, and zero for its token types."""
    config = reference.config
    bert = transformers.BertLMHeadModel(
        transformers.BertConfig(
            vocab_size=config.vocab_size, hidden_size=config.dim, num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads, intermediate_size=config.hidden_dim, hidden_act=config.activation,
            max_position_embeddings=config.max_position_embeddings, layer_norm_eps=1e-12, is_decoder=True,
            tie_word_embeddings=config.tie_word_embeddings, pad_token_id=config.pad_token_id,
        )
    ).eval()  # fmt: skip
    state = {"bert.embeddings.token_type_embeddings.weight": torch.zeros(2, config.dim)}
    for name, tensor in reference.state_dict().items():
        for distilled, plain in AS_BERT:
            name = name.replace(distilled, plain)  # noqa: PLW2901
        state[name] = tensor
    state["cls.predictions.bias"] = state["cls.predictions.decoder.bias"]
    bert.load_state_dict(state)
    bert.set_attn_implementation("eager")
    return bert


def causal(reference, ids, **options):
    """Their encoder's outputs where no token sees what comes after it."""
    length = ids.shape[1]
    mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)
    with torch.no_grad():
        return reference(ids, attention_mask=mask.expand(len(ids), 1, -1, -1), **options)


def ours(fields, seed=0):
    """A random model of ours."""
    model = DistilBertForCausalLM(DistilBertConfig(**fields)).eval()
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


def cross(model):
    """Layers that look at an image, as an adapter puts them in."""
    sizes, seam = model.sizes, model.sizes.seam
    layers = nn.ModuleList(
        PostNormCrossAttention(
            CrossAttention(sizes.hidden_size, seam.num_heads), nn.LayerNorm(sizes.hidden_size, eps=seam.norm_eps)
        )
        for _ in sizes.layers
    ).eval()
    perturb(layers, 1)
    return layers


def remember(model, states, mask=None, rows=None):
    with torch.no_grad():
        return Memory(tuple(layer.remember(states) for layer in model.cross), mask, rows)


def write(folder, state, **config):
    """Write a checkpoint with these tensors."""
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "distilbert", **SMALL, **config}))


@given(config_fields(), st.integers(1, 3), st.integers(1, 11), st.integers(0, 99))
def test_outputs_equal_eager_under_a_causal_mask(fields, rows, length, seed):
    reference, model = both(fields, seed)
    ids = torch.randint(0, model.sizes.vocab_size, (rows, length))
    trace = Recorder("hidden", "self")
    expected = causal(reference, ids, output_hidden_states=True, output_attentions=True)
    assert_within(run(model, ids, trace=trace), expected.hidden_states[-1])
    assert_within(logits(model, ids), expected.logits)
    for kind, tensors in {"hidden": expected.hidden_states, "self": expected.attentions}.items():
        assert len(trace.all(kind)) == len(tensors), kind
        for mine, other in zip(trace.all(kind), tensors, strict=True):
            assert_within(mine, other)


@given(config_fields(), st.integers(1, 3), st.integers(1, 11), st.integers(0, 99))
def test_outputs_equal_a_causal_bert_without_token_types(fields, rows, length, seed):
    reference, model = both(fields, seed)
    ids = torch.randint(0, model.sizes.vocab_size, (rows, length))
    trace = Recorder("hidden", "self")
    with torch.no_grad():
        expected = as_bert(reference)(ids, output_hidden_states=True, output_attentions=True)
    assert_within(run(model, ids, trace=trace), expected.hidden_states[-1])
    assert_within(logits(model, ids), expected.logits)
    for kind, tensors in {"hidden": expected.hidden_states, "self": expected.attentions}.items():
        for mine, other in zip(trace.all(kind), tensors, strict=True):
            assert_within(mine, other)


@given(config_fields(), st.integers(0, 99))
def test_transformers_loads_all_that_we_save(fields, seed):
    model = ours(fields, seed)
    ids = tokens(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        reference, info = transformers.DistilBertForMaskedLM.from_pretrained(folder, output_loading_info=True)
        again = DistilBertForCausalLM.from_pretrained(folder)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    reference.set_attn_implementation("eager")
    assert_within(logits(model, ids), causal(reference.eval(), ids).logits)
    assert again.config == attrs.evolve(model.config, extra=again.config.extra)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))


@given(config_fields())
def test_a_config_round_trips_through_dict_json_and_transformers(fields):
    config = DistilBertConfig(**fields, extra={"qa_dropout": 0.5})
    assert DistilBertConfig.from_dict(config.to_dict()) == config
    assert DistilBertConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    through = transformers.DistilBertConfig.from_dict(config.to_dict())
    back = DistilBertConfig.from_dict(through.to_dict())
    assert attrs.evolve(back, extra=config.extra) == config
    assert back.extra["qa_dropout"] == 0.5


def test_the_defaults_are_those_of_transformers():
    published = transformers.DistilBertConfig().to_dict()
    assert {name: published.get(name) for name in DistilBertConfig().to_dict()} == DistilBertConfig().to_dict()
    assert DistilBertConfig(dim=24).hidden_size == 24


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConfigError, match=r"hidden size \(16\) must be a multiple of the number of heads \(3\)"):
        DistilBertForCausalLM(DistilBertConfig(**{**SMALL, "n_heads": 3}))


@pytest.mark.parametrize("kept", ["vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight", ""])
@pytest.mark.parametrize("prefix", ["", "distilbert."])
@pytest.mark.parametrize("norm", [("weight", "bias"), ("gamma", "beta")])
def test_other_names_of_the_same_tensors_load(tmp_path, kept, prefix, norm):
    reference = theirs(SMALL)
    tied = ("vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight")
    state = {
        name.replace("distilbert.", prefix, 1)
        .replace("LayerNorm.weight", f"LayerNorm.{norm[0]}")
        .replace("LayerNorm.bias", f"LayerNorm.{norm[1]}"): tensor
        for name, tensor in reference.state_dict().items()
        if not kept or name == kept or name not in tied
    }
    state["distilbert.embeddings.position_ids"] = torch.arange(14)[None]
    write(tmp_path, state)
    model = DistilBertForCausalLM.from_pretrained(tmp_path)
    ids = tokens(model)
    assert_within(logits(model, ids), causal(reference, ids).logits)
    assert model.lm_head.decoder.weight is model.token_embedding.weight


def test_a_tied_head_that_differs_is_refused(tmp_path):
    state = {name: tensor.clone() for name, tensor in theirs(SMALL).state_dict().items()}
    state["vocab_projector.weight"] += 1
    write(tmp_path, state)
    with pytest.raises(CheckpointError, match=r"word_embeddings\.weight and vocab_projector\.weight differ"):
        DistilBertForCausalLM.from_pretrained(tmp_path)


def test_a_file_without_its_untied_head_is_refused(tmp_path):
    state = theirs(SMALL).state_dict()
    del state["vocab_projector.weight"]
    write(tmp_path, state, tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match=r"1 missing .vocab_projector\.weight."):
        DistilBertForCausalLM.from_pretrained(tmp_path)


def test_a_file_for_another_task_has_all_but_the_head(tmp_path):
    classifier = transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**SMALL))
    write(tmp_path, classifier.state_dict())
    with pytest.raises(CheckpointError, match="5 missing") as refused:
        DistilBertForCausalLM.from_pretrained(tmp_path)
    assert "unexpected" not in str(refused.value)
    assert "distilbert" not in str(refused.value)


def test_bfloat16_loads(tmp_path):
    reference = theirs(SMALL).to(torch.bfloat16)
    reference.save_pretrained(tmp_path)
    model = DistilBertForCausalLM.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    ids = tokens(model)
    expected = causal(reference.float(), ids).logits
    assert_within(logits(model, ids).float(), expected, 0.05)
    assert_within(logits(DistilBertForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), ids), expected)


@pytest.mark.parametrize("width", [16, 15])
def test_sinusoids_are_the_initial_positions(width):
    fields = {**SMALL, "dim": width, "n_heads": 1, "sinusoidal_pos_embds": True}
    reference = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**fields))
    model = DistilBertForCausalLM(DistilBertConfig(**fields))
    table = model.embeddings.positions.weight
    assert table.requires_grad
    with torch.no_grad():
        assert_within(table, reference.distilbert.embeddings.position_embeddings.weight)


def test_the_positions_in_a_file_replace_the_sinusoids():
    reference, model = both({**SMALL, "sinusoidal_pos_embds": True})
    with torch.no_grad():
        assert torch.equal(
            model.embeddings.positions.weight, reference.distilbert.embeddings.position_embeddings.weight
        )


def test_token_types_are_refused():
    model = ours(SMALL)
    ids = tokens(model)
    with pytest.raises(InputError, match="no token types") as raised:
        run(model, ids, token_types=torch.zeros_like(ids))
    assert raised.value.tensor == "token_type_ids"


def test_given_positions_and_embeddings_take_precedence():
    reference, model = both(SMALL)
    ids = tokens(model)
    positions = torch.randint(0, 14, ids.shape)
    with torch.no_grad():
        embeds = model.token_embedding(ids)
    assert_within(logits(model, ids, positions=positions), causal(reference, ids, position_ids=positions).logits)
    assert_within(run(model, embeds), run(model, ids))


def test_padding_tokens_are_not_attended_to():
    reference, model = both(SMALL)
    ids, keys = tokens(model, 2, 6), torch.ones(2, 6, dtype=torch.bool)
    keys[0, :2] = False
    with torch.no_grad():
        expected = as_bert(reference)(ids, attention_mask=keys).logits
    assert_within(logits(model, ids, keys=keys)[keys], expected[keys])


@given(config_fields(), st.integers(1, 4), st.integers(0, 99))
def test_cached_decoding_equals_uncached(fields, prefix, seed):
    model = ours(fields, seed)
    model.cross = cross(model)
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


def test_it_has_no_cross_attention_and_takes_layers_that_fit_its_seam():
    model = ours(SMALL)
    assert model.cross is None
    ids, states, mask = tokens(model, 6), torch.randn(2, 5, 16), torch.rand(2, 5) < 0.5
    mask[:, 0] = True
    alone = run(model, ids)
    model.cross = cross(model)
    assert torch.equal(run(model, ids), alone)
    mixed = torch.tensor([1, 0, 0, 1, 0, 1])
    expected = run(model, ids, memory=remember(model, states[mixed], mask[mixed]))
    assert_within(run(model, ids, memory=remember(model, states, mask, mixed)), expected)
    assert not torch.allclose(expected, alone)
    rows = torch.tensor([0, 0, 0, 1, 1, 1])
    expected = run(model, ids, memory=remember(model, states[rows], mask[rows]))
    assert_within(run(model, ids, memory=remember(model, states, mask)), expected)


@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.3, 0.2)])
def test_dropout_in_training_equals_that_of_transformers(rates):
    hidden, attention = rates
    reference, model = both({**SMALL, "dropout": hidden, "attention_dropout": attention})
    ids = tokens(model)
    reference.train()
    model.train()
    torch.manual_seed(5)
    mine = logits(model, ids)
    torch.manual_seed(5)
    assert_within(mine, causal(reference, ids).logits)


def test_initial_weights_have_the_distributions_of_transformers():
    fields = {**SMALL, "dim": 32, "vocab_size": 400, "max_position_embeddings": 60, "initializer_range": 0.5}
    reference = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**fields))
    with tempfile.TemporaryDirectory() as folder:
        DistilBertForCausalLM(DistilBertConfig(**fields)).save_pretrained(folder)
        files = load_file(Path(folder) / "model.safetensors")
    for name, tensor in files.items():
        other = reference.state_dict()[name]
        assert abs(float(tensor.mean() - other.mean())) < 0.15, name
        assert float(tensor.std()) == pytest.approx(float(other.std()), rel=0.25), name
    assert not files["distilbert.embeddings.word_embeddings.weight"][0].any()


def test_a_step_compiles_as_one_graph():
    model = ours(SMALL)
    model.cross = cross(model)
    ids, memory = tokens(model), remember(model, torch.randn(3, 5, 16))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert_within(run(compiled, ids, memory=memory), run(model, ids, memory=memory))
