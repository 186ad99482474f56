"""The PyTorch snippets of the documentation of transformers' vision-encoder-decoder models, each as it stands there.

Their import lines are changed, a local folder stands where a hub id does, a local image where a URL or a data set does. Where
a snippet draws no weights, transformers runs it too, and what both make of it is compared.
"""

import functools

import pytest
import torch
import transformers

from tests.parity import assert_within, perturb
from tests.test_image_processor import photo
from tests.test_pairs import PLAIN, WINDOWED, bert_like, gpt2_like, trocr_like
from tests.test_text_legacy import bert, gpt2, roberta

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

VEDCORE = """
from vedcore import ImageProcessor as ViTImageProcessor
from vedcore import Processor as AutoProcessor
from vedcore import Tokenizer as BertTokenizer
from vedcore import Tokenizer as GPT2TokenizerFast
from vedcore import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore_plugin_bert import BertConfig
from vedcore_plugin_vit import ViTConfig
from PIL import Image
import torch
"""
TRANSFORMERS = """
from transformers import AutoProcessor, BertConfig, BertTokenizer, GPT2TokenizerFast, ViTConfig
from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTImageProcessorPil as ViTImageProcessor
from PIL import Image
import torch
"""


def run(snippet, imports=VEDCORE, **instead):
    """The names that a snippet leaves; ``instead`` stand for imported ones."""
    names = {}
    exec(compile(imports, "imports", "exec"), names)
    names.update(instead)
    exec(compile(snippet, "snippet", "exec"), names)
    return names


# The checkpoints that the snippets name, small: each in a folder of its own.

SMALL = {**PLAIN, "num_channels": 3}


def captioner():
    """A ViT with a GPT-2 that has learned to end."""
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**SMALL),
        transformers.GPT2Config(**gpt2_like(24), vocab_size=420, bos_token_id=0, eos_token_id=0),
        decoder_start_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return transformers.VisionEncoderDecoderModel(config), gpt2


def trocr():
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**SMALL, qkv_bias=False),
        transformers.TrOCRConfig(**trocr_like(24), vocab_size=420, cross_attention_hidden_size=32),
    )
    return transformers.VisionEncoderDecoderModel(config), roberta


def bert_alone():
    fields = {**bert_like(24), "vocab_size": 260, "max_position_embeddings": 40}
    return transformers.BertForMaskedLM(transformers.BertConfig(**fields)), bert


def vit_alone():
    return transformers.ViTModel(transformers.ViTConfig(**SMALL)), None


def swin_alone():
    return transformers.SwinForImageClassification(transformers.SwinConfig(**WINDOWED)), None


CHECKPOINTS = {
    "vit-gpt2-image-captioning": captioner,
    "trocr-base-handwritten": trocr,
    "bert-base-uncased": bert_alone,
    "vit-base-patch16-224-in21k": vit_alone,
    "swin-base-patch4-window7-224-in22k": swin_alone,
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for seed, (name, make) in enumerate(CHECKPOINTS.items()):
        torch.manual_seed(seed)
        model, tokenizer_files = make()
        perturb(model, seed)
        model.save_pretrained(folder / name)
        if tokenizer_files is not None:
            tokenizer_files(folder / name)
        if name != "bert-base-uncased":
            transformers.ViTImageProcessorPil(size={"height": 12, "width": 12}).save_pretrained(folder / name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "trocr-base-handwritten")
    image_processor = transformers.ViTImageProcessorPil.from_pretrained(folder / "trocr-base-handwritten")
    transformers.TrOCRProcessor(image_processor, tokenizer).save_pretrained(folder / "trocr-base-handwritten")
    photo(60, 40).save(folder / "cats.png")
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(checkpoints, monkeypatch):
    monkeypatch.chdir(checkpoints)


# Overview: random weights from configs.

FROM_CONFIGS = """
config_encoder = ViTConfig()
config_decoder = BertConfig()
config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(config_encoder, config_decoder)
model = VisionEncoderDecoderModel(config=config)
"""


def test_a_model_of_the_default_configs_has_the_weights_of_theirs():
    ours = run(FROM_CONFIGS)
    with torch.device("meta"):
        theirs = run(FROM_CONFIGS, TRANSFORMERS)
    sizes = [sum(p.numel() for p in names["model"].parameters()) for names in (ours, theirs)]
    assert sizes[0] == sizes[1]


# Overview: a pretrained encoder and a pretrained decoder. The same as an example of from_encoder_decoder_pretrained.

COMPOSE = """
model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
    "swin-base-patch4-window7-224-in22k", "bert-base-uncased"
)
"""
COMPOSE_AND_SAVE = """
# initialize a vit-bert from a pretrained ViT and a pretrained BERT model. Note that the cross-attention layers will be
# randomly initialized
model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
    "vit-base-patch16-224-in21k", "bert-base-uncased"
)
# saving model after fine-tuning
model.save_pretrained("./vit-bert")
# load fine-tuned model
model = VisionEncoderDecoderModel.from_pretrained("./vit-bert")
"""


def test_two_checkpoints_are_joined_with_the_values_that_they_hold():
    ours, theirs = run(COMPOSE)["model"], run(COMPOSE, TRANSFORMERS)["model"]
    pixels = torch.randn(2, 3, 18, 18, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_within(ours.encode(pixels).states, theirs.encoder(pixels).last_hidden_state)
    new = {name for name in dict(ours.named_parameters()) if name.startswith(("decoder.cross.", "bridge."))}
    assert set(ours.untrained) == new
    assert not ours.training


def test_a_composed_model_is_saved_and_loaded_by_both_libraries():
    ours = run(COMPOSE_AND_SAVE)["model"]
    theirs = transformers.VisionEncoderDecoderModel.from_pretrained("./vit-bert")
    assert ours.untrained
    assert_same_logits(ours, theirs)
    theirs = run(COMPOSE_AND_SAVE, TRANSFORMERS)["model"]
    assert_same_logits(run('model = VisionEncoderDecoderModel.from_pretrained("./vit-bert")')["model"], theirs)


def assert_same_logits(ours, theirs):
    given = {
        "pixel_values": torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)),
        "decoder_input_ids": torch.randint(3, 200, (2, 6), generator=torch.Generator().manual_seed(1)),
    }
    with torch.no_grad():
        assert_within(ours(**given).logits, theirs(**given).logits)


