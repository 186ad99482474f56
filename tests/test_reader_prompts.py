"""Prompts, logits processors and stopping criteria that a reader passes to its model."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vedcore import ConfigError, ImageError, ImageProcessor, InputError, Processor, Reader, Tokenizer, TokenizerError

LINES = Path(__file__).parent / "golden/lines"
EXPECTED = json.loads((LINES / "expected.json").read_text())[:6]
PATHS = [LINES / line["file"] for line in EXPECTED]
TEXTS = [line["transformers_greedy_text"] for line in EXPECTED]
START, END = 1, 2
STRATEGIES = {"greedy": {}, "beams": {"num_beams": 3}}


@pytest.fixture(scope="module")
def cutting():
    """A reader that cuts long lines, two of the golden lines among them."""
    return Reader.load("line-reader")


@pytest.fixture(scope="module")
def reader(cutting):
    """The same without cutting."""
    return Reader(cutting.model, cutting.processor)


@pytest.fixture(scope="module")
def long_line():
    """Two golden lines side by side."""
    lines = [Image.open(path).convert("RGB") for path in PATHS[:2]]
    height = max(line.height for line in lines)
    whole = Image.new("RGB", (sum(line.width for line in lines) + height // 2, height), "white")
    whole.paste(lines[0].resize((lines[0].width, height)), (0, 0))
    whole.paste(lines[1].resize((lines[1].width, height)), (lines[0].width + height // 2, 0))
    return whole


def texts(readings):
    return [reading.text for reading in readings]


def joined(fragments, count):
    streamed = [""] * count
    for fragment in fragments:
        streamed[fragment.index] += fragment.text
    return streamed


# What a prompt does.


@pytest.mark.parametrize("letters", [1, 4])
def test_a_prompt_of_the_first_letters_is_continued(reader, letters):
    lines = [line for line in zip(PATHS, TEXTS, EXPECTED, strict=True) if len(line[1]) >= letters]
    assert len(lines) > 3
    for path, text, line in lines:
        (reading,) = reader.read(path, prompt=text[:letters])
        assert reading.text == text[letters:]
        assert list(reading.token_ids) == line["greedy"][1 + letters :]
        assert len(reading.token_logprobs) == len(reading.token_ids)
        assert reading.confidence == pytest.approx(float(np.exp(np.mean(reading.token_logprobs))), abs=1e-6)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_prompts_of_unequal_length_are_continued_as_each_would_be_alone(reader, batch_size, options):
    prompts = ["x", TEXTS[1][:5], "The ", TEXTS[3][:2], TEXTS[4][:1], "0"]
    alone = [reader.read(path, prompt=prompt, **options)[0] for path, prompt in zip(PATHS, prompts, strict=True)]
    together = reader.read(PATHS, prompt=prompts, batch_size=batch_size, **options)
    assert [(r.text, r.token_ids, r.stop_reason, r.source) for r in together] == [
        (r.text, r.token_ids, r.stop_reason, r.source) for r in alone
    ]
    assert [r.confidence for r in together] == pytest.approx([r.confidence for r in alone], abs=1e-5)


def test_a_prompt_equals_the_decoder_input_ids_of_the_model(reader):
    prompt = [START, *reader.processor.tokenizer.encode("ab", add_special_tokens=False)]
    pixels = reader.processor(PATHS).pixel_values
    ids = reader.model.generate(pixels, decoder_input_ids=torch.tensor([prompt] * len(PATHS)))
    read = reader.read(PATHS, prompt="ab")
    for row, reading in zip(ids.tolist(), read, strict=True):
        assert row[: 3 + len(reading.token_ids)] == [*prompt, *reading.token_ids]


def test_one_prompt_may_be_a_text_a_list_an_array_or_a_tensor(reader):
    ids = [START, *reader.processor.tokenizer.encode(TEXTS[0][:3], add_special_tokens=False)]
    forms = [TEXTS[0][:3], ids, tuple(ids), np.array(ids), torch.tensor(ids), [torch.tensor(i) for i in ids]]
    for prompt in forms:
        assert texts(reader.read(PATHS[0], prompt=prompt)) == [TEXTS[0][3:]]


def test_prompts_per_image_may_be_texts_lists_or_a_tensor_with_a_row_per_image(reader):
    tokenizer = reader.processor.tokenizer
    rows = [[START, *tokenizer.encode(text[:2], add_special_tokens=False)] for text in TEXTS[:3]]
    expected = [text[2:] for text in TEXTS[:3]]
    forms = ([text[:2] for text in TEXTS[:3]], rows, tuple(rows), torch.tensor(rows), np.array(rows))
    for prompts in (*forms, [TEXTS[0][:2], rows[1], torch.tensor(rows[2])]):
        assert texts(reader.read(PATHS[:3], prompt=prompts)) == expected
    assert texts(reader.read(PATHS[0], prompt=torch.tensor(rows[:1]))) == expected[:1]


def test_the_pieces_of_a_cut_line_have_the_prompt_of_their_image(cutting, long_line):
    (reading,) = cutting.read(long_line, prompt="q")
    assert len(reading.pieces) > 1
    pieces = [np.asarray(long_line)[box[1] : box[3], box[0] : box[2]] for box in (p.box for p in reading.pieces)]
    assert [piece.text for piece in reading.pieces] == texts(cutting.read(pieces, prompt="q", cut=False))
    both = cutting.read([PATHS[0], long_line, PATHS[1]], prompt=["a", "q", "b"])
    assert both[1].text == reading.text
    assert [both[0].text, both[2].text] == texts(cutting.read(PATHS[:2], prompt=["a", "b"]))


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_streams_with_prompts_equal_readings(cutting, long_line, batch_size, options):
    images, prompts = [*PATHS[:2], long_line, PATHS[2]], ["x", TEXTS[1][:5], "The", "0"]
    for prompt in ("ab", prompts):
        expected = texts(cutting.read(images, prompt=prompt, batch_size=batch_size, **options))
        assert joined(cutting.stream(images, prompt=prompt, batch_size=batch_size, **options), 4) == expected


def test_the_prompt_of_an_image_that_cannot_be_read_goes_with_it(reader):
    sources = [PATHS[0], b"not an image", PATHS[1]]
    first, bad, second = reader.each(sources, prompt=[TEXTS[0][:2], "zzz", TEXTS[1][:3]])
    assert isinstance(bad, ImageError)
    assert (first.text, second.text) == (TEXTS[0][2:], TEXTS[1][3:])


# Special tokens of a prompt.


def prompt_ids(reader, prompt, monkeypatch, **options):
    seen = []
    with monkeypatch.context() as patch:
        generate = reader.model.generate
        patch.setattr(
            reader.model, "generate", lambda *a, **o: seen.append(o.get("decoder_input_ids")) or generate(*a, **o)
        )
        reader.read(PATHS[0], prompt=prompt, **options)
    return None if seen[0] is None else seen[0].tolist()[0]


def test_a_text_gets_the_start_token_unless_it_begins_with_a_special_token_and_never_an_end_token(reader, monkeypatch):
    a, b = reader.processor.tokenizer.encode("ab", add_special_tokens=False)
    for prompt, ids in {
        "ab": [START, a, b],
        "<s>ab": [START, a, b],
        "<s>": [START],
        "<pad>ab": [0, a, b],
        "a<s>b": [START, a, START, b],
        "\u00e9a": [START, 3, a],
    }.items():
        with pytest.warns(UserWarning, match="padding id") if ids[0] == 0 else nullcontext():
            assert prompt_ids(reader, prompt, monkeypatch) == ids
    assert prompt_ids(reader, [a, b], monkeypatch) == [a, b]
    assert prompt_ids(reader, "ab", monkeypatch, decoder_start_token_id=5) == [5, a, b]
    assert prompt_ids(reader, None, monkeypatch) is None


def test_a_task_token_that_the_tokenizer_file_marks_as_special_begins_a_prompt(reader, monkeypatch, tmp_path):
    """Donut's prompts begin with a task token, which takes the place of the start token."""
    reader.processor.tokenizer.save_pretrained(tmp_path)
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    data["added_tokens"].append({**data["added_tokens"][1], "id": 98, "content": "~"})
    tokenizer = Tokenizer(json.dumps(data).encode())
    assert "~" not in tokenizer.all_special_tokens
    donut = Reader(reader.model, Processor(reader.processor.image_processor, tokenizer))
    (a,) = tokenizer.encode("a", add_special_tokens=False)
    assert prompt_ids(donut, "~a", monkeypatch) == [98, a]


