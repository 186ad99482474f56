"""Every encoder with every decoder: what a pair must do whatever its two plugins are, and the same in transformers 5.23.

transformers builds 20 of the 24 pairs; DistilBERT's reference is a causal BERT whose token types are zero.
"""

import json
import tempfile

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.parity import assert_same_tokens, assert_within, images, perturb
from vedcore import Step, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.contract.types import causal_mask
from vedcore.registry import registry
from vedcore.testing import spec_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WIDTH = 32
"""Of every encoder here; a decoder of another width makes the bridge a linear layer."""
WIDTHS = pytest.mark.parametrize("width", [pytest.param(WIDTH, id="equal"), pytest.param(24, id="unequal")])
VOCABULARY = 29
GREEDY, BEAMS = {"max_new_tokens": 9}, {"max_new_tokens": 9, "num_beams": 4}

PLAIN = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "image_size": 12, "patch_size": 4, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
WINDOWED = {
    "embed_dim": WIDTH // 2, "depths": [2, 1], "num_heads": [2, 4], "window_size": 2, "image_size": 18, "patch_size": 3,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "drop_path_rate": 0.0,
}  # fmt: skip
ENCODERS = {
    "vit": PLAIN,
    "deit": PLAIN,
    "beit": {**PLAIN, "drop_path_rate": 0.0, "use_relative_position_bias": True, "use_mean_pooling": False},
    "swin": WINDOWED,
}


