"""Images in, text out: one reading per image, in order, for every type of image and every batch size."""

import io
import json
import shutil
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tests.parity import perturb
from vedcore import (
    CheckpointNotFound,
    ConfigError,
    GenerationConfig,
    ImageError,
    ImageProcessor,
    InputError,
    Processor,
    Reader,
    Reading,
    Tokenizer,
    VedcoreError,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from vedcore.reader import Piece, locate
from vedcore.reader.layout import LineLayout, OpenedImage, Row, RowText, SingleLine, Stretch
from vedcore.reader.polygons import rectangle
from vedcore.reader.words import InkGaps
from vedcore.vision import cut_line
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_swin import SwinConfig

ROOT = Path(__file__).parent
SHIPPED = ROOT.parent / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
LINES = ROOT / "golden/lines"
EXPECTED = json.loads((LINES / "expected.json").read_text())[:6]
PATHS = [LINES / line["file"] for line in EXPECTED]
TEXTS = [line["transformers_greedy_text"] for line in EXPECTED]


@pytest.fixture(scope="module")
def reader():
    return Reader.load("line-reader")


@pytest.fixture(scope="module")
def long_line():
    """Four of the golden lines side by side, with the width of a space between them."""
    lines = [Image.open(path).convert("RGB") for path in PATHS[:4]]
    height = max(line.height for line in lines)
    gap = height // 2
    whole = Image.new("RGB", (sum(line.width for line in lines) + gap * 3, height), "white")
    left = 0
    for line in lines:
        whole.paste(line.resize((line.width, height)), (left, 0))
        left += line.width + gap
    return whole


def texts(readings):
    return [reading.text for reading in readings]


# Readings.


@pytest.mark.parametrize(("orientation", "stored"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90)])
def test_a_photo_is_read_upright(reader, tmp_path, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(PATHS[0]).convert("RGB").transpose(stored).save(tmp_path / "turned.png", exif=exif)
    assert texts(reader.read([tmp_path / "turned.png"])) == TEXTS[:1]


def image_types():
    image = Image.open(PATHS[0]).convert("RGB")
    array = np.asarray(image)
    data = PATHS[0].read_bytes()
    return {
        "path": PATHS[0],
        "text": str(PATHS[0]),
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "PIL": image,
        "array": array,
        "tensor": torch.from_numpy(array.copy()),
    }


@pytest.mark.parametrize("name", image_types())
def test_an_image_of_any_type_is_read_alone_or_in_a_list(reader, name):
    source = image_types()[name]
    (alone,) = reader.read(source)
    (listed,) = reader.read([source])
    assert alone.text == listed.text == TEXTS[0]
    assert alone.source is source


def test_a_reading_has_its_confidence_and_stop_reason(reader):
    (reading,) = reader.read(PATHS[3])
    assert isinstance(reading, Reading)
    assert list(reading.token_ids) == EXPECTED[3]["greedy"][1:]
    assert len(reading.token_logprobs) == len(reading.token_ids)
    assert reading.confidence == pytest.approx(float(np.exp(np.mean(reading.token_logprobs))), abs=1e-6)
    assert (reading.stop_reason, reading.pieces, reading.source) == ("eos", (), PATHS[3])
    (short,) = reader.read(PATHS[0], max_new_tokens=3)
    assert (short.stop_reason, len(short.token_ids)) == ("length", 3)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 6, 16])
def test_readings_are_in_order_and_the_same_at_every_batch_size(reader, batch_size, long_line):
    sources = [*PATHS[:2], long_line, *PATHS[2:]]
    alone = [reader.read(source)[0] for source in sources]
    together = reader.read(sources, batch_size=batch_size)
    assert [(r.text, r.token_ids, r.stop_reason, r.pieces) for r in together] == [
        (r.text, r.token_ids, r.stop_reason, r.pieces) for r in alone
    ]
    assert [r.source for r in together] == sources
    assert [r.confidence for r in together] == pytest.approx([r.confidence for r in alone], abs=1e-5)