# Prompts that are refused before any image is read.


@pytest.mark.parametrize("call", ["read", "each", "stream"])
@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        (["a"], InputError, "1 prompts for 2 images"),
        (["a", "b", "c"], InputError, "3 prompts for 2 images"),
        ([], InputError, "0 prompts for 2 images"),
        (torch.tensor([[1, 5]]), InputError, "1 prompts for 2 images"),
        ("", InputError, "prompt is empty"),
        (["a", ""], InputError, r"prompt\[1\] is empty"),
        (["a", []], InputError, r"prompt\[1\] is empty"),
        (torch.tensor([], dtype=torch.long), InputError, "prompt is empty"),
        ([1, 99], TokenizerError, "prompt: token id 99 is outside the vocabulary of 99"),
        ([[1], [-1]], TokenizerError, r"prompt\[1\]: token id -1"),
        ([1.0], TokenizerError, r"prompt: expected token ids \(ints\), found float"),
        ([True], TokenizerError, r"prompt: expected token ids \(ints\), found bool"),
        ("\u00e9\u00e8", TokenizerError, "prompt: the tokenizer knows no part of '\u00e9\u00e8'"),
        ("\ud800", TokenizerError, "prompt: "),
        (5, InputError, "prompt must be a text or token ids"),
        (b"ab", InputError, "prompt must be a text or token ids.*got bytes"),
        ({"input_ids": [1]}, InputError, "got dict"),
        (["a", None], InputError, r"prompt\[1\] must be a text or token ids.*got NoneType"),
        ("a" * 40, InputError, "the decoder prompt has 41 tokens, but the decoder has positions for 28"),
    ],
    ids=ascii,
)
def test_a_bad_prompt_is_refused_before_any_image_is_read(reader, call, prompt, error, message, monkeypatch):
    monkeypatch.setattr(ImageProcessor, "__call__", lambda *_, **__: pytest.fail("an image was processed"))
    with pytest.raises(error, match=message) as caught:
        list(getattr(reader, call)(PATHS[:2], prompt=prompt))
    assert caught.value.field == "prompt"
    assert caught.value.expected is not None or caught.value.found is not None