def bert_like(width):
    return {
        "hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 41,
        "max_position_embeddings": 20, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip


def bart_like(width):
    """``encoder_layers`` too, for transformers sizes a decoder's cache by them."""
    return {
        "d_model": width, "decoder_layers": 2, "encoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 41,
        "max_position_embeddings": 20, "dropout": 0.0, "scale_embedding": True,
    }  # fmt: skip


def trocr_like(width):
    return {name: value for name, value in bart_like(width).items() if name != "encoder_layers"}


def gpt2_like(width):
    return {
        "n_embd": width, "n_layer": 2, "n_head": 4, "n_inner": 41, "n_positions": 20,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    }  # fmt: skip


def distilbert_like(width):
    return {
        "dim": width, "n_layers": 2, "n_heads": 4, "hidden_dim": 41, "max_position_embeddings": 20,
        "dropout": 0.0, "attention_dropout": 0.0,
    }  # fmt: skip


DECODERS = {
    "bert": bert_like,
    "roberta": bert_like,
    "distilbert": distilbert_like,
    "gpt2": gpt2_like,
    "bart": bart_like,
    "trocr": trocr_like,
}
SHARED = [name for name in DECODERS if name != "distilbert"]
each_encoder = pytest.mark.parametrize("encoder", ENCODERS)
each_decoder = pytest.mark.parametrize("decoder", DECODERS)


def decoder_fields(decoder, width=WIDTH, **more):
    return {**DECODERS[decoder](width), "vocab_size": VOCABULARY, **IDS, **more}


def composed(encoder, decoder, encoder_fields, fields, *, seed=None, **more):
    """Our random pair in eval mode; with a ``seed`` no weight keeps its first value."""
    config = VisionEncoderDecoderConfig(
        encoder={"model_type": encoder, **encoder_fields},
        decoder={"model_type": decoder, **fields},
        **{"decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **more},
    )
    model = VisionEncoderDecoderModel(config).eval()
    if seed is not None:
        perturb(model, seed)
    return model


def small(encoder, decoder, width=WIDTH, **more):
    return composed(encoder, decoder, ENCODERS[encoder], decoder_fields(decoder, width), **more)


def reloaded(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return VisionEncoderDecoderModel.from_pretrained(folder)


def assert_reads_the_same(model, again, pixels, ids):
    """Bit for bit the same logits, and so the same tokens."""
    ours, others = model.state_dict(), again.state_dict()
    assert ours.keys() == others.keys()
    assert all(torch.equal(ours[name], others[name]) for name in ours)
    with torch.no_grad():
        logits = [m(pixel_values=pixels, decoder_input_ids=ids).logits for m in (model, again)]
    assert torch.equal(*logits)
    for options in ({"max_new_tokens": 6}, {"max_new_tokens": 6, "num_beams": 3}):
        assert torch.equal(model.generate(pixels, **options), again.generate(pixels, **options))


def record_of(name, role):
    return registry().backbone(name, role)


# Ours alone: all 24 pairs.


@each_decoder
@each_encoder
@settings(max_examples=max(3, settings.default.max_examples // 10))
@given(st.data())
def test_any_two_configs_compose_give_a_loss_and_reload_bitwise(encoder, decoder, data):
    encoder_fields = data.draw(spec_of(record_of(encoder, "encoder")).configs)
    fields = data.draw(spec_of(record_of(decoder, "decoder")).configs)
    pad = fields["pad_token_id"] or 0
    model = composed(encoder, decoder, encoder_fields, fields, seed=1, pad_token_id=pad)
    assert hasattr(model.bridge, "projection") == (model.encoder.hidden_size != model.decoder.sizes.memory_size)
    pixels = images(model, 2)
    labels = torch.randint(3, fields["vocab_size"], (2, 5))
    labels[1, 3:] = -100
    output = model(pixel_values=pixels, labels=labels)
    assert output.logits.shape == (2, 5, fields["vocab_size"])
    assert bool(output.logits.isfinite().all())
    assert bool(output.loss.isfinite())
    assert_reads_the_same(model, reloaded(model), pixels, labels.clamp(min=1))


@WIDTHS
@each_decoder
@each_encoder
def test_a_pair_learns_one_batch_within_thirty_steps(encoder, decoder, width):
    model = small(encoder, decoder, width).train()
    pixels, labels = images(model, 3), torch.randint(3, VOCABULARY, (3, 6))
    labels[0, 4:], labels[1:, 5] = -100, 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        output = model(pixel_values=pixels, labels=labels)
        losses.append(float(output.loss.detach()))
        if losses[-1] < losses[0] / 2:
            break
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2, losses
    model.eval()
    assert_reads_the_same(model, reloaded(model), pixels, labels.clamp(min=1))


@pytest.mark.parametrize("prepared", [False, True], ids=["plain", "prepared"])
@pytest.mark.parametrize("options", [GREEDY, BEAMS], ids=["greedy", "beams"])
@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [*zip(ENCODERS, ["gpt2", "bert", "bart", "distilbert"], strict=True), ("vit", "roberta"), ("vit", "trocr")],
)
def test_generated_ids_can_be_changed_and_trained_on(encoder, decoder, options, prepared):
    model = small(encoder, decoder, 24, seed=1)
    if prepared:
        model.prepare()
    pixels = images(model, 4)
    asked = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    options = {**options, "forced_eos_token_id": 2}
    asked |= {"output_attentions": True, "output_hidden_states": True, **options}
    found = model.generate(pixels, **asked)
    assert all(not tensor.is_inference() for tensor in tensors_of(found.to_tuple()))
    for labels in (model.generate(pixels, **options), found.sequences):
        labels[labels == 0] = -100
        model.train()
        output = model(pixel_values=pixels, labels=labels[:, 1:])
        output.loss.backward()
        assert all(p.grad is not None for name, p in model.named_parameters() if "pooler" not in name)
        model.zero_grad()
        model.eval()


def tensors_of(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from tensors_of(item)


# Beside transformers: the 20 pairs that it builds, and Donut's.

TheirEncoders = {
    "vit": transformers.ViTConfig,
    "deit": transformers.DeiTConfig,
    "beit": transformers.BeitConfig,
    "swin": transformers.SwinConfig,
    "donut-swin": transformers.DonutSwinConfig,
}
TheirDecoders = {
    "bert": transformers.BertConfig,
    "roberta": transformers.RobertaConfig,
    "xlm-roberta": transformers.XLMRobertaConfig,
    "gpt2": transformers.GPT2Config,
    "bart": transformers.BartConfig,
    "mbart": transformers.MBartConfig,
    "trocr": transformers.TrOCRConfig,
}


def reference_of(encoder, decoder, encoder_fields, fields, seed=0):
    """Their random pair, in eval mode."""
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        TheirEncoders[encoder](**encoder_fields), TheirDecoders[decoder](**fields)
    )
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 0
    torch.manual_seed(seed)
    model = transformers.VisionEncoderDecoderModel(config).eval()
    perturb(model, seed)
    model.generation_config = transformers.GenerationConfig(decoder_start_token_id=1, eos_token_id=2, pad_token_id=0)
    return model


def loaded_by_them(folder):
    """What transformers makes of a folder that holds every tensor it asks for, and no other.

    Donut's Swin counts among them a table that it computes itself.
    """
    model, info = transformers.VisionEncoderDecoderModel.from_pretrained(folder, output_loading_info=True)
    assert not [name for name in info["missing_keys"] if not name.endswith(".relative_position_index")]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    return model.eval()


def assert_alike(model, reference, count=3):
    """Logits within 1e-5; greedy and beam-4 tokens equal."""
    pixels = images(model, count)
    ids = torch.randint(3, model.decoder.sizes.vocab_size, (count, 6))
    with torch.no_grad():
        ours = model(pixel_values=pixels, decoder_input_ids=ids)
        expected = reference(pixel_values=pixels, decoder_input_ids=ids)
    assert_within(ours.logits, expected.logits)
    assert_within(ours.encoder_last_hidden_state, expected.encoder_last_hidden_state)
    told = {"output_scores": True, "return_dict_in_generate": True}
    greedy = reference.generate(pixels, **GREEDY, **told)

    def apart(row, position):
        best = greedy.scores[position - 1][row].topk(2).values
        return float(best[0] - best[1])

    assert_same_tokens(model.generate(pixels, **GREEDY), greedy.sequences, 2, apart)
    beams = reference.generate(pixels, **BEAMS, **told)
    found = model.generate(pixels, **BEAMS, return_dict_in_generate=True)

    def worth_apart(row, position):
        return abs(worth(reference, pixels, row, found.sequences) - worth(reference, pixels, row, beams.sequences))

    assert_same_tokens(found.sequences, beams.sequences, 2, worth_apart)
    assert_within(found.sequences_scores, beams.sequences_scores)


def worth(reference, pixels, row, sequences):
    """The beam score that the reference gives to a row: its mean log-probability, up to the end token."""
    ids = sequences[row].tolist()
    ids = torch.tensor([ids[: ids.index(2, 1) + 1] if 2 in ids[1:] else ids])
    with torch.no_grad():
        logits = reference(pixel_values=pixels[row : row + 1], decoder_input_ids=ids[:, :-1]).logits
    return float(logits.log_softmax(dim=-1).gather(2, ids[:, 1:, None]).mean())


def assert_each_side_loads_the_other(folder, reference):
    """Theirs saved and loaded by us, ours saved and loaded by them: one model."""
    reference.save_pretrained(folder / "theirs")
    model = VisionEncoderDecoderModel.from_pretrained(folder / "theirs")
    assert_alike(model, reference)
    model.save_pretrained(folder / "ours")
    again = loaded_by_them(folder / "ours")
    theirs, back = reference.state_dict(), again.state_dict()
    assert all(torch.equal(theirs[name], back[name]) for name in theirs | back)
    assert again.generation_config.decoder_start_token_id == 1
    pixels = images(model, 2)
    for options in (GREEDY, BEAMS):
        assert again.generate(pixels, **options).tolist() == reference.generate(pixels, **options).tolist()
    return model


@WIDTHS
@pytest.mark.parametrize("decoder", SHARED)
@each_encoder
def test_each_library_reads_what_the_other_saved(tmp_path, encoder, decoder, width):
    reference = reference_of(encoder, decoder, ENCODERS[encoder], decoder_fields(decoder, width))
    assert hasattr(reference, "enc_to_dec_proj") == (width != WIDTH)
    assert_each_side_loads_the_other(tmp_path, reference)


@pytest.mark.parametrize("decoder", SHARED)
@each_encoder
def test_transformers_reads_a_model_composed_here(tmp_path, encoder, decoder):
    model = small(encoder, decoder, 24, seed=3)
    model.save_pretrained(tmp_path)
    assert_alike(model, loaded_by_them(tmp_path))


@each_encoder
def test_a_trocr_that_reads_the_encoders_width_needs_no_bridge(tmp_path, encoder):
    fields = decoder_fields("trocr", 24, cross_attention_hidden_size=WIDTH, tie_word_embeddings=False)
    reference = reference_of(encoder, "trocr", ENCODERS[encoder], fields)
    model = assert_each_side_loads_the_other(tmp_path, reference)
    assert not list(model.bridge.parameters())


@each_encoder
def test_a_sinusoidal_trocr_equals_theirs_built_from_its_config(tmp_path, encoder):
    """transformers cannot load one: its table of positions stays without storage."""
    fields = decoder_fields(
        "trocr",
        24,
        cross_attention_hidden_size=WIDTH,
        use_learned_position_embeddings=False,
        layernorm_embedding=False,
        tie_word_embeddings=False,
        activation_function="relu",
    )
    reference = reference_of(encoder, "trocr", ENCODERS[encoder], fields)
    reference.save_pretrained(tmp_path / "theirs")
    model = VisionEncoderDecoderModel.from_pretrained(tmp_path / "theirs")
    assert_alike(model, reference)
    model.save_pretrained(tmp_path / "ours")
    ours, theirs = (load_file(tmp_path / side / "model.safetensors") for side in ("ours", "theirs"))
    assert ours.keys() == {name for name in theirs if not name.endswith("_float_tensor")}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_donut_pair(tmp_path):
    fields = {**decoder_fields("bart", WIDTH), "tie_word_embeddings": False}
    reference = reference_of("donut-swin", "mbart", {**WINDOWED, "image_size": [24, 18]}, fields)
    assert_each_side_loads_the_other(tmp_path, reference)


# DistilBERT, which transformers has as an encoder alone.

AS_BERT = (
    ("decoder.distilbert.transformer.layer.", "decoder.bert.encoder.layer."),
    ("decoder.distilbert.", "decoder.bert."),
    (".attention.q_lin.", ".attention.self.query."),
    (".attention.k_lin.", ".attention.self.key."),
    (".attention.v_lin.", ".attention.self.value."),
    (".attention.out_lin.", ".attention.output.dense."),
    (".sa_layer_norm.", ".attention.output.LayerNorm."),
    (".ffn.lin1.", ".intermediate.dense."),
    (".ffn.lin2.", ".output.dense."),
    (".output_layer_norm.", ".output.LayerNorm."),
    ("decoder.vocab_transform.", "decoder.cls.predictions.transform.dense."),
    ("decoder.vocab_layer_norm.", "decoder.cls.predictions.transform.LayerNorm."),
    ("decoder.vocab_projector.", "decoder.cls.predictions."),
)
INSERTED_AS_BERT = (
    ("attention.query.", "self.query."),
    ("attention.key.", "self.key."),
    ("attention.value.", "self.value."),
    ("attention.out.", "output.dense."),
    ("norm.", "output.LayerNorm."),
)


def as_bert(name):
    """A tensor's name in a file with DistilBERT -> its name in one with BERT."""
    if name.startswith("cross_attention."):
        index, rest = name.removeprefix("cross_attention.").split(".", 1)
        for ours, theirs in INSERTED_AS_BERT:
            if rest.startswith(ours):
                return f"decoder.bert.encoder.layer.{index}.crossattention.{theirs}{rest.removeprefix(ours)}"
    if name.startswith("decoder."):
        for ours, theirs in AS_BERT:
            name = name.replace(ours, theirs)
    return name


def bert_of(folder, model, encoder, width):
    """Their causal BERT with the weights of our DistilBERT pair; both are saved in ``folder``."""
    model.save_pretrained(folder / "ours")
    reference = reference_of(encoder, "bert", ENCODERS[encoder], decoder_fields("bert", width))
    reference.save_pretrained(folder / "theirs")
    tensors = {as_bert(name): tensor for name, tensor in load_file(folder / "ours" / "model.safetensors").items()}
    tensors["decoder.bert.embeddings.token_type_embeddings.weight"] = torch.zeros(2, width)
    save_file(tensors, folder / "theirs" / "model.safetensors", {"format": "pt"})
    return loaded_by_them(folder / "theirs")


@WIDTHS
@each_encoder
def test_a_distilbert_pair_equals_a_bert_pair_with_zero_token_types(tmp_path, encoder, width):
    model = small(encoder, "distilbert", width, seed=3)
    reference = bert_of(tmp_path, model, encoder, width)
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["model_type"] == "vedcore"
    assert_refused_by_them(tmp_path / "ours")
    with pytest.raises(ValueError, match=r"(?i)distilbert"):
        transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path / "ours")
    assert_alike(model, reference)


# An adapter that only we have.


def assert_refused_by_them(folder):
    for asked in (transformers.AutoConfig, transformers.AutoModel, transformers.AutoModelForImageTextToText):
        with pytest.raises(ValueError, match="model type `vedcore`"):
            asked.from_pretrained(folder)


@each_decoder
def test_with_a_closed_gate_the_decoder_writes_as_it_did_before(tmp_path, decoder):
    record = record_of(decoder, "decoder")
    plain = record.model(record.config.from_dict(decoder_fields(decoder, 24))).eval()
    perturb(plain, 5)
    ids = torch.randint(3, VOCABULARY, (2, 7))
    slots = torch.arange(7)[None]
    with torch.no_grad():
        alone = plain.lm_head(plain(ids, Step(slots=slots, mask=causal_mask(slots, 7), extent=7)))
    model = small("vit", decoder, 24, adapter="gated")
    here = model.decoder.state_dict()
    model.decoder.load_state_dict({name: tensor for name, tensor in plain.state_dict().items() if name in here}, False)
    pixels = images(model, 2)
    with torch.no_grad():
        assert torch.equal(model(pixel_values=pixels, decoder_input_ids=ids).logits, alone)
        for layer in model.decoder.cross:
            layer.gate.fill_(0.5)
        opened = model(pixel_values=pixels, decoder_input_ids=ids).logits
    assert float((opened - alone).abs().max()) > 1e-4
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["adapter"]) == ("vedcore", "gated")
    assert_refused_by_them(tmp_path)
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path)
    assert again.config.adapter == "gated"
    assert_reads_the_same(model, again, pixels, ids)


@pytest.mark.parametrize("decoder", SHARED)
def test_their_class_called_by_name_does_not_invent_the_layers_of_an_adapter(tmp_path, decoder):
    small("vit", decoder, 24, adapter="gated").save_pretrained(tmp_path)
    with pytest.raises((ValueError, RuntimeError)):
        transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path)


# Padding in an image.


@each_decoder
@pytest.mark.parametrize("encoder", ["vit", "deit", "beit"])
def test_pixels_hidden_by_a_mask_change_no_logit(encoder, decoder):
    model = small(encoder, decoder, 24, seed=3)
    pixels, ids = images(model, 2), torch.randint(3, VOCABULARY, (2, 6))
    mask = torch.ones(2, 12, 12, dtype=torch.bool)
    mask[0, :, 8:] = False
    mask[1, 4:] = False
    other = torch.where(mask[:, None], pixels, 9 * torch.randn_like(pixels))
    with torch.no_grad():
        seen, same, unmasked = (
            model(pixel_values=p, pixel_mask=m, decoder_input_ids=ids).logits
            for p, m in ((pixels, mask), (other, mask), (pixels, None))
        )
    assert torch.equal(seen, same)
    assert float((seen - unmasked).abs().max()) > 1e-4
    for options in (GREEDY, BEAMS):
        assert torch.equal(
            model.generate(pixels, pixel_mask=mask, **options), model.generate(other, pixel_mask=mask, **options)
        )
