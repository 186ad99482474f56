"""BART and MBart decoders against transformers 5.23, live."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.parity import assert_within, perturb
from vedcore import CheckpointError, ConfigError, Memory, Step
from vedcore.contract.types import Recorder, causal_mask
from vedcore.generation.cache import SelfCache
from vedcore_plugin_bart import BartConfig, BartForCausalLM, MBartConfig, MBartForCausalLM
from vedcore_plugin_bart.testing import config_fields

ENCODER = {"encoder_layers": 4, "encoder_attention_heads": 1, "encoder_ffn_dim": 9}  # never as many as the decoder has
SMALL = {
    "vocab_size": 23,
    "d_model": 16,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 21,
    "max_position_embeddings": 14,
}
LENGTH, STATES = 6, 5


@dataclass(frozen=True)
class Kind:
    """The classes of one model type: ours and those of transformers."""

    config: Any
    model: Any
    their_config: Any
    their_model: Any
    their_bare: Any
    their_seq2seq: Any


KINDS = {
    "bart": Kind(
        BartConfig,
        BartForCausalLM,
        transformers.BartConfig,
        transformers.BartForCausalLM,
        transformers.BartModel,
        transformers.BartForConditionalGeneration,
    ),
    "mbart": Kind(
        MBartConfig,
        MBartForCausalLM,
        transformers.MBartConfig,
        transformers.MBartForCausalLM,
        transformers.MBartModel,
        transformers.MBartForConditionalGeneration,
    ),
}
kinds = st.sampled_from(sorted(KINDS))
both_kinds = pytest.mark.parametrize("kind", sorted(KINDS))


def theirs(model_class, config_class, fields, seed=0):
    config = config_class(**{**ENCODER, **fields})
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    reference = model_class(config).eval()
    perturb(reference, seed)
    return reference


def loaded(kind, fields, seed=0, **options):
    """A random transformers decoder, and ours loaded from its files."""
    reference = theirs(KINDS[kind].their_model, KINDS[kind].their_config, fields, seed)
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        return reference, KINDS[kind].model.from_pretrained(folder, **options)


def fresh(kind, fields, seed=0):
    """A random decoder of ours."""
    torch.manual_seed(seed)
    model = KINDS[kind].model(KINDS[kind].config(**fields)).eval()
    perturb(model, seed)
    return model


def rewritten(folder: Path, change) -> None:
    """Replace model.safetensors by a file with the tensors that ``change`` makes of the old ones."""
    tensors = {name: tensor.clone() for name, tensor in change(load_file(folder / "model.safetensors")).items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def inputs(model, rows=2):
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(0, model.sizes.vocab_size, (rows, LENGTH), generator=generator)
    return ids, torch.randn(rows, STATES, model.sizes.memory_size, generator=generator)


def memory_of(model, states, mask=None, rows=None):
    return Memory(tuple(layer.remember(states) for layer in model.cross), mask, rows)


def run(model, ids: Tensor, memory=None, *, trace=None, positions=None, cache=None, start=0, embeds=None) -> Tensor:
    slots = torch.arange(start, start + ids.shape[1])[None]
    extent = start + ids.shape[1]
    mask = causal_mask(slots, extent)
    step = Step(slots, positions, mask=mask, extent=extent, memory=memory, cache=cache, trace=trace)
    return model(None if embeds is not None else ids, step, inputs_embeds=embeds)


def fields_of(config):
    return {name: value for name, value in config.to_dict().items() if name not in config.extra}


@given(kinds, config_fields(), st.booleans(), st.integers(0, 99))
def test_states_attentions_and_logits_equal_those_of_transformers(kind, fields, masked, seed):
    reference, model = loaded(kind, fields, seed)
    ids, states = inputs(model)
    mask = torch.tensor([[True] * STATES, [True, True, False, True, False]]) if masked else None
    recorder = Recorder("hidden", "self", "cross")
    with torch.no_grad():
        expected = reference(
            ids,
            encoder_hidden_states=states,
            encoder_attention_mask=None if mask is None else mask.long(),
            output_hidden_states=True,
            output_attentions=True,
        )
        hidden = run(model, ids, memory_of(model, states, mask), trace=recorder)
        assert_within(model.lm_head(hidden), expected.logits)
    for mine, other in (
        ((*recorder.all("hidden")[:-1], hidden), expected.hidden_states),
        (recorder.all("self"), expected.attentions),
        (recorder.all("cross"), expected.cross_attentions),
    ):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            assert_within(a, b)


@given(kinds, config_fields(), st.integers(0, 99))
def test_a_decoder_without_memory_equals_theirs_without_encoder_states(kind, fields, seed):
    reference, model = loaded(kind, fields, seed)
    ids, _ = inputs(model)
    with torch.no_grad():
        assert_within(model.lm_head(run(model, ids)), reference(ids).logits)


@given(kinds, config_fields(), st.integers(0, 99))
def test_transformers_loads_all_that_we_save(kind, fields, seed):
    names, model = KINDS[kind], fresh(kind, fields, seed)
    ids, states = inputs(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        reference, info = names.their_model.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        expected = reference(ids, encoder_hidden_states=states).logits
        assert_within(model.lm_head(run(model, ids, memory_of(model, states))), expected)


@given(kinds, config_fields())
def test_files_have_the_names_of_transformers(kind, fields):
    reference, model = loaded(kind, fields)
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(Path(folder) / "theirs")
        model.save_pretrained(Path(folder) / "ours")
        ours, other = (load_file(Path(folder) / who / "model.safetensors") for who in ("ours", "theirs"))
    assert ours.keys() == other.keys()
    assert all(torch.equal(ours[name], other[name]) for name in ours)


@given(kinds, config_fields())
def test_a_config_round_trips_through_dict_json_and_transformers(kind, fields):
    names = KINDS[kind]
    config = names.config.from_dict({**fields, "dropout": 0.25, "decoder_layerdrop": 0.5, "encoder_layers": 7})
    assert names.config.from_dict(config.to_dict()) == config
    assert names.config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    back = names.config.from_dict(names.their_config.from_dict(config.to_dict()).to_dict())
    assert fields_of(back) == fields_of(config)
    assert back.extra["encoder_layers"] == 7


@both_kinds
def test_the_defaults_are_those_of_transformers(kind):
    names = KINDS[kind]
    assert fields_of(names.config.from_dict(names.their_config().to_dict())) == names.config().to_dict()


@both_kinds
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("held", ["shared", "embed_tokens", "all"])
def test_the_decoder_of_a_seq2seq_file_loads(tmp_path, kind, bare, held):
    names = KINDS[kind]
    reference = theirs(names.their_bare if bare else names.their_seq2seq, names.their_config, SMALL)
    reference.save_pretrained(tmp_path)
    prefix = "" if bare else "model."

    def with_aliases(tensors):
        shared = tensors.pop(f"{prefix}shared.weight")
        table = {f"{prefix}{part}.embed_tokens.weight": shared for part in ("encoder", "decoder")}
        head = {} if bare else {"lm_head.weight": shared}
        kept = {
            "shared": {f"{prefix}shared.weight": shared},
            "embed_tokens": table,
            "all": {f"{prefix}shared.weight": shared, **table, **head, f"{prefix}decoder.version": torch.ones(1)},
        }
        return {**tensors, **kept[held], "final_logits_bias": torch.zeros(1, SMALL["vocab_size"])}

    rewritten(tmp_path, with_aliases)
    model = names.model.from_pretrained(tmp_path)
    ids, states = inputs(model)
    decoder = reference.decoder if bare else reference.model.decoder
    with torch.no_grad():
        hidden = run(model, ids, memory_of(model, states))
        assert_within(hidden, decoder(ids, encoder_hidden_states=states).last_hidden_state)
    assert torch.equal(model.lm_head.weight, reference.get_input_embeddings().weight)


@both_kinds
def test_a_seq2seq_file_with_two_different_embeddings_is_refused_and_both_are_named(tmp_path, kind):
    names = KINDS[kind]
    reference = theirs(names.their_seq2seq, names.their_config, {**SMALL, "tie_word_embeddings": False})
    reference.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"model.decoder.embed_tokens.weight and model.shared.weight differ"):
        names.model.from_pretrained(tmp_path)


@both_kinds
def test_heads_for_other_tasks_are_left_out(tmp_path, kind):
    reference = theirs(KINDS[kind].their_bare, KINDS[kind].their_config, SMALL)
    reference.save_pretrained(tmp_path)
    more = {"classification_head.dense.weight": torch.ones(2, 2), "qa_outputs.weight": torch.ones(2, 2)}
    rewritten(tmp_path, lambda tensors: {f"model.{name}": tensor for name, tensor in tensors.items()} | more)
    KINDS[kind].model.from_pretrained(tmp_path)


@both_kinds
def test_a_file_with_the_tied_table_only_as_head_loads(tmp_path, kind):
    reference, model = loaded(kind, SMALL)
    reference.save_pretrained(tmp_path)

    def head_only(tensors):
        tensors["lm_head.weight"] = tensors.pop("model.decoder.embed_tokens.weight")
        return tensors

    rewritten(tmp_path, head_only)
    again = KINDS[kind].model.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.token_embedding.weight
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)


@both_kinds
def test_an_untied_head_has_its_own_weights_and_a_file_without_it_is_refused(tmp_path, kind):
    reference, model = loaded(kind, {**SMALL, "tie_word_embeddings": False})
    assert not torch.equal(model.lm_head.weight, model.token_embedding.weight)
    reference.save_pretrained(tmp_path)
    rewritten(tmp_path, lambda tensors: {k: v for k, v in tensors.items() if k != "lm_head.weight"})
    with pytest.raises(CheckpointError, match=r"1 missing \(lm_head.weight\)"):
        KINDS[kind].model.from_pretrained(tmp_path)


@both_kinds
def test_only_decoder_layers_sets_the_number_of_layers(kind):
    donut = {**SMALL, "num_hidden_layers": 12, "encoder_layers": 12, "num_attention_heads": 16}
    config = KINDS[kind].config.from_dict(donut)
    model = KINDS[kind].model(config)
    assert len(model.blocks) == len(model.cross) == len(model.sizes.layers) == 2
    assert model.sizes.layers == ((2, 2, 8), (2, 2, 8))
    assert config.to_dict()["num_hidden_layers"] == 12


def test_only_mbart_ends_with_a_norm():
    bart, mbart = BartForCausalLM(BartConfig(**SMALL)), MBartForCausalLM(MBartConfig(**SMALL))
    assert set(dict(mbart.named_parameters())) - set(dict(bart.named_parameters())) == {"norm.weight", "norm.bias"}
    assert (bart.sizes.seam.norm, mbart.sizes.seam.norm) == ("post", "pre")


@both_kinds
def test_weights_load_in_bfloat16_and_compute_in_it(kind):
    reference, model = loaded(kind, SMALL, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    ids, states = inputs(model)
    with torch.no_grad():
        logits = model.lm_head(run(model, ids, memory_of(model, states.bfloat16())))
        expected = reference(ids, encoder_hidden_states=states).logits
    assert logits.dtype == torch.bfloat16
    assert_within(logits.float(), expected, 0.1)


@given(kinds, config_fields(), st.integers(1, LENGTH), st.integers(0, 99))
def test_cached_decoding_equals_uncached(kind, fields, prefix, seed):
    model = fresh(kind, fields, seed)
    ids, states = inputs(model)
    memory = memory_of(model, states)
    cache = SelfCache(model.sizes.layers, len(ids), LENGTH)
    with torch.no_grad():
        pieces = [run(model, ids[:, :prefix], memory, cache=cache)]
        pieces += [run(model, ids[:, i : i + 1], memory, cache=cache, start=i) for i in range(prefix, LENGTH)]
        assert_within(torch.cat(pieces, dim=1), run(model, ids, memory))


@given(kinds, config_fields(), st.integers(1, LENGTH - 1))
def test_a_state_does_not_depend_on_later_tokens(kind, fields, cut):
    model = fresh(kind, fields)
    ids, states = inputs(model)
    other = ids.clone()
    other[:, cut:] = (other[:, cut:] + 1) % model.sizes.vocab_size
    memory = memory_of(model, states)
    with torch.no_grad():
        a, b = run(model, ids, memory), run(model, other, memory)
    assert_within(a[:, :cut], b[:, :cut])
    assert not torch.equal(a[:, cut:], b[:, cut:])


@given(kinds, config_fields(), st.integers(1, 3))
def test_rows_that_share_an_image_equal_rows_with_repeated_images(kind, fields, beams):
    model = fresh(kind, fields)
    ids, _ = inputs(model, rows=2 * beams)
    _, states = inputs(model)
    chosen = torch.arange(2 * beams).flip(0) // beams
    with torch.no_grad():
        repeated = run(model, ids, memory_of(model, states.repeat_interleave(beams, dim=0)))
        assert_within(run(model, ids, memory_of(model, states)), repeated)
        explicit = run(model, ids, memory_of(model, states, rows=chosen))
        assert_within(explicit, run(model, ids, memory_of(model, states[chosen])))


@both_kinds
def test_the_positions_of_a_step_take_precedence_and_have_the_same_offset(kind):
    model = fresh(kind, SMALL)
    ids, states = inputs(model)
    memory = memory_of(model, states)
    with torch.no_grad():
        plain = run(model, ids, memory)
        same = run(model, ids, memory, positions=torch.arange(LENGTH).expand(2, -1))
        moved = run(model, ids, memory, positions=torch.arange(1, LENGTH + 1)[None])
    assert torch.equal(plain, same)
    assert not torch.equal(plain, moved)


@both_kinds
def test_every_position_up_to_max_positions_has_a_row(kind):
    model = fresh(kind, SMALL)
    assert model.sizes.max_positions == SMALL["max_position_embeddings"]
    ids = torch.zeros(1, model.sizes.max_positions, dtype=torch.long)
    assert run(model, ids).shape == (1, model.sizes.max_positions, model.sizes.hidden_size)
    assert model.positions.weight.shape[0] == model.sizes.max_positions + 2


@both_kinds
def test_given_embeddings_replace_the_scaled_token_embeddings(kind):
    reference, model = loaded(kind, {**SMALL, "scale_embedding": True})
    ids, states = inputs(model)
    memory = memory_of(model, states)
    with torch.no_grad():
        embeds = model.token_embedding(ids)
        assert_within(embeds, model.token_embedding.weight[ids] * 4.0)
        hidden = run(model, ids, memory, embeds=embeds)
        assert torch.equal(hidden, run(model, ids, memory))
        assert_within(embeds, reference.get_input_embeddings()(ids))


@both_kinds
@pytest.mark.parametrize(
    "rates",
    [{"dropout": 0.3, "attention_dropout": 0.2, "activation_dropout": 0.4}, {"dropout": 0.0, "decoder_layerdrop": 0.5}],
    ids=["dropout", "layerdrop"],
)
def test_dropout_in_training_equals_that_of_transformers(kind, rates):
    reference, model = loaded(kind, {**SMALL, **rates})
    ids, states = inputs(model)
    reference.train(), model.train()
    outcomes = set()
    for seed in range(6):
        torch.manual_seed(seed)
        expected = reference(ids, encoder_hidden_states=states).logits
        torch.manual_seed(seed)
        logits = model.lm_head(run(model, ids, memory_of(model, states)))
        assert_within(logits.detach(), expected.detach())
        outcomes.add(float(logits.detach().sum()))
    assert len(outcomes) > 1
    reference.eval(), model.eval()
    with torch.no_grad():
        expected = reference(ids, encoder_hidden_states=states).logits
        assert_within(model.lm_head(run(model, ids, memory_of(model, states))), expected)


@both_kinds
def test_every_weight_of_a_dropped_block_has_a_gradient(kind):
    model = KINDS[kind].model(KINDS[kind].config(**SMALL, decoder_layerdrop=1.0)).train()
    ids, states = inputs(model)
    model.lm_head(run(model, ids, memory_of(model, states))).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not model.blocks[0].mlp.up.weight.grad.any()


@both_kinds
def test_initial_weights_have_the_distributions_of_transformers(kind):
    fields = {**SMALL, "vocab_size": 400, "d_model": 64, "init_std": 0.1}
    ours = KINDS[kind].model(KINDS[kind].config(**fields))
    reference = KINDS[kind].their_model(KINDS[kind].their_config(**{**ENCODER, **fields}))
    other = reference.state_dict()
    for name, tensor in ours.state_dict().items():
        there = other[ours.keymap.to_theirs(name).name]
        assert abs(tensor.mean() - there.mean()) < 0.02, name
        assert abs(tensor.std() - there.std()) < 0.02, name
    assert not ours.token_embedding.weight[1].any()


@both_kinds
def test_a_step_compiles_as_one_graph(kind):
    model = fresh(kind, {**SMALL, "decoder_layerdrop": 0.1})
    ids, states = inputs(model)
    with torch.no_grad():
        memory = memory_of(model, states)

    def step(cache, slots, tokens, extent):
        return model(tokens, Step(slots, mask=causal_mask(slots, extent), extent=extent, memory=memory, cache=cache))

    compiled = torch.compile(step, backend="eager", fullgraph=True)
    with torch.no_grad():
        caches = [SelfCache(model.sizes.layers, len(ids), LENGTH) for _ in range(2)]
        for i in range(2):
            arguments = (torch.tensor([[i]]), ids[:, i : i + 1], i + 1)
            assert_within(compiled(caches[0], *arguments), step(caches[1], *arguments))
    model.train()
    torch.compile(run, backend="eager", fullgraph=True)(model, ids, memory)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": 15}, "must be a multiple of the number of heads"),
        ({"pad_token_id": 23}, r"pad_token_id \(23\) must be below vocab_size \(23\)"),
        ({"decoder_layers": 0}, "decoder_layers must be an int from 1 to"),
        ({"decoder_layerdrop": 1.5}, "decoder_layerdrop must be a number from 0 to 1"),
        ({"activation_function": "no"}, "activation_function must be one of"),
    ],
)
@both_kinds
def test_sizes_that_do_not_fit_are_refused(kind, fields, message):
    with pytest.raises(ConfigError, match=message):
        KINDS[kind].model(KINDS[kind].config(**{**SMALL, **fields}))


def test_each_class_accepts_only_its_own_config():
    with pytest.raises(ConfigError, match="BartForCausalLM is built from a BartConfig, got MBartConfig"):
        BartForCausalLM(MBartConfig(**SMALL))
    with pytest.raises(ConfigError, match="model_type is 'mbart'"):
        BartConfig.from_dict({"model_type": "mbart"})


def test_a_vocabulary_without_padding_token_is_allowed():
    model = BartForCausalLM(BartConfig(**SMALL, pad_token_id=None))
    assert model.token_embedding.padding_idx is None
