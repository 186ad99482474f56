"""Composing two parts: what is loaded, what starts random and is said, and where the token ids come from."""

import json
import shutil
import warnings

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.parity import assert_within
from vedcore import (
    CheckpointError,
    ConfigError,
    PluginNotFound,
    SaveError,
    Step,
    Tokenizer,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from vedcore.config import to_dict
from vedcore.contract.types import causal_mask
from vedcore.model import UntrainedWarning
from vedcore.model.compose import cast
from vedcore.storage.saving import tensors_to_write
from vedcore_plugin_bert import BertConfig
from vedcore_plugin_gpt2 import GPT2Config, GPT2LMHeadModel
from vedcore_plugin_vit import ViTConfig, ViTModel

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

compose = VisionEncoderDecoderModel.from_encoder_decoder_pretrained
VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "image_size": 12, "patch_size": 4,
}  # fmt: skip
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_inner": 41, "n_positions": 20, "vocab_size": 29, **IDS}
BERT = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 41,
    "max_position_embeddings": 20, "vocab_size": 29, **IDS,
}  # fmt: skip
DISTILBERT = {
    "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 41, "max_position_embeddings": 20, "vocab_size": 29, **IDS,
}  # fmt: skip
BART = {
    "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "decoder_attention_heads": 4, "encoder_attention_heads": 4,
    "decoder_ffn_dim": 41, "encoder_ffn_dim": 41, "max_position_embeddings": 20, "vocab_size": 29, **IDS,
    "decoder_start_token_id": 2, "forced_eos_token_id": 2,
}  # fmt: skip
CLASSES = {  # their class, its config, and what the decoder's file lacks beside the bridge: (cross-attention, head)
    "GPT2LMHeadModel": (transformers.GPT2LMHeadModel, transformers.GPT2Config(**GPT2), True, False),
    "GPT2Model": (transformers.GPT2Model, transformers.GPT2Config(**GPT2), True, False),
    "BertForMaskedLM": (transformers.BertForMaskedLM, transformers.BertConfig(**BERT), True, False),
    "BertForPreTraining": (transformers.BertForPreTraining, transformers.BertConfig(**BERT), True, False),
    "BertModel": (transformers.BertModel, transformers.BertConfig(**BERT), True, True),
    "RobertaModel": (transformers.RobertaModel, transformers.RobertaConfig(**BERT), True, True),
    "DistilBertForMaskedLM": (
        transformers.DistilBertForMaskedLM, transformers.DistilBertConfig(**DISTILBERT), True, False,
    ),
    "BartModel": (transformers.BartModel, transformers.BartConfig(**BART), False, False),
    "BartForConditionalGeneration": (
        transformers.BartForConditionalGeneration, transformers.BartConfig(**BART), False, False,
    ),
}  # fmt: skip
ENCODERS = {"ViTModel": transformers.ViTModel, "ViTForImageClassification": transformers.ViTForImageClassification}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder a class, as transformers writes it."""
    root = tmp_path_factory.mktemp("parts")
    torch.manual_seed(3)
    for name, kind in ENCODERS.items():
        kind(transformers.ViTConfig(**VIT)).save_pretrained(root / name)
    for name, (kind, config, _, _) in CLASSES.items():
        kind(config).save_pretrained(root / name)
    return root


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def pair(folders):
    return folders / "ViTModel", folders / "GPT2LMHeadModel"


def copied(folder, to, **config):
    """A copy of ``folder`` whose config.json has these fields; None removes one."""
    shutil.copytree(folder, to)
    data = json.loads((to / "config.json").read_text()) | config
    (to / "config.json").write_text(json.dumps({name: value for name, value in data.items() if value is not None}))
    return to


def write_tokenizer(folder, names=(), **special):
    """A tokenizer of the vocabulary t0 ... t28 whose special tokens are those given."""
    from tokenizers import Tokenizer as Core
    from tokenizers import models

    vocabulary = {f"t{i}": i for i in range(29)} | {name: 29 + i for i, name in enumerate(names)}
    Core(models.WordLevel(vocabulary, unk_token="t5")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    return folder


def values(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_new_tensors_between_two_built_parts_are_listed_as_untrained(folders, pixels):
    encoder, decoder = ViTModel.from_pretrained(folders / "ViTModel"), GPT2LMHeadModel(GPT2Config(**GPT2))
    with pytest.raises(PluginNotFound, match="linaer"):
        compose(encoder_model=encoder, decoder_model=decoder, adapter="linaer")
    assert decoder.cross is None
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    assert model.untrained == sorted(
        n for n, _ in model.named_parameters() if n.startswith(("bridge.", "decoder.cross."))
    )
    with pytest.warns(UntrainedWarning, match="22 tensors"):
        model.generate(pixels, decoder_start_token_id=1, max_new_tokens=1)


def test_buffers_of_a_checkpoint_are_brought_to_the_type_of_its_parameters():
    table = torch.nn.BatchNorm1d(2)
    table.register_buffer("kept", torch.ones(1), persistent=False)
    cast(table, torch.bfloat16)
    types = {name: tensor.dtype for name, tensor in (*table.named_parameters(), *table.named_buffers())}
    low, whole, usual = torch.bfloat16, torch.long, torch.float32
    assert types == {
        "weight": low, "bias": low, "running_mean": low, "running_var": low, "num_batches_tracked": whole, "kept": usual,
    }  # fmt: skip


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", CLASSES)
def test_tensors_in_the_files_are_loaded_and_the_others_are_listed_as_untrained(folders, encoder, decoder):
    model = compose(folders / encoder, folders / decoder, seed=0)
    assert not model.training
    _, _, crosses, heads = CLASSES[decoder]
    names = [name for name, _ in model.named_parameters()]
    starts = ("bridge.", *(("decoder.cross.",) if crosses else ()), *(("decoder.lm_head.",) if heads else ()))
    new = sorted(name for name in names if name.startswith(starts))
    assert model.untrained == new
    files = [load_file(folders / name / "model.safetensors") for name in (encoder, decoder)]
    held = [tensor for file in files for tensor in file.values() if tensor.numel() > 1]
    not_held = disk_names(model, new)
    for name, tensor in written(model).items():
        known = any(tensor.shape == other.shape and torch.equal(tensor, other) for other in held)
        constant = bool((tensor == tensor.flatten()[0]).all())
        assert known != (name in not_held) or constant, name
    assert all(parameter.requires_grad for parameter in model.parameters())


def written(model):
    return {name: tensor.clone() for name, tensor in tensors_to_write(model.sections()).items()}


def disk_names(model, ours):
    """The names on disk of our parameters."""
    parameters = dict(model.named_parameters())
    kept = {name: parameters[name].detach().clone() for name in ours}
    before = written(model)
    with torch.no_grad():
        for name in ours:
            parameters[name].add_(1)
    marked = {name for name, tensor in written(model).items() if not torch.equal(tensor, before[name])}
    with torch.no_grad():
        for name in ours:
            parameters[name].copy_(kept[name])
    return marked


@pytest.mark.parametrize("decoder", ["GPT2LMHeadModel", "BertForMaskedLM", "BartModel"])
def test_a_new_pair_reads_as_theirs_does(folders, decoder, pixels, tmp_path):
    model = compose(folders / "ViTForImageClassification", folders / decoder, seed=0)
    model.save_pretrained(tmp_path)
    theirs = transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path).eval()
    ids = torch.randint(3, 29, (2, 6), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert_within(model(pixels, ids).logits, theirs(pixel_values=pixels, decoder_input_ids=ids).logits)


def test_the_same_seed_gives_the_same_weights_and_torch_keeps_its_state(pair):
    before = torch.get_rng_state()
    first, again, other = compose(*pair, seed=5), compose(*pair, seed=5), compose(*pair, seed=6)
    assert torch.equal(before, torch.get_rng_state())
    assert same(values(first), values(again))
    changed = {name for name, value in values(first).items() if not torch.equal(value, values(other)[name])}
    assert changed == {name for name in first.untrained if name.endswith("weight") and "norm" not in name}
    generator = torch.Generator().manual_seed(9)
    drawn = [values(compose(*pair, seed=generator)) for _ in range(2)]
    assert not same(*drawn)
    assert same(drawn[0], values(compose(*pair, seed=torch.Generator().manual_seed(9))))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(11)
    unseeded = values(compose(*pair))
    assert not same(unseeded, values(compose(*pair)))
    torch.manual_seed(11)
    assert same(unseeded, values(compose(*pair)))
    for seed in ("5", True, 2**64):
        with pytest.raises(ConfigError, match="seed must be"):
            compose(*pair, seed=seed)


def test_new_weights_have_the_distributions_of_transformers():
    sizes = {"hidden_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96}
    encoder = {**sizes, "hidden_size": 64, "image_size": 8, "patch_size": 4}
    decoder = {**sizes, "vocab_size": 300, "max_position_embeddings": 20, "initializer_range": 0.05}
    wide = {"n_embd": 96, "n_layer": 3, "n_head": 4, "vocab_size": 300, "n_positions": 20}
    for kind, config, fields in (
        ("bert", transformers.BertConfig(**decoder, is_decoder=True, add_cross_attention=True), decoder),
        ("gpt2", transformers.GPT2Config(**wide, add_cross_attention=True), wide),
    ):
        torch.manual_seed(0)
        theirs = transformers.VisionEncoderDecoderModel(
            transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
                transformers.ViTConfig(**encoder), config
            )
        )
        reference = theirs.state_dict()
        ours = compose(encoder_config=ViTConfig(**encoder), decoder_config={"model_type": kind, **fields}, seed=0)
        compared = 0
        for name, tensor in written(ours).items():
            if "crossatt" not in name and "enc_to_dec" not in name and "ln_cross" not in name:
                continue
            other = reference[name]
            spread = float(other.std())
            assert abs(float(tensor.std()) - spread) <= 0.1 * spread, name
            assert abs(float(tensor.mean()) - float(other.mean())) <= max(0.1 * spread, 1e-9), name
            compared += 1
        assert compared >= 10


def test_untrained_names_are_saved_and_training_removes_them(pair, pixels, tmp_path):
    model = compose(*pair, seed=0)
    assert len(model.untrained) == 2 * 10 + 2
    model.save_pretrained(tmp_path)
    rule = json.loads((tmp_path / "vedcore.json").read_text())
    assert list(rule) == ["untrained"]
    (tmp_path / "vedcore.json").write_text(json.dumps({**rule, "cut": {"a": 1}}))
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path)
    assert again.untrained == model.untrained
    rounded = VisionEncoderDecoderModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert rounded.untrained == model.untrained == again.double().untrained
    again = again.float().train()
    again.decoder.token_embedding.weight.requires_grad_(False)
    new = [parameter for name, parameter in again.named_parameters() if name in again.untrained]
    optimizer = torch.optim.AdamW(new, lr=1e-3)
    again(pixel_values=pixels, labels=torch.tensor([[3, 4, 2], [5, 6, 2]])).loss.backward()
    with torch.no_grad():  # what one tensor is moved by is its own affair
        again.bridge.projection.bias.grad.zero_()
    optimizer.step()
    bias = again.bridge.projection.bias
    assert again.untrained == ["bridge.projection.bias"]
    with torch.no_grad():
        bias.add_(1)
    assert again.untrained == []
    again.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "vedcore.json").read_text()) == {"cut": {"a": 1}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.eval().generate(pixels, max_new_tokens=2)
    model.save_pretrained(tmp_path / "other")
    again.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other" / "vedcore.json").exists()
    (tmp_path / "vedcore.json").write_text('{"untrained": ["bridge.projection.weight"]}')
    with pytest.raises(ConfigError, match=r"vedcore.json: untrained must be checksums"):
        VisionEncoderDecoderModel.from_pretrained(tmp_path)


def test_one_step_empties_the_list(pair, pixels):
    model = compose(*pair, seed=0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(pixel_values=pixels, labels=torch.tensor([[3, 4, 2], [5, 6, 2]])).loss.backward()
    optimizer.step()
    assert model.untrained == []


def test_generating_with_new_weights_warns_once_a_model(pair, pixels):
    model = compose(*pair, seed=0)
    with pytest.warns(UntrainedWarning, match=r"22 tensors .*bridge.projection.bias.*train the model") as caught:
        model.generate(pixels, max_new_tokens=2)
    assert [warning.filename for warning in caught] == [__file__]
    model.generate(pixels, max_new_tokens=2)
    VisionEncoderDecoderModel(model.config).eval().generate(
        pixels, max_new_tokens=2
    )  # random as a whole, and asked for
    assert VisionEncoderDecoderModel(model.config).untrained == []


def test_a_model_without_values_is_not_untrained_and_not_saved(pair, tmp_path):
    model = compose(*pair, seed=0).to("meta")
    assert model.untrained == []
    with pytest.raises(SaveError, match="no values: it is on the meta device"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_of_configs_is_untrained_as_a_whole():
    given = ViTConfig(**VIT), GPT2Config(**GPT2)
    model = compose(encoder_config=given[0], decoder_config=given[1], seed=0)
    assert model.untrained == sorted(name for name, _ in model.named_parameters() if ".pooler." not in name)
    assert not given[1].add_cross_attention
    assert model.config.decoder.add_cross_attention
    assert same(values(model), values(compose(encoder_config=to_dict(given[0]), decoder_config=given[1], seed=0)))


@pytest.mark.parametrize("decoder", ["GPT2LMHeadModel", "BertForMaskedLM", "DistilBertForMaskedLM"])
def test_with_a_closed_gate_the_language_model_is_unchanged(folders, decoder, pixels, tmp_path):
    model = compose(folders / "ViTModel", folders / decoder, adapter="gated", seed=0)
    ids = torch.randint(3, 29, (2, 6), generator=torch.Generator().manual_seed(2))
    slots = torch.arange(6)[None]
    with torch.no_grad():
        logits = model(pixels, ids).logits
        cross, model.decoder.cross = model.decoder.cross, None
        plain = model.decoder.lm_head(model.decoder(ids, Step(slots=slots, mask=causal_mask(slots, 6), extent=6)))
        model.decoder.cross = cross
    assert torch.equal(logits, plain)
    assert {name.split(".")[1] for name in model.untrained} == {"cross", "projection"}
    model.save_pretrained(tmp_path)
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path)
    assert (again.untrained, again.config.adapter) == (model.untrained, "gated")
    with pytest.raises(ConfigError, match="layers that the adapter 'gated' made"):
        compose(folders / "ViTModel", tmp_path)
    assert same(values(compose(tmp_path, folders / decoder, seed=0).encoder), values(model.encoder))


def test_a_built_part_is_taken_as_it_is_and_given_cross_attention_of_its_own(folders, pixels, tmp_path):
    encoder, decoder = ViTModel(ViTConfig(**VIT)), GPT2LMHeadModel(GPT2Config(**GPT2))
    before = values(decoder)
    model = compose(encoder_model=encoder, decoder_model=decoder, seed=0, dtype=torch.bfloat16)
    assert (model.encoder, model.decoder) == (encoder, decoder)
    assert decoder.config is model.config.decoder
    assert decoder.config.add_cross_attention
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert all(torch.equal(values(decoder)[name], value.bfloat16()) for name, value in before.items())
    assert {name.rpartition(".")[0].split(".")[0] for name in model.untrained} == {"decoder", "bridge"}
    model.save_pretrained(tmp_path)
    assert same(values(VisionEncoderDecoderModel.from_pretrained(tmp_path)), values(model))
    plain = VisionEncoderDecoderModel(
        encoder=ViTModel(ViTConfig(**VIT)), decoder=GPT2LMHeadModel(GPT2Config(**GPT2)).bfloat16()
    )
    assert plain.bridge.projection.weight.dtype == torch.bfloat16
    plain.save_pretrained(tmp_path / "plain")
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path / "plain", dtype=torch.bfloat16)
    assert again.untrained == plain.untrained != []
    with pytest.raises(ConfigError, match=r"encoder is torch.float32 .* decoder torch.bfloat16"):
        compose(folders / "ViTModel", decoder_model=GPT2LMHeadModel(GPT2Config(**GPT2)).bfloat16())


def test_a_file_of_another_type_gives_its_new_tensors_that_type(pair, tmp_path):
    for folder, name in zip(pair, ("encoder", "decoder"), strict=True):
        copied(folder, tmp_path / name)
        tensors = load_file(folder / "model.safetensors")
        save_file({n: t.bfloat16() for n, t in tensors.items()}, tmp_path / name / "model.safetensors")
    model = compose(tmp_path / "encoder", tmp_path / "decoder", seed=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in compose(*pair, dtype=torch.float16).parameters()} == {torch.float16}


def test_the_parts_of_a_whole_checkpoint(pair, tmp_path):
    whole = compose(*pair, seed=0)
    whole.save_pretrained(tmp_path)
    model = compose(tmp_path, tmp_path, seed=1)
    assert model.untrained == ["bridge.projection.bias", "bridge.projection.weight"]
    for name in ("encoder", "decoder"):
        assert same(values(getattr(model, name)), values(getattr(whole, name)))


def test_keywords_set_fields_of_the_parts(pair):
    model = compose(
        *pair, encoder_hidden_dropout_prob=0.25, decoder_resid_pdrop=0.5, decoder_is_decoder=True,
        decoder_add_cross_attention=True, seed=0,
    )  # fmt: skip
    assert (model.config.encoder.hidden_dropout_prob, model.config.decoder.resid_pdrop) == (0.25, 0.5)
    assert model.decoder.blocks[0].dropout == 0.5
    with pytest.raises(TypeError, match="decoder_resid_drop: GPT2Config has no field 'resid_drop'"):
        compose(*pair, decoder_resid_drop=0.5)
    with pytest.raises(TypeError, match="no argument 'output_attentions'"):
        compose(*pair, output_attentions=True)
    with pytest.raises(ConfigError, match=r"GPT2Config\.resid_pdrop must be"):
        compose(*pair, decoder_resid_pdrop=2.0)
    with pytest.raises(ConfigError, match="decoder_add_cross_attention must be true"):
        compose(*pair, decoder_add_cross_attention=False)
    config = GPT2Config(**{**GPT2, "resid_pdrop": 0.75})
    assert compose(*pair, decoder_config=config).config.decoder.resid_pdrop == 0.75


def test_too_much_or_too_little_is_refused(folders, pair, tmp_path):
    built = ViTModel(ViTConfig(**VIT))
    with pytest.raises(ConfigError, match="no encoder: pass a folder"):
        compose(None, pair[1])
    with pytest.raises(ConfigError, match="no decoder: pass a folder"):
        compose(pair[0])
    with pytest.raises(ConfigError, match="encoder_pretrained_model_name_or_path would have no effect"):
        compose(*pair, encoder_model=built)
    with pytest.raises(ConfigError, match="encoder_image_size would have no effect"):
        compose(None, pair[1], encoder_model=built, encoder_image_size=8)
    with pytest.raises(
        ConfigError,
        match="decoder_model is a ViTModel, which is not a decoder of vedcore: it has no sizes, embed, lm_head",
    ):
        compose(pair[0], decoder_model=built)
    with pytest.raises(PluginNotFound, match="no encoder named 'gpt2'"):
        compose(pair[1], pair[1])
    with pytest.raises(PluginNotFound, match="adapter named 'linaer'"):
        compose(*pair, adapter="linaer")
    with pytest.raises(CheckpointError, match="no such folder"):
        compose(tmp_path / "nowhere", pair[1])
    lacking = copied(pair[1], tmp_path / "lacking")
    tensors = load_file(lacking / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if "wte" not in n}, lacking / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing \(transformer.wte.weight\)"):
        compose(pair[0], lacking)
    half = copied(folders / "BertForMaskedLM", tmp_path / "half")
    tensors = load_file(half / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if "transform.dense" not in n}, half / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"2 missing \(cls.predictions.transform.dense.bias"):
        compose(pair[0], half)
    with pytest.raises(CheckpointError, match="of another shape"):
        compose(*pair, decoder_vocab_size=31)


def test_ids_come_from_the_decoder_and_its_tokenizer(folders, pair, tmp_path):
    model = compose(*pair, seed=0)
    found = {name: getattr(model.config, name) for name in IDS}
    assert found == IDS
    assert model.config.decoder_start_token_id == 1
    assert all(getattr(model.generation_config, name) is None for name in IDS)
    assert compose(*pair, decoder_start_token_id=7, pad_token_id=4).config.decoder_start_token_id == 7
    bart = compose(folders / "ViTModel", folders / "BartModel")
    assert (bart.config.decoder_start_token_id, bart.generation_config.forced_eos_token_id) == (2, 2)

    silent = dict.fromkeys(IDS)
    bert = copied(folders / "BertModel", tmp_path / "bert", **silent)
    write_tokenizer(bert, cls_token="t6", sep_token="t7", pad_token="t0")
    assert Tokenizer.from_pretrained(bert).cls_token_id == 6
    config = compose(folders / "ViTModel", bert).config
    assert (config.decoder_start_token_id, config.bos_token_id) == (6, None)
    assert (config.eos_token_id, config.pad_token_id) == (7, 0)
    gpt2 = copied(pair[1], tmp_path / "gpt2", **silent)
    (gpt2 / "generation_config.json").unlink()
    write_tokenizer(gpt2, bos_token="t8", eos_token="t9", pad_token="t9")
    config = compose(pair[0], gpt2).config
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (8, 9, 9)
    nobody = compose(pair[0], decoder_config=GPT2Config(**{**GPT2, "bos_token_id": 50256, "eos_token_id": 50256}))
    assert (nobody.config.decoder_start_token_id, nobody.config.eos_token_id) == (None, None)


def test_ids_that_contradict_each_other_are_refused_with_both_places(pair, tmp_path):
    folder = write_tokenizer(copied(pair[1], tmp_path / "a"), eos_token="t3")
    said = r"a: eos_token_id is 2 in the decoder's config, but 3 in the tokenizer; pass eos_token_id="
    with pytest.raises(ConfigError, match=said):
        compose(pair[0], folder)
    assert compose(pair[0], folder, eos_token_id=3).config.eos_token_id == 3
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [2, 3], "max_length": 7}))
    model = compose(pair[0], folder)
    assert (model.config.eos_token_id, model.generation_config.eos_token_id) == (2, (2, 3))
    assert model.generation_config.max_length == 7
    assert compose(pair[0], folder, eos_token_id=2).generation_config.eos_token_id is None
    path.write_text(json.dumps({"eos_token_id": [2, 3, 99]}))
    with pytest.raises(ConfigError, match=r"eos_token_id is 99 in generation_config.json, but .* has 29 tokens"):
        compose(pair[0], folder)
    path.write_text(json.dumps({"pad_token_id": 5}))
    with pytest.raises(ConfigError, match=r"pad_token_id is 0 in the decoder's config, but 5 in generation_config"):
        compose(pair[0], folder, eos_token_id=2)
    beyond = write_tokenizer(copied(pair[1], tmp_path / "b", pad_token_id=None), ["[PAD]"], pad_token="[PAD]")
    (beyond / "generation_config.json").unlink()
    with pytest.raises(ConfigError, match=r"pad_token_id is 29 in the tokenizer, but the decoder's vocabulary has 29"):
        compose(pair[0], beyond)
    with pytest.raises(ConfigError, match="decoder_start_token_id is 29 in the arguments"):
        compose(*pair, decoder_start_token_id=29)
    with pytest.raises(ConfigError, match="pad_token_id must be an int of at least 0"):
        compose(*pair, pad_token_id="0")


def test_the_flow_of_the_documentation(folders, pixels, tmp_path):
    bert = write_tokenizer(copied(folders / "BertForMaskedLM", tmp_path / "bert"), cls_token="t6", pad_token="t0")
    tokenizer = Tokenizer.from_pretrained(bert)
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(folders / "ViTModel", bert)
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    labels = torch.tensor([[6, 9, 10, 2], [6, 11, 2, -100]])
    loss = model(pixel_values=pixels, labels=labels).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.bridge.parameters())
    model.save_pretrained(tmp_path / "vit-bert")
    model = VisionEncoderDecoderModel.from_pretrained(tmp_path / "vit-bert")
    assert model.config.decoder_start_token_id == 6
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**VIT), BertConfig(**BERT))
    assert VisionEncoderDecoderModel(config=config).untrained == []