def test_a_prompt_after_which_nothing_can_follow_is_refused(reader):
    with pytest.raises(InputError, match="length limit is 3: nothing can follow") as caught:
        reader.read(PATHS[:1], prompt="ab", max_length=3)
    assert caught.value.field == "prompt"
    assert len(reader.read(PATHS[:1], prompt="ab", max_length=4)[0].token_ids) == 1


def test_prompts_and_an_iterator_of_images_must_end_together(reader):
    assert texts(reader.read(iter(PATHS[:2]), prompt=[TEXTS[0][:1], TEXTS[1][:1]])) == [TEXTS[0][1:], TEXTS[1][1:]]
    for prompts, message in (("ab", "2 prompts for more images"), ("abcd", "4 prompts for 3 images")):
        with pytest.raises(InputError, match=message) as caught:
            reader.read(iter(PATHS[:3]), prompt=list(prompts))
        assert caught.value.field == "prompt"
    assert reader.read([], prompt=[]) == []


def test_a_text_needs_a_start_token_and_ids_do_not(reader, monkeypatch):
    for owner in (reader.model.config, reader.model.generation_config):
        for name in ("decoder_start_token_id", "bos_token_id"):
            monkeypatch.setattr(owner, name, None)
    with pytest.raises(ConfigError, match="neither decoder_start_token_id nor bos_token_id is set") as caught:
        reader.read(PATHS[0], prompt="ab")
    assert caught.value.field == "decoder_start_token_id"
    for prompt in ("<s>" + TEXTS[0][:2], [START, *reader.processor.tokenizer(TEXTS[0][:2]).input_ids[1:-1]]):
        assert texts(reader.read(PATHS[0], prompt=prompt)) == [TEXTS[0][2:]]


# Functions.


def without(*letters):
    """A logits processor that forbids letters, given as ids."""

    def process(ids, scores):
        scores = scores.clone()
        scores[:, list(letters)] = -torch.inf
        return scores

    return process


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_a_logits_processor_acts_on_every_line_in_readings_and_streams(cutting, long_line, options):
    (letter,) = cutting.processor.tokenizer.encode("e", add_special_tokens=False)
    images = [*PATHS[:3], long_line]
    assert any("e" in text for text in texts(cutting.read(images, **options)))
    readings = cutting.read(images, logits_processor=[without(letter)], batch_size=2, **options)
    assert not any("e" in reading.text for reading in readings)
    assert all(np.isfinite(reading.confidence) for reading in readings)
    streamed = cutting.stream(images, logits_processor=[without(letter)], batch_size=2, **options)
    assert joined(streamed, 4) == texts(readings)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_a_stopping_criterion_ends_lines_in_readings_and_streams(reader, options):
    def stop(ids, scores):
        return torch.tensor([row.shape[0] >= 4 for row in ids])

    readings = reader.read(PATHS, stopping_criteria=[stop], prompt="a", **options)
    assert {(len(reading.token_ids), reading.stop_reason) for reading in readings} == {(2, "stopped")}
    assert joined(reader.stream(PATHS, stopping_criteria=[stop], prompt="a", **options), 6) == texts(readings)


@pytest.mark.parametrize("name", ["logits_processor", "stopping_criteria"])
@pytest.mark.parametrize("call", ["read", "each", "stream"])
def test_functions_that_are_no_list_of_functions_are_refused_before_any_image_is_read(reader, call, name, monkeypatch):
    monkeypatch.setattr(ImageProcessor, "__call__", lambda *_, **__: pytest.fail("an image was processed"))
    for bad in (5, [5], without(3)):
        with pytest.raises(InputError, match=f"{name} must be a list of functions") as caught:
            list(getattr(reader, call)(PATHS[:1], **{name: bad}))
        assert caught.value.field == name


def test_an_iterator_of_functions_serves_every_batch(reader):
    (letter,) = reader.processor.tokenizer.encode("e", add_special_tokens=False)
    readings = reader.read(PATHS, logits_processor=iter([without(letter)]), batch_size=1)
    assert not any("e" in reading.text for reading in readings)