def test_images_come_from_any_iterable_and_readings_appear_as_soon_as_possible(reader):
    taken = []

    def sources():
        for path in PATHS[:5]:
            taken.append(path)
            yield path

    readings = reader.each(sources(), batch_size=2)
    assert not taken
    assert next(readings).text == TEXTS[0]
    assert len(taken) == 2
    assert texts(readings) == TEXTS[1:5]
    assert reader.read(tuple(PATHS[:2]))[1].text == TEXTS[1]
    assert reader.read([]) == []


def test_generation_fields_reach_the_model(reader):
    (beams,) = reader.read(PATHS[0], num_beams=4)
    assert list(beams.token_ids) == EXPECTED[0]["beam4"][1:]
    with pytest.raises(TypeError, match="num_beam"):
        reader.read(PATHS[0], num_beam=4)
    with pytest.raises(ConfigError, match="temperature"):
        reader.read(PATHS[0], temperature=0.5)
    with pytest.raises(ConfigError, match="best text of its image"):
        reader.read(PATHS[0], num_beams=2, num_return_sequences=2)


def test_one_text_per_image_is_read_whatever_the_checkpoint_says(reader):
    reader.model.generation_config.num_beams, reader.model.generation_config.num_return_sequences = 2, 2
    try:
        assert texts(reader.read(PATHS[:2])) == TEXTS[:2]
    finally:
        reader.model.generation_config.num_beams = reader.model.generation_config.num_return_sequences = None


def test_the_lines_of_several_images_share_a_batch(reader, long_line, monkeypatch):
    sizes, generate = [], reader.model.generate
    monkeypatch.setattr(
        reader.model, "generate", lambda pixels, **o: sizes.append(len(pixels)) or generate(pixels, **o)
    )
    readings = reader.read([PATHS[0], long_line, PATHS[1]], batch_size=16)
    assert sizes == [sum(max(1, len(reading.pieces)) for reading in readings)]


def test_a_layout_joins_rows_and_combines_their_texts():
    texts = [RowText("a", 0.5, (3, 2), (-0.5, -0.1), "eos"), RowText("b c", 0.9, (4,), (-0.3,), "length")]
    stretches = tuple(Stretch((Row(left, 0, left + 0.5, 1),), InkGaps()) for left in (0, 0.5))
    layout = SingleLine(LineLayout(rectangle((10, 9)), stretches, "|", cut=True))
    assert layout.join(["a"]) == "a"
    whole = layout.combine(texts, OpenedImage("source", (10, 9)))
    assert (whole.text, whole.source, whole.stop_reason) == ("a|b c", "source", "length")
    assert whole.pieces == (Piece((0, 0, 5, 9), "a"), Piece((5, 0, 10, 9), "b c"))
    assert (whole.token_ids, whole.token_logprobs) == ((3, 2, 4), (-0.5, -0.1, -0.3))
    assert whole.confidence == pytest.approx(float(np.exp(-0.3)))
    assert [word.text for word in whole.lines[0].words] == ["a", "b", "c"]


# Long lines.


def test_a_long_line_is_cut_and_its_pieces_are_joined(reader, long_line):
    (reading,) = reader.read(long_line)
    assert len(reading.pieces) > 1
    boxes = [piece.box for piece in cut_line(np.asarray(long_line), reader.cut_rule)]
    assert [piece.box for piece in reading.pieces] == boxes
    assert reading.text == " ".join(piece.text for piece in reading.pieces)
    assert jiwer.cer(" ".join(TEXTS[:4]), reading.text) < 0.2
    assert sum(token == 2 for token in reading.token_ids) == len(boxes)
    assert len(reading.token_logprobs) == len(reading.token_ids)
    assert reading.confidence == pytest.approx(float(np.exp(np.mean(reading.token_logprobs))))
    assert reading.stop_reason == "eos"
    (short,) = reader.read(long_line, max_new_tokens=5)
    assert short.stop_reason == "length"


ADDRESS = "firstname.lastname@department.example.org"


