"""Where the decoder looks for each letter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch import nn

from tests.training.tiny import draw, recipe
from vedcore.contract.types import EncoderOutput
from vedcore.training.attention import Letter, as_picture, clearest, column_attention, letters_of, look
from vedcore.training.build import build_reader
from vedcore.vision import CutRule

pytestmark = pytest.mark.filterwarnings("ignore:.*random")


class WithoutGrid(nn.Module):
    """An adapter whose states are no patches."""

    def forward(self, output: EncoderOutput) -> EncoderOutput:
        return EncoderOutput(output.states[:, :5])


def test_every_letter_of_the_text_has_attention_with_the_sum_1(reader):
    (row,) = look(reader, draw("seven"))
    (reading,) = reader.read([draw("seven")], layout="whole")
    assert "".join(letter.text for letter in row.letters) == reading.text != ""
    for letter in row.letters:
        assert letter.attention.shape == (16,)
        assert letter.attention.sum() == pytest.approx(1, abs=1e-5)
        assert 0 <= letter.place(0.25) <= letter.place() <= letter.place(0.75) <= 1


def test_a_grid_of_several_rows_gives_one_share_for_each_column():
    settings = recipe().model
    settings.encoder = {**settings.encoder, "patch_size": [8, 4]}
    model = build_reader(settings, seed=0).model
    found = column_attention(model, torch.randn(1, 3, 16, 64), torch.tensor([[1, 7, 8, 9]]))
    assert found.shape == (3, 16)
    assert found.sum(1) == pytest.approx(1, abs=1e-5)


def test_states_without_a_grid_have_no_places():
    reader = build_reader(recipe().model, seed=0)
    reader.model.bridge = WithoutGrid()
    (row,) = look(reader, draw("seven"))
    assert {letter.attention for letter in row.letters} == {None}
    with pytest.raises(ValueError, match="has no attention"):
        row.letters[0].place()


def test_the_attention_is_that_of_the_tokens_that_were_read(reader):
    """It is the same as that recorded while the text is generated."""
    pixels = torch.from_numpy(reader.processor.image_processor(draw("six"), return_tensors="np")["pixel_values"])
    output = reader.model.generate(pixels, return_dict_in_generate=True, output_attentions=True)
    generated = [step[0][0].mean(0)[-1, 1:] for step in output.cross_attentions]  # one layer; without the class token
    found = column_attention(reader.model, pixels, output.sequences)
    expected = torch.stack([shares / shares.sum() for shares in generated])
    assert torch.from_numpy(found).allclose(expected, atol=1e-5)


def test_looking_does_not_end_training_mode(reader):
    reader.model.train()
    look(reader, draw("six"))
    assert reader.model.training
    assert reader.model.decoder.training


def test_a_long_line_has_a_row_for_each_piece(reader, monkeypatch):
    monkeypatch.setattr(reader, "cut_rule", CutRule(above=3.0, longest=2.5, shortest=1.0))
    image = Image.new("RGB", (200, 20), "white")
    ImageDraw.Draw(image).text((5, 4), "one   two   three   four", fill="black")
    assert len(look(reader, image)) == len(reader.rows(image, layout="line")) > 1
    assert len(look(reader, image, cut=False)) == 1


def test_the_clearest_layer_looks_at_different_places():
    spread = np.full((4, 8), 1 / 8, np.float32)
    one_patch = np.eye(8, dtype=np.float32)[[3, 3, 3, 3]]
    diagonal = np.eye(8, dtype=np.float32)[[0, 2, 4, 6]]
    assert np.array_equal(clearest(np.stack([spread, diagonal, one_patch])), diagonal)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20).filter(any))
def test_half_of_the_attention_is_on_each_side_of_the_place(weights):
    attention = np.array(weights, np.float32) / sum(weights)
    place = Letter("a", attention).place() * len(weights)
    left = attention[: int(place)].sum() + (place - int(place)) * (attention[int(place)] if place < len(weights) else 0)
    assert left == pytest.approx(0.5, abs=1e-5)


def test_the_tokens_of_one_letter_share_their_attention():
    class Bytes:
        """Each id is a byte of UTF-8."""

        cleans_spaces = False

        def decode(self, ids, skip_special_tokens):
            return bytes(ids).decode("utf-8", "replace")

        def without_open_bytes(self, ids):
            return ids

    attention = np.eye(4, dtype=np.float32)
    found = letters_of(Bytes(), list("aé!".encode()), attention)
    assert [letter.text for letter in found] == ["a", "é", "!"]
    assert found[1].attention.tolist() == [0, 0.5, 0.5, 0]
    assert letters_of(Bytes(), [], None) == ()


def test_the_picture_is_what_the_image_processor_made(reader):
    process = reader.processor.image_processor
    image = draw("nine")  # of the size that the model reads
    assert np.array_equal(
        as_picture(process(image, return_tensors="np")["pixel_values"][0], process), np.asarray(image)
    )
