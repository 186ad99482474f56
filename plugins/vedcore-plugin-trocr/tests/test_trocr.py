"""TrOCR decoders against transformers 5.23, live."""

import json
import tempfile
from pathlib import Path

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
from vedcore_plugin_trocr import TrOCRConfig, TrOCRForCausalLM
from vedcore_plugin_trocr.positions import sinusoids
from vedcore_plugin_trocr.testing import config_fields

SMALL = {
    "vocab_size": 23,
    "d_model": 16,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 21,
    "max_position_embeddings": 14,
}
SINUSOIDAL = {  # as trocr-large-printed
    **SMALL,
    "use_learned_position_embeddings": False,
    "layernorm_embedding": False,
    "scale_embedding": True,
    "tie_word_embeddings": False,
    "activation_function": "relu",
}
LENGTH, STATES = 6, 5
widths = st.sampled_from([None, 7, 20])
both_positions = pytest.mark.parametrize("fields", [SMALL, SINUSOIDAL], ids=["learned", "sinusoidal"])


def theirs(fields, seed=0):
    """A random decoder of theirs, built from its config: one with sinusoids that from_pretrained made cannot run."""
    torch.manual_seed(seed)
    reference = transformers.TrOCRForCausalLM(transformers.TrOCRConfig(**fields)).eval()
    perturb(reference, seed)
    return reference


def loaded(fields, seed=0, **options):
    """A random transformers decoder, and ours loaded from its files."""
    reference = theirs(fields, seed)
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        return reference, TrOCRForCausalLM.from_pretrained(folder, **options)


def fresh(fields, seed=0):
    """A random decoder of ours."""
    torch.manual_seed(seed)
    model = TrOCRForCausalLM(TrOCRConfig(**fields)).eval()
    perturb(model, seed)
    return model