def address_line(size=24):
    font = ImageFont.load_default(size=size)
    image = Image.new("RGB", (round(font.getlength(ADDRESS)) + 20, 2 * size), "white")
    ImageDraw.Draw(image).text((10, size // 3), ADDRESS, font=font, fill="black")
    return image


def test_a_word_without_a_gap_is_read_in_pieces_that_overlap(reader):
    (reading,) = reader.read(address_line())
    assert reading.text == ADDRESS
    assert len(reading.pieces) > 2
    assert sum(len(piece.text) for piece in reading.pieces) > len(ADDRESS)
    assert all(before.box[2] > after.box[0] for before, after in pairwise(reading.pieces))
    (word,) = reading.lines[0].words
    assert word.text == ADDRESS
    assert word.polygon[1][0] - word.polygon[0][0] > 0.9 * (address_line().width - 20)
    assert sum(token == 2 for token in reading.token_ids) == len(reading.pieces)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_the_streamed_text_of_pieces_that_overlap_is_that_of_the_reading(reader, batch_size):
    assert joined(reader.stream(address_line(), batch_size=batch_size)) == {0: ADDRESS}


def test_margins_and_a_box_change_no_text(reader):
    line = Image.open(PATHS[1]).convert("RGB")
    wide = ImageOps.expand(line, 150, fill=line.getpixel((1, 1)))
    boxed = line.copy()
    boxed = ImageOps.expand(boxed, 12, fill=line.getpixel((1, 1)))
    ImageDraw.Draw(boxed).rectangle((3, 3, boxed.width - 4, boxed.height - 4), outline=0, width=2)
    assert texts(reader.read([wide, boxed])) == [TEXTS[1]] * 2


def test_a_long_line_is_read_whole_without_cut(reader, long_line):
    (whole,) = reader.read(long_line, cut=False)
    assert whole.pieces == ()
    assert whole.token_ids.count(2) <= 1


def test_the_separator_comes_from_the_rule(tmp_path, long_line):
    folder = tmp_path / "reader"
    shutil.copytree(SHIPPED, folder)
    rule = json.loads((folder / "vedcore.json").read_text())
    rule["cut"]["separator"] = "|"
    (folder / "vedcore.json").write_text(json.dumps(rule))
    (reading,) = Reader.load(folder).read(long_line)
    assert reading.text == "|".join(piece.text for piece in reading.pieces)
    assert "|" in reading.text


@pytest.mark.parametrize("content", [None, {}, {"cut": None}, {"untrained": {}}])
def test_a_checkpoint_without_a_rule_never_cuts(tmp_path, long_line, content):
    folder = tmp_path / "reader"
    shutil.copytree(SHIPPED, folder)
    (folder / "vedcore.json").unlink()
    if content is not None:
        (folder / "vedcore.json").write_text(json.dumps(content))
    reader = Reader.load(folder)
    assert reader.cut_rule is None
    assert reader.read(long_line)[0].pieces == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cut": 5}, "cut must be an object with above, longest, separator, shortest, got 5"),
        ({"cut": {"above": 8.0, "below": 1}}, "cut must be an object"),
        ({"cut": {"above": "wide"}}, "above"),
        ({"cut": {"longest": -1.0}}, "longest"),
        ({"cut": {"separator": 3}}, "separator"),
        ([], "expected a JSON object"),
    ],
)
def test_a_bad_cut_rule_is_refused_with_its_file(tmp_path, content, message):
    folder = tmp_path / "reader"
    shutil.copytree(SHIPPED, folder)
    (folder / "vedcore.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=rf"vedcore\.json.*{message}") as caught:
        Reader.load(folder)
    assert caught.value.file in (None, str(folder / "vedcore.json"))


# Images of a size that the encoder does not accept.


def with_size(reader, height, width):
    fields = {**reader.processor.image_processor.to_dict(), "size": {"height": height, "width": width}}
    return Reader(reader.model, Processor(ImageProcessor.from_dict(fields), reader.processor.tokenizer))


@pytest.mark.parametrize("call", ["read", "each", "stream"])
def test_a_size_that_the_encoder_does_not_accept_is_refused_before_any_image_is_processed(reader, call, monkeypatch):
    wrong = with_size(reader, 8000, 8000)
    monkeypatch.setattr(ImageProcessor, "__call__", lambda *_, **__: pytest.fail("an image was processed"))
    message = r"makes images of 8000 x 8000 pixels, but the encoder is made for 32 x 256 .*preprocessor_config\.json"
    with pytest.raises(ConfigError, match=message) as caught:
        list(getattr(wrong, call)(PATHS[:1]))
    assert (caught.value.field, caught.value.expected, caught.value.found) == ("size", (32, 256), (8000, 8000))


def test_another_size_is_read_if_the_encoder_accepts_it(monkeypatch):
    other = with_size(Reader.load("line-reader", prepare=False), 32, 128)
    embed = type(other.model.encoder.embeddings).forward
    monkeypatch.setattr(
        type(other.model.encoder.embeddings),
        "forward",
        lambda self, pixels, *tokens, **_: embed(self, pixels, *tokens, interpolate_pos_encoding=True),
    )
    assert len(other.read(PATHS[:1])) == 1


def test_an_encoder_that_cannot_run_without_weights_refuses_the_first_image(reader, monkeypatch):
    other = with_size(reader, 32, 128)
    with monkeypatch.context() as patch:
        patch.setattr("copy.deepcopy", lambda *_: 1 / 0)
        with pytest.raises(InputError, match="expected images of 32 x 256 pixels"):
            other.read(PATHS[:1])


def of_any_size(reader):
    """A reader whose encoder accepts every size and whose image processor makes several sizes."""
    torch.manual_seed(0)
    encoder = SwinConfig(embed_dim=8, depths=(1,), num_heads=(2,), window_size=2, image_size=32, patch_size=4)
    decoder = GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=len(reader.processor.tokenizer))
    ids = {"decoder_start_token_id": 1, "pad_token_id": 0, "eos_token_id": 2}
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=encoder, decoder=decoder, **ids)).eval()
    perturb(model, 0)
    model.generation_config = GenerationConfig(max_new_tokens=6, **ids)
    return Reader(model, Processor(ImageProcessor(size={"shortest_edge": 32}), reader.processor.tokenizer))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_images_of_several_processed_sizes_are_read_in_order_at_every_batch_size(reader, batch_size):
    several = of_any_size(reader)
    images = [noise_of_width(width) for width in (64, 64, 96, 64, 32, 32, 32)]
    alone = [several.read(image)[0] for image in images]
    assert len({reading.token_ids for reading in alone}) > 1
    readings = several.read(images, batch_size=batch_size)
    assert [reading.token_ids for reading in readings] == [reading.token_ids for reading in alone]
    streamed = joined(several.stream(images, batch_size=batch_size))
    assert [streamed.get(index, "") for index in range(len(images))] == texts(alone)


