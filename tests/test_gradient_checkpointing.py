"""Gradient checkpointing: the same numbers and the same draws, and less that is kept for the backward pass."""

import pytest
import torch

from tests.parity import images
from tests.test_training_mode import DECODERS, ENCODERS, both
from vedcore import ConfigError, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore_plugin_bert import BertConfig
from vedcore_plugin_swin import SwinConfig
from vedcore_plugin_vit import ViTConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

TRACED = (
    "decoder_hidden_states",
    "decoder_attentions",
    "cross_attentions",
    "encoder_hidden_states",
    "encoder_attentions",
)


def learned(model, pixels, labels, **options):
    """A pass and its gradients, with the draws of one seed."""
    model.zero_grad()
    torch.manual_seed(5)
    output = model(pixel_values=pixels, labels=labels, **options)
    output.loss.backward()
    return output, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def kept_bytes(model, **inputs):
    """What the graph of a pass holds, beside the weights: each storage once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen = {}

    def pack(tensor):
        seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(**inputs)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in seen.items() if place not in weights)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    ("encoder", "decoder"), [("vit", "bert"), ("beit", "gpt2"), ("swin", "mbart"), ("deit", "trocr")]
)
def test_gradients_outputs_and_traces_are_the_same(encoder, decoder, traced):
    _, model = both(ENCODERS[encoder], DECODERS[decoder])
    options = {"output_hidden_states": traced, "output_attentions": traced}
    pixels, labels = images(model, 3), torch.tensor([[5, 7, 9, 2], [4, 2, -100, -100], [6, 2, -100, -100]])
    wanted, expected = learned(model, pixels, labels, **options)
    kept = kept_bytes(model, pixel_values=pixels, labels=labels)
    model.gradient_checkpointing_enable()
    found, gradients = learned(model, pixels, labels, **options)
    assert torch.equal(found.logits, wanted.logits)
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)
    for field in TRACED:
        pairs = zip(getattr(found, field) or (), getattr(wanted, field) or (), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), field
    assert (found.cross_attentions is not None) == traced
    model.gradient_checkpointing_disable()
    assert kept_bytes(model, pixel_values=pixels, labels=labels) == kept


def test_each_tensor_is_traced_once_though_it_is_computed_twice():
    _, model = both(ENCODERS["swin"], DECODERS["gpt2"])
    model.gradient_checkpointing_enable()
    seen = []
    states = model.encode(images(model, 2), trace=lambda kind, layer, _: seen.append((kind, layer))).states
    states.sum().backward()
    assert len(seen) == len(set(seen)) == 3 + 2


def test_a_loss_on_what_was_traced_has_the_same_gradient():
    _, model = both(ENCODERS["vit"], DECODERS["bert"])
    pixels, labels = images(model, 1), torch.tensor([[5, 7, 9, 2]])

    def gradient():
        model.zero_grad()
        torch.manual_seed(5)
        output = model(pixel_values=pixels, labels=labels, output_attentions=True)
        (output.loss + output.cross_attentions[0].square().sum()).backward()
        return model.encoder.embeddings.patches.projection.weight.grad

    wanted = gradient().clone()
    model.gradient_checkpointing_enable()
    assert torch.equal(gradient(), wanted)


def test_a_requested_cache_is_written_once():
    _, model = both(ENCODERS["vit"], DECODERS["bert"])
    model.eval().gradient_checkpointing_enable()
    pixels, ids = images(model, 1), torch.tensor([[1, 5, 7]])
    whole = model(pixel_values=pixels, decoder_input_ids=ids).logits
    first = model(pixel_values=pixels, decoder_input_ids=ids[:, :2], use_cache=True)
    second = model(past_key_values=first.past_key_values, decoder_input_ids=ids[:, 2:])
    second.logits.sum().backward()
    assert torch.allclose(second.logits, whole[:, 2:], atol=1e-5)


@pytest.mark.parametrize(
    "encoder",
    [
        ViTConfig(num_hidden_layers=6, image_size=112, hidden_size=192, num_attention_heads=3, intermediate_size=768),
        SwinConfig(embed_dim=48, depths=(2, 2, 6), num_heads=(3, 6, 12), image_size=112),
    ],
    ids=["vit", "swin"],
)
def test_at_most_three_fifths_is_kept(encoder):
    decoder = BertConfig(
        vocab_size=100, hidden_size=192, num_hidden_layers=6, num_attention_heads=3, intermediate_size=768,
        is_decoder=True, add_cross_attention=True,
    )  # fmt: skip
    ids = {"decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=encoder, decoder=decoder, **ids)).train()
    batch = {"pixel_values": images(model, 1), "labels": torch.tensor([[*[7] * 31, 2]])}
    whole = kept_bytes(model, **batch)
    model.gradient_checkpointing_enable()
    assert kept_bytes(model, **batch) <= 0.6 * whole


def test_parts_without_a_loop_of_blocks_are_named():
    _, model = both(ENCODERS["vit"], DECODERS["bert"])
    model.encoder.blocks = model.decoder.blocks = torch.nn.ModuleList()
    with pytest.raises(
        ConfigError, match=r"neither ViTModel nor BertForCausalLM runs its blocks in vedcore\.nn\.Blocks"
    ):
        model.gradient_checkpointing_enable()