# Overview: inference.

CAPTION = """
# load a fine-tuned image captioning model and corresponding tokenizer and image processor
model = VisionEncoderDecoderModel.from_pretrained("vit-gpt2-image-captioning")
tokenizer = GPT2TokenizerFast.from_pretrained("vit-gpt2-image-captioning")
image_processor = ViTImageProcessor.from_pretrained("vit-gpt2-image-captioning")
# let's perform inference on an image
image = Image.open("cats.png")
pixel_values = image_processor(image, return_tensors="pt").pixel_values
# autoregressively generate caption (uses greedy decoding by default)
generated_ids = model.generate(pixel_values)
generated_text = tokenizer.batch_decode(generated_ids, skip_special_tokens=True)[0]
print(generated_text)
"""


def test_a_caption_is_the_one_that_transformers_writes(capsys):
    ours = run(CAPTION)
    printed = capsys.readouterr().out
    theirs = run(CAPTION, TRANSFORMERS)
    assert capsys.readouterr().out == printed
    assert_within(ours["pixel_values"], theirs["pixel_values"], 1e-6)
    assert ours["generated_ids"].tolist() == theirs["generated_ids"].tolist()
    assert ours["generated_text"] == theirs["generated_text"] != ""
    for strategy in (
        {"num_beams": 4},
        {"do_sample": True, "top_k": 1},
    ):  # "greedy, beam search and multinomial sampling"
        ids = [names["model"].generate(names["pixel_values"], **strategy).tolist() for names in (ours, theirs)]
        assert ids[0] == ids[1]


# Overview: a PyTorch checkpoint taken apart, up to where TensorFlow takes over.

PARTS = """
_model = VisionEncoderDecoderModel.from_pretrained("vit-gpt2-image-captioning")
_model.encoder.save_pretrained("./encoder")
_model.decoder.save_pretrained("./decoder")
"""
TOGETHER = """
model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained("./encoder", "./decoder")
# This is only for copying some specific attributes of this particular model.
model.config = _model.config
"""


def test_the_parts_of_a_model_are_saved_alone_and_composed_again():
    whole = run(PARTS)["_model"]
    encoder = transformers.ViTModel.from_pretrained("./encoder")
    decoder = transformers.GPT2LMHeadModel.from_pretrained("./decoder")
    joined = transformers.VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(joined.enc_to_dec_proj, name).copy_(getattr(whole.bridge.projection, name))
    assert_same_logits(whole, joined.eval())
    model = run(PARTS + TOGETHER)["model"]
    assert set(model.untrained) == {"bridge.projection.weight", "bridge.projection.bias"}
    model.bridge.load_state_dict(whole.bridge.state_dict())
    pixels = torch.randn(2, 3, 12, 12)
    assert torch.equal(model.generate(pixels), whole.generate(pixels))


# Training.