def noise_of_width(width):
    return np.random.default_rng(width).integers(0, 256, (32, width, 3), np.uint8)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_the_pieces_of_a_cut_line_may_have_several_processed_sizes(reader, long_line, batch_size):
    several = of_any_size(reader)
    several.cut_rule = reader.cut_rule
    (reading,) = several.read(long_line, batch_size=batch_size)
    pieces = [Image.fromarray(np.asarray(long_line)).crop(piece.box) for piece in reading.pieces]
    assert len({piece.size for piece in pieces}) > 1
    assert [piece.text for piece in reading.pieces] == texts(several.read(pieces, cut=False))
    assert joined(several.stream(long_line, batch_size=batch_size)) == {0: reading.text}


# Bad names and numbers.


@pytest.mark.parametrize(
    "name", ["x" * 300, "x" * 5000, "x" * 300 + "/y", "owner/" + "x" * 300, Path("x" * 300), "", None, 3]
)
def test_a_name_that_no_checkpoint_can_have_is_not_found(name):
    with pytest.raises(CheckpointNotFound) as error:
        Reader.load(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("batch_size", ["x", 1.5, None, 0, -1])
def test_a_batch_size_is_a_positive_int(reader, batch_size):
    with pytest.raises(ConfigError, match=f"batch_size must be an int of at least 1, got {batch_size!r}"):
        reader.read(PATHS[:1], batch_size=batch_size)


# Streaming.


def joined(fragments):
    """The joined fragments of each image, by its index."""
    streamed = {}
    for fragment in fragments:
        assert fragment.text
        streamed[fragment.index] = streamed.get(fragment.index, "") + fragment.text
    return streamed


@pytest.mark.parametrize("options", [{}, {"num_beams": 4}, {"max_new_tokens": 3}], ids=["greedy", "beams", "short"])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_fragments_joined_are_the_texts_of_read(reader, long_line, batch_size, options):
    sources = [*PATHS[:2], long_line, *PATHS[2:4]]
    streamed = joined(reader.stream(sources, batch_size=batch_size, **options))
    assert [streamed[index] for index in range(5)] == texts(reader.read(sources, batch_size=batch_size, **options))


def test_a_fragment_names_its_image(reader):
    fragments = list(reader.stream(PATHS[:2]))
    assert len(fragments) > 10
    assert {(fragment.index, fragment.source) for fragment in fragments} == set(enumerate(PATHS[:2]))
    assert [f.index for f in fragments[:2]] == [0, 1]  # the images of a batch alternate


def test_fragments_appear_before_the_next_image_is_opened(reader):
    taken = []

    def sources():
        for path in PATHS[:3]:
            taken.append(path)
            yield path

    stream = reader.stream(sources(), batch_size=1)
    assert not taken
    assert TEXTS[0].startswith(next(stream).text)
    assert len(taken) == 1


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_the_pieces_of_a_long_line_come_in_order(reader, long_line, batch_size):
    (reading,) = reader.read(long_line)
    streamed = ""
    for fragment in reader.stream(long_line, batch_size=batch_size):
        streamed += fragment.text
        assert reading.text.startswith(streamed)
    assert streamed == reading.text
    assert joined(reader.stream(long_line, cut=False)) == {0: reader.read(long_line, cut=False)[0].text}


def test_a_stream_refuses_what_read_refuses(reader):
    for options, error, message in (
        ({"num_beam": 4}, TypeError, "num_beam"),
        ({"temperature": 0.5}, ConfigError, "temperature"),
        ({"num_return_sequences": 2, "num_beams": 2}, ConfigError, "best text of its image"),
        ({"batch_size": 0}, ConfigError, "batch_size must be an int of at least 1"),
    ):
        with pytest.raises(error, match=message):
            next(reader.stream(PATHS[:1], **options))
    stream = reader.stream([PATHS[0], "no-such.png"], batch_size=1)
    assert TEXTS[0].startswith(next(stream).text)
    with pytest.raises(ImageError, match=r"no-such\.png: no such file"):
        list(stream)
    assert list(reader.stream([])) == []


# Preparation.


def test_a_loaded_reader_is_prepared_and_a_model_of_the_caller_is_left_as_it_is(reader):
    model = VisionEncoderDecoderModel.from_pretrained(SHIPPED)
    given = Reader(model, reader.processor, reader.cut_rule)
    unprepared = Reader.load("line-reader", prepare=False)
    readings = reader.read(PATHS)
    for other in (given, unprepared):
        assert [reading.token_ids for reading in other.read(PATHS)] == [reading.token_ids for reading in readings]
        assert other.model.inference_form is None
    assert Reader.load(SHIPPED).model.inference_form is not None


# Images that cannot be read.


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("bad", ["no-such.png", b"not an image", b"", 5, None], ids=repr)
def test_the_error_of_a_bad_image_takes_its_place_and_affects_no_other(reader, bad, batch_size):
    sources = [PATHS[0], bad, PATHS[1], PATHS[2]]
    results = list(reader.each(sources, batch_size=batch_size))
    assert isinstance(results[1], ImageError)
    assert "\n" not in str(results[1])
    assert texts([results[0], *results[2:]]) == TEXTS[:3]


def test_read_raises_at_a_bad_image(reader):
    with pytest.raises(ImageError, match=r"no-such\.png: no such file"):
        reader.read([PATHS[0], "no-such.png", PATHS[1]])
    assert reader.read(PATHS[0])[0].text == TEXTS[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (1000, 1), (1, 1000), (4000, 20)])