def rewritten(folder: Path, change) -> None:
    """Replace model.safetensors by a file with the tensors that ``change`` makes of the old ones."""
    tensors = {name: tensor.clone() for name, tensor in change(load_file(folder / "model.safetensors")).items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def inputs(model, rows=2, avoid=None):
    """Random ids, none of them ``avoid``, and states."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(0, model.sizes.vocab_size, (rows, LENGTH), generator=generator)
    if avoid is not None:
        ids = torch.where(ids == avoid, (avoid + 1) % model.sizes.vocab_size, ids)
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


@given(config_fields(), widths, st.booleans(), st.integers(0, 99))
def test_states_attentions_and_logits_equal_those_of_transformers(fields, width, masked, seed):
    reference, model = loaded({**fields, "cross_attention_hidden_size": width}, seed)
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
        (recorder.all("hidden"), expected.hidden_states),
        (recorder.all("self"), expected.attentions),
        (recorder.all("cross"), expected.cross_attentions),
    ):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            assert_within(a, b)


@given(config_fields(), widths, st.integers(0, 99))
def test_transformers_loads_all_that_we_save(fields, width, seed):
    fields = {**fields, "cross_attention_hidden_size": width}
    model = fresh(fields, seed)
    ids, states = inputs(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again, info = transformers.TrOCRForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    reference = theirs(again.config.to_dict())
    reference.load_state_dict(again.state_dict())
    with torch.no_grad():
        expected = reference(ids, encoder_hidden_states=states).logits
        assert_within(model.lm_head(run(model, ids, memory_of(model, states))), expected)


@given(config_fields(), widths)
def test_files_have_the_names_of_transformers(fields, width):
    reference, model = loaded({**fields, "cross_attention_hidden_size": width})
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(Path(folder) / "theirs")
        model.save_pretrained(Path(folder) / "ours")
        ours, other = (load_file(Path(folder) / who / "model.safetensors") for who in ("ours", "theirs"))
    assert ours.keys() == other.keys()
    assert all(torch.equal(ours[name], other[name]) for name in ours)


@given(config_fields(), widths)
def test_a_config_round_trips_through_dict_json_and_transformers(fields, width):
    more = {"cross_attention_hidden_size": width, "dropout": 0.25, "decoder_layerdrop": 0.5, "use_cache": False}
    config = TrOCRConfig.from_dict({**fields, **more})
    assert TrOCRConfig.from_dict(config.to_dict()) == config
    assert TrOCRConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    back = TrOCRConfig.from_dict(transformers.TrOCRConfig.from_dict(config.to_dict()).to_dict())
    assert fields_of(back) == fields_of(config)
    assert back.extra["use_cache"] is False


def test_the_defaults_are_those_of_transformers():
    assert fields_of(TrOCRConfig.from_dict(transformers.TrOCRConfig().to_dict())) == TrOCRConfig().to_dict()


def test_cross_attention_reads_states_of_cross_attention_hidden_size():
    model = fresh({**SMALL, "cross_attention_hidden_size": 7})
    assert (model.sizes.hidden_size, model.sizes.memory_size) == (16, 7)
    assert model.cross[1].attention.key.weight.shape == (16, 7)
    assert fresh(SMALL).sizes.memory_size == 16


def test_the_old_name_of_cross_attention_hidden_size_is_read():
    config = TrOCRConfig.from_dict({**SMALL, "encoder_hidden_size": 7})
    assert config.memory_size == 7
    assert "encoder_hidden_size" not in config.to_dict()
    both = {"encoder_hidden_size": 7, "cross_attention_hidden_size": 8}
    assert TrOCRConfig.from_dict({**SMALL, **both}).memory_size == 8
    assert TrOCRConfig.from_dict({**SMALL, "encoder_hidden_size": None}).memory_size == 16


def test_the_buffers_of_old_sinusoids_are_dropped(tmp_path):
    reference, model = loaded(SINUSOIDAL)
    assert not [name for name in model.state_dict() if name.startswith("positions")]
    reference.save_pretrained(tmp_path)
    left = {"_float_tensor": torch.ones(1), "weights": torch.ones(16, 16)}
    rewritten(tmp_path, lambda old: {**old, **{f"model.decoder.embed_positions.{k}": v for k, v in left.items()}})
    again = TrOCRForCausalLM.from_pretrained(tmp_path)
    ids, states = inputs(model)
    with torch.no_grad():
        assert torch.equal(run(again, ids, memory_of(again, states)), run(model, ids, memory_of(model, states)))


def test_learned_positions_in_a_file_for_sinusoids_are_refused(tmp_path):
    theirs({**SINUSOIDAL, "use_learned_position_embeddings": True}).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "use_learned_position_embeddings": False}))
    with pytest.raises(CheckpointError, match=r"1 unexpected \(model.decoder.embed_positions.weight\)"):
        TrOCRForCausalLM.from_pretrained(tmp_path)


@given(st.integers(1, 40), st.integers(4, 33), st.integers(0, 5))
def test_sinusoids_equal_those_of_transformers(count, width, pad):
    built = transformers.models.trocr.modeling_trocr.TrOCRSinusoidalPositionalEmbedding(count + pad + 1, width, pad)
    model = fresh({**SINUSOIDAL, "d_model": 2 * width, "max_position_embeddings": count, "pad_token_id": pad})
    assert torch.equal(sinusoids(count + pad + 1, width)[pad + 1 :], built.weights[pad + 1 :])
    assert model.positions.table.shape == (count + pad + 1, 2 * width)
    assert not model.positions.table[pad].any()


@pytest.mark.parametrize("pad", [0, 1, 3])
def test_learned_positions_count_padding_and_sinusoids_do_not(pad):
    """Also with a cache: there a cached token counts by its slot, with padding or without."""
    for fields in (SMALL, SINUSOIDAL):
        reference, model = loaded({**fields, "pad_token_id": pad})
        ids, states = inputs(model, avoid=pad)
        ids[0, 1:3] = ids[1, 0] = pad
        memory = memory_of(model, states)
        cache = SelfCache(model.sizes.layers, len(ids), LENGTH)
        with torch.no_grad():
            whole = reference(ids, encoder_hidden_states=states, use_cache=False).logits
            assert_within(model.lm_head(run(model, ids, memory)), whole)
            past = None
            for i in range(LENGTH):
                expected = reference(
                    ids[:, i : i + 1], encoder_hidden_states=states, past_key_values=past, use_cache=True
                )
                past = expected.past_key_values
                hidden = run(model, ids[:, i : i + 1], memory, cache=cache, start=i)
                assert_within(model.lm_head(hidden), expected.logits)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_each_published_variant_loads(tmp_path, scaled, normed, tied):
    variant = {"scale_embedding": scaled, "layernorm_embedding": normed, "tie_word_embeddings": tied}
    reference = theirs({**SMALL, **variant})
    reference.save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert ("output_projection.weight" in names) is not tied
    assert ("model.decoder.layernorm_embedding.weight" in names) is normed
    model = TrOCRForCausalLM.from_pretrained(tmp_path)
    assert (model.lm_head.weight is model.token_embedding.weight) is tied
    ids, states = inputs(model)
    with torch.no_grad():
        expected = reference(ids, encoder_hidden_states=states).logits
        assert_within(model.lm_head(run(model, ids, memory_of(model, states))), expected)


def test_an_untied_file_without_its_head_is_refused(tmp_path):
    theirs(SINUSOIDAL).save_pretrained(tmp_path)
    rewritten(tmp_path, lambda old: {k: v for k, v in old.items() if k != "output_projection.weight"})
    with pytest.raises(CheckpointError, match=r"1 missing \(output_projection.weight\)"):
        TrOCRForCausalLM.from_pretrained(tmp_path)


def test_a_file_with_the_tied_table_under_both_names_or_only_as_head_loads(tmp_path):
    reference = theirs(SMALL)
    table = reference.output_projection.weight
    for names in (("output_projection.weight",), ("output_projection.weight", "model.decoder.embed_tokens.weight")):
        reference.save_pretrained(tmp_path)
        rewritten(
            tmp_path,
            lambda old, names=names: (
                {k: v for k, v in old.items() if "embed_tokens" not in k} | dict.fromkeys(names, table.detach())
            ),
        )
        model = TrOCRForCausalLM.from_pretrained(tmp_path)
        assert torch.equal(model.lm_head.weight, table)
        assert model.lm_head.weight is model.token_embedding.weight


def test_a_file_without_the_outer_prefix_loads(tmp_path):
    reference = theirs(SMALL)
    reference.save_pretrained(tmp_path)
    rewritten(tmp_path, lambda old: {name.removeprefix("model."): tensor for name, tensor in old.items()})
    assert torch.equal(TrOCRForCausalLM.from_pretrained(tmp_path).lm_head.weight, reference.output_projection.weight)


@both_positions
def test_weights_load_in_bfloat16_and_compute_in_it(fields):
    reference, model = loaded(fields, dtype=torch.bfloat16)
    ids, states = inputs(model)
    for part in (model, model.to(torch.bfloat16)):  # the second converts the sinusoids too
        with torch.no_grad():
            logits = part.lm_head(run(part, ids, memory_of(part, states.bfloat16())))
            expected = reference(ids, encoder_hidden_states=states).logits
        assert logits.dtype == torch.bfloat16
        assert_within(logits.float(), expected, 0.1)


@given(config_fields(), st.integers(1, LENGTH), st.integers(0, 99))
def test_cached_decoding_equals_uncached(fields, prefix, seed):
    model = fresh(fields, seed)
    ids, states = inputs(model, avoid=fields["pad_token_id"])
    with torch.no_grad():
        memory = memory_of(model, states)
        cache = SelfCache(model.sizes.layers, len(ids), LENGTH)
        pieces = [run(model, ids[:, :prefix], memory, cache=cache)]
        pieces += [run(model, ids[:, i : i + 1], memory, cache=cache, start=i) for i in range(prefix, LENGTH)]
        assert_within(torch.cat(pieces, dim=1), run(model, ids, memory))


@given(config_fields(), st.integers(1, LENGTH - 1))
def test_a_state_does_not_depend_on_later_tokens(fields, cut):
    model = fresh(fields)
    ids, states = inputs(model)
    other = ids.clone()
    other[:, cut:] = (other[:, cut:] + 1) % model.sizes.vocab_size
    with torch.no_grad():
        memory = memory_of(model, states)
        a, b = run(model, ids, memory), run(model, other, memory)
    assert_within(a[:, :cut], b[:, :cut])
    assert not torch.equal(a[:, cut:], b[:, cut:])


@given(config_fields(), widths, st.integers(1, 3))
def test_rows_that_share_an_image_equal_rows_with_repeated_images(fields, width, beams):
    model = fresh({**fields, "cross_attention_hidden_size": width})
    ids, _ = inputs(model, rows=2 * beams)
    _, states = inputs(model)
    chosen = torch.arange(2 * beams).flip(0) // beams
    with torch.no_grad():
        repeated = run(model, ids, memory_of(model, states.repeat_interleave(beams, dim=0)))
        assert_within(run(model, ids, memory_of(model, states)), repeated)
        explicit = run(model, ids, memory_of(model, states, rows=chosen))
        assert_within(explicit, run(model, ids, memory_of(model, states[chosen])))


@both_positions
def test_the_positions_of_a_step_take_precedence_and_have_the_same_offset(fields):
    model = fresh(fields)
    ids, states = inputs(model, avoid=1)
    padded = ids.clone()
    padded[:, 2] = 1
    with torch.no_grad():
        memory = memory_of(model, states)
        counted = torch.arange(LENGTH)[None]
        plain = run(model, ids, memory)
        assert torch.equal(plain, run(model, ids, memory, positions=counted.expand(2, -1)))
        assert not torch.equal(plain, run(model, ids, memory, positions=counted + 1))
        where = [model.positions(x, Step(slots=counted, positions=counted)) for x in (ids, padded)]
    assert torch.equal(*where)


@both_positions
def test_every_position_up_to_max_positions_has_a_row(fields):
    model = fresh(fields)
    assert model.sizes.max_positions == SMALL["max_position_embeddings"]
    ids = torch.zeros(1, model.sizes.max_positions, dtype=torch.long)
    assert run(model, ids).shape == (1, model.sizes.max_positions, model.sizes.hidden_size)


@both_positions
def test_given_embeddings_replace_the_scaled_token_embeddings(fields):
    model = fresh({**fields, "scale_embedding": True})
    ids, states = inputs(model, avoid=1)
    with torch.no_grad():
        embeds = model.token_embedding(ids)
        assert_within(embeds, model.token_embedding.weight[ids] * 4.0)
        memory = memory_of(model, states)
        assert torch.equal(run(model, ids, memory, embeds=embeds), run(model, ids, memory))


@both_positions
@pytest.mark.parametrize(
    "rates",
    [{"dropout": 0.3, "attention_dropout": 0.2, "activation_dropout": 0.4}, {"dropout": 0.0, "decoder_layerdrop": 0.5}],
    ids=["dropout", "layerdrop"],
)
def test_dropout_in_training_equals_that_of_transformers(fields, rates):
    reference, model = loaded({**fields, **rates})
    ids, states = inputs(model)
    reference.train(), model.train()
    outcomes = set()
    for seed in range(6):
        torch.manual_seed(seed)
        expected = reference(ids, encoder_hidden_states=states).logits.detach()
        torch.manual_seed(seed)
        logits = model.lm_head(run(model, ids, memory_of(model, states))).detach()
        assert_within(logits, expected)
        outcomes.add(float(logits.sum()))
    assert len(outcomes) > 1
    reference.eval(), model.eval()
    with torch.no_grad():
        expected = reference(ids, encoder_hidden_states=states).logits
        assert_within(model.lm_head(run(model, ids, memory_of(model, states))), expected)


@both_positions
def test_initial_weights_have_the_distributions_of_transformers(fields):
    fields = {**fields, "vocab_size": 400, "d_model": 64, "init_std": 0.1}
    ours = TrOCRForCausalLM(TrOCRConfig(**fields))
    other = transformers.TrOCRForCausalLM(transformers.TrOCRConfig(**fields)).state_dict()
    for name, tensor in ours.state_dict().items():
        there = other[ours.keymap.to_theirs(name).name]
        assert abs(tensor.mean() - there.mean()) < 0.02, name
        assert abs(tensor.std() - there.std()) < 0.02, name
    assert not ours.token_embedding.weight[1].any()


@both_positions
def test_a_step_compiles_as_one_graph(fields):
    model = fresh({**fields, "decoder_layerdrop": 0.1})
    ids, states = inputs(model)
    with torch.no_grad():
        memory = memory_of(model, states)

    def step(cache, slots, tokens, extent):
        mask = causal_mask(slots, extent)
        return model(tokens, Step(slots, mask=mask, extent=extent, memory=memory, cache=cache))

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
        ({"use_learned_position_embeddings": False, "pad_token_id": None}, "need a pad_token_id"),
        ({"cross_attention_hidden_size": 0}, "cross_attention_hidden_size must be an int of at least 1"),
        ({"layernorm_embedding": 1}, "layernorm_embedding must be true or false"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        TrOCRForCausalLM(TrOCRConfig(**{**SMALL, **fields}))
