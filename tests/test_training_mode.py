"""Training mode against transformers 5.23, live: the same random draws in the same order, wherever there are any."""

import tempfile
from pathlib import Path

import pytest
import torch
import transformers

from tests.parity import assert_within, images, theirs
from vedcore import VisionEncoderDecoderModel

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

PLAIN = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 20, "image_size": 12,
    "patch_size": 4, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3,
}  # fmt: skip
WINDOWED = {
    "embed_dim": 8, "depths": [2, 3], "num_heads": [2, 4], "window_size": 2, "image_size": 18, "patch_size": 3,
    "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3, "drop_path_rate": 0.4,
}  # fmt: skip
BERT_LIKE = {
    "vocab_size": 21, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20,
    "max_position_embeddings": 20, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "is_decoder": True, "add_cross_attention": True,
}  # fmt: skip
BART_LIKE = {
    "vocab_size": 21, "d_model": 16, "decoder_layers": 2, "encoder_layers": 2, "decoder_attention_heads": 4,
    "decoder_ffn_dim": 20, "max_position_embeddings": 20, "dropout": 0.2, "attention_dropout": 0.3,
    "activation_dropout": 0.25, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GPT2 = {
    "vocab_size": 21, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 20, "embd_pdrop": 0.1, "attn_pdrop": 0.3,
    "resid_pdrop": 0.2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "add_cross_attention": True,
}  # fmt: skip
ENCODERS = {
    "vit": (transformers.ViTConfig, PLAIN),
    "deit": (transformers.DeiTConfig, PLAIN),
    "beit": (transformers.BeitConfig, {**PLAIN, "drop_path_rate": 0.4, "use_relative_position_bias": True}),
    "swin": (transformers.SwinConfig, WINDOWED),
    "donut-swin": (transformers.DonutSwinConfig, WINDOWED),
}
DECODERS = {
    "gpt2": (transformers.GPT2Config, GPT2),
    "bert": (transformers.BertConfig, BERT_LIKE),
    "roberta": (transformers.RobertaConfig, BERT_LIKE),
    "xlm-roberta": (transformers.XLMRobertaConfig, BERT_LIKE),
    "bart": (transformers.BartConfig, BART_LIKE),
    "mbart": (transformers.MBartConfig, BART_LIKE),
    "trocr": (transformers.TrOCRConfig, BART_LIKE),
}


def both(encoder, decoder, seed=0):
    """Their random model, eager, and ours of the same weights, in train mode."""
    (encoder_class, encoder_fields), (decoder_class, decoder_fields) = encoder, decoder
    reference = theirs(encoder_class(**encoder_fields), decoder_class(**decoder_fields), seed)
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        model = VisionEncoderDecoderModel.from_pretrained(Path(folder))
    reference.set_attn_implementation("eager")
    return reference.train(), model.train()


def passed(model, pixels, ids, seed):
    torch.manual_seed(seed)
    output = model(pixel_values=pixels, decoder_input_ids=ids, use_cache=False)
    return output.encoder_last_hidden_state.detach(), output.logits.detach()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_pair_draws_as_transformers_does(encoder, decoder):
    reference, model = both(ENCODERS[encoder], DECODERS[decoder])
    pixels, ids = images(model, 3), torch.randint(3, 21, (3, 5))
    for ours, expected in zip(passed(model, pixels, ids, 7), passed(reference, pixels, ids, 7), strict=True):
        assert_within(ours, expected)


RATES = {
    "vit": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "deit": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "beit": ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"),
    "swin": ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"),
    "donut-swin": ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"),
    "gpt2": ("embd_pdrop", "attn_pdrop", "resid_pdrop"),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "roberta": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "xlm-roberta": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "bart": ("dropout", "attention_dropout", "activation_dropout", "decoder_layerdrop"),
    "mbart": ("dropout", "attention_dropout", "activation_dropout", "decoder_layerdrop"),
    "trocr": ("dropout", "attention_dropout", "activation_dropout", "decoder_layerdrop"),
}


def with_rates(name, **rates):
    kind, fields = {**ENCODERS, **DECODERS}[name]
    return kind, {**fields, **dict.fromkeys(RATES[name], 0.0), **rates}


@pytest.mark.parametrize(("part", "field"), [(part, field) for part, fields in RATES.items() for field in fields])
def test_a_rate_of_nearly_one_drops_what_transformers_drops_and_nothing_where_it_is_zero(part, field):
    parts = {"encoder": "vit", "decoder": "gpt2"} | {"encoder" if part in ENCODERS else "decoder": part}
    quiet = [with_rates(name) for name in parts.values()]
    loud = [with_rates(name, **({field: 0.999} if name == part else {})) for name in parts.values()]
    _, model = both(*quiet)
    pixels, ids = images(model, 2), torch.randint(3, 21, (2, 5))
    states, logits = passed(model.eval(), pixels, ids, 7)
    for ours, whole in zip(passed(model.train(), pixels, ids, 7), (states, logits), strict=True):
        assert torch.equal(ours, whole)
    reference, model = both(*loud)
    dropped = passed(model, pixels, ids, 7)
    for ours, expected in zip(dropped, passed(reference, pixels, ids, 7), strict=True):
        assert_within(ours, expected)
    assert torch.equal(dropped[0], states) == (part in DECODERS)
    assert not torch.equal(dropped[1], logits)