TRAIN = (
    """
image_processor = ViTImageProcessor.from_pretrained("vit-base-patch16-224-in21k")
tokenizer = BertTokenizer.from_pretrained("bert-base-uncased")
""",
    """
model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
    "vit-base-patch16-224-in21k", "bert-base-uncased"
)
""",
    """
model.config.decoder_start_token_id = tokenizer.cls_token_id
model.config.pad_token_id = tokenizer.pad_token_id
image = Image.open("cats.png")
pixel_values = image_processor(image, return_tensors="pt").pixel_values
labels = tokenizer(
    "an image of two cats chilling on a couch",
    return_tensors="pt",
).input_ids
# the forward function automatically creates the correct decoder_input_ids
loss = model(pixel_values=pixel_values, labels=labels).loss
""",
)


def test_the_loss_of_a_first_step_is_that_of_transformers():
    ours = run("".join(TRAIN))
    ours["loss"].backward()
    assert all(p.grad is not None for name, p in ours["model"].named_parameters() if "pooler" not in name)
    ours["model"].save_pretrained("composed")  # its new weights were drawn, so transformers takes them from there
    composed = transformers.VisionEncoderDecoderModel.from_pretrained("composed")
    theirs = run(TRAIN[0] + TRAIN[2], TRANSFORMERS, model=composed)
    assert ours["labels"].tolist() == theirs["labels"].tolist()
    assert_within(ours["pixel_values"], theirs["pixel_values"], 1e-6)
    assert_within(ours["loss"].detach(), theirs["loss"].detach())


# VisionEncoderDecoderConfig.

CONFIG = """
# Initializing a ViT & BERT style configuration
config_encoder = ViTConfig()
config_decoder = BertConfig()
config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(config_encoder, config_decoder)
# Initializing a ViTBert model (with random weights) from a ViT & google-bert/bert-base-uncased style configurations
model = VisionEncoderDecoderModel(config=config)
# Accessing the model configuration
config_encoder = model.config.encoder
config_decoder = model.config.decoder
# set decoder config to causal lm
config_decoder.is_decoder = True
config_decoder.add_cross_attention = True
# Saving the model, including its configuration
model.save_pretrained("my-model")
# loading model and config from pretrained folder
encoder_decoder_config = VisionEncoderDecoderConfig.from_pretrained("my-model")
model = VisionEncoderDecoderModel.from_pretrained("my-model", config=encoder_decoder_config)
"""


def test_a_model_of_configs_is_saved_and_read_by_both():
    def sized(imports):
        names = run("", imports)
        return {
            "ViTConfig": functools.partial(names["ViTConfig"], **SMALL),
            "BertConfig": functools.partial(names["BertConfig"], **bert_like(24)),
        }

    ours = run(CONFIG, **sized(VEDCORE))
    assert ours["model"].config is ours["encoder_decoder_config"]
    assert_same_logits(ours["model"], transformers.VisionEncoderDecoderModel.from_pretrained("my-model").eval())
    theirs = run(CONFIG, TRANSFORMERS, **sized(TRANSFORMERS))
    assert_same_logits(run('model = VisionEncoderDecoderModel.from_pretrained("my-model")')["model"], theirs["model"])


# The example of forward: TrOCR.

TROCR = """
processor = AutoProcessor.from_pretrained("trocr-base-handwritten")
model = VisionEncoderDecoderModel.from_pretrained("trocr-base-handwritten")
# load image from the IAM dataset
image = Image.open("cats.png").convert("RGB")
# training
model.config.decoder_start_token_id = processor.tokenizer.eos_token_id
model.config.pad_token_id = processor.tokenizer.pad_token_id
model.config.vocab_size = model.config.decoder.vocab_size
pixel_values = processor(image, return_tensors="pt").pixel_values
text = "hello world"
labels = processor.tokenizer(text, return_tensors="pt").input_ids
outputs = model(pixel_values=pixel_values, labels=labels)
loss = outputs.loss
# inference (generation)
generated_ids = model.generate(pixel_values)
generated_text = processor.batch_decode(generated_ids, skip_special_tokens=True)[0]
"""


def test_trocr_trains_and_reads_as_in_transformers():
    ours, theirs = run(TROCR), run(TROCR, TRANSFORMERS)
    assert ours["labels"].tolist() == theirs["labels"].tolist()
    assert_within(ours["pixel_values"], theirs["pixel_values"], 1e-6)
    assert_within(ours["loss"].detach(), theirs["loss"].detach())
    assert_within(ours["outputs"].logits.detach(), theirs["outputs"].logits.detach())
    assert ours["generated_ids"].tolist() == theirs["generated_ids"].tolist()
    assert ours["generated_text"] == theirs["generated_text"] != ""
    ours["loss"].backward()