def test_extreme_shapes_are_read_or_refused(reader, size):
    (result,) = reader.each(Image.new("RGB", size, "white"))
    assert isinstance(result, Reading | ImageError)


# Which checkpoint.


def test_a_reader_is_loaded_by_name_or_by_folder(reader):
    assert locate("line-reader") == SHIPPED
    assert locate(SHIPPED) == locate(str(SHIPPED)) == SHIPPED
    loaded = Reader.load(SHIPPED, dtype=torch.bfloat16, device="cpu")
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.cut_rule == reader.cut_rule
    assert loaded.read(PATHS[0])[0].text == TEXTS[0]


@pytest.mark.parametrize("name", ["no-such", "./no-such", "/no/such/folder", "~/no-such/x", "a/b/c", Path("a/b")])
def test_an_error_for_an_unknown_name_lists_the_shipped_checkpoints(name):
    with pytest.raises(CheckpointNotFound, match=r"no such folder.*shipped: line-reader") as caught:
        Reader.load(name)
    assert caught.value.file == str(name)


def test_a_name_with_an_owner_is_resolved_on_the_hub(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "vedcore.reader.checkpoint_folder.resolve", lambda name, **options: calls.append((name, options)) or SHIPPED
    )
    assert locate("owner/name", revision="abc", allow_pickle=True) == SHIPPED
    assert calls == [("owner/name", {"revision": "abc", "allow_pickle": True})]


def test_a_backbone_is_not_a_checkpoint():
    with pytest.raises(VedcoreError, match="no checkpoint named 'vit'"):
        Reader.load("vit")


# The processor.


def test_a_processor_turns_images_into_pixels_and_texts_into_ids_or_labels(reader):
    processor = reader.processor
    pixels = processor(PATHS[:2]).pixel_values
    assert pixels.shape == (2, 3, 32, 256)
    assert torch.equal(processor(images=Image.open(PATHS[0])).pixel_values, pixels[:1])
    ids = processor(text="as inter-cluster").input_ids
    expected = processor.tokenizer("as inter-cluster", return_tensors="pt").input_ids
    assert torch.equal(ids, expected)
    batch = processor(PATHS[0], "as inter-cluster")
    assert torch.equal(batch.labels, expected)
    assert torch.equal(batch["pixel_values"], pixels[:1])
    assert "input_ids" not in batch
    arrays = processor(PATHS[0], "a", return_tensors="np")
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    assert processor.batch_decode(ids, skip_special_tokens=True) == ["as inter-cluster"]
    assert processor.decode(ids[0], skip_special_tokens=True) == "as inter-cluster"
    padded = processor(text=["a", "bcd"], padding=True).input_ids
    assert padded.shape[0] == 2


def test_a_batch_names_its_contents_and_moves_between_devices(reader):
    batch = reader.processor(PATHS[0])
    with pytest.raises(AttributeError, match="no 'labels' here; this batch holds pixel_values"):
        _ = batch.labels
    with pytest.raises(AttributeError, match="holds nothing"):
        _ = type(batch)().labels
    batch["source"] = "x"
    moved = batch.to("meta")
    assert (moved.pixel_values.device.type, moved.source) == ("meta", "x")
    assert batch.pixel_values.device.type == "cpu"


def test_a_processor_is_saved_and_loaded_again(reader, tmp_path):
    reader.processor.save_pretrained(tmp_path / "p")
    again = Processor.from_pretrained(tmp_path / "p")
    assert isinstance(again.image_processor, ImageProcessor)
    assert isinstance(again.tokenizer, Tokenizer)
    assert torch.equal(again(PATHS[0]).pixel_values, reader.processor(PATHS[0]).pixel_values)
    assert again.tokenizer("some of them").input_ids == reader.processor.tokenizer("some of them").input_ids


def test_a_saved_model_and_processor_load_as_a_reader(reader, tmp_path, long_line):
    folder = tmp_path / "copy"
    reader.model.save_pretrained(folder)
    reader.processor.save_pretrained(folder)
    again = Reader.load(folder)
    assert again.cut_rule is None
    assert texts(again.read(PATHS)) == texts(reader.read(PATHS, cut=False))
    stream = io.BytesIO()
    long_line.save(stream, "png")
    assert again.read(stream.getvalue())[0].pieces == ()
