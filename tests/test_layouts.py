"""A page is read line by line in reading order; an image is a page or a line by what the segmenter finds in it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vedcore import (
    BlockRegion,
    ConfigError,
    ImageError,
    LineRegion,
    PageRegion,
    PluginError,
    PluginNotFound,
    Reader,
    Segmenter,
)
from vedcore.reader import layout_choice
from vedcore.reader.decision import is_page
from vedcore.reader.polygons import part_of, rectangle
from vedcore.registry import Plugin, Registry

ROOT = Path(__file__).parent
SHIPPED = ROOT.parent / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
LINES = ROOT / "golden/lines"
EXPECTED = json.loads((LINES / "expected.json").read_text())[:5]
PATHS = [LINES / line["file"] for line in EXPECTED]
TEXTS = [line["transformers_greedy_text"] for line in EXPECTED]
BLOCKS = ((0, 1), (2, 3, 4))
"""The golden lines in each block of a page."""


@pytest.fixture(scope="module")
def reader():
    return Reader.load("line-reader")


def draw_page(order=(0, 1, 2, 3, 4)):
    """A page with the golden lines one above the other, and its regions in ``order``."""
    images = [Image.open(PATHS[index]).convert("RGB") for index in order]
    width, height = max(image.width for image in images) + 20, 20 + sum(image.height + 20 for image in images)
    page, top, lines = Image.new("RGB", (width, height), "white"), 20, []
    for image in images:
        page.paste(image, (10, top))
        box = (10, top, 10 + image.width, top + image.height)
        lines.append(line_region(page, box))
        top += image.height + 20
    blocks = tuple(BlockRegion(rectangle(page.size), tuple(lines[i] for i in block)) for block in BLOCKS)
    return page, PageRegion(rectangle(page.size), blocks)


def line_region(image, box):
    left, top, right, bottom = map(float, box)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return LineRegion(corners, np.asarray(image.crop(box)))


def found(*regions):
    """A segmenter that returns these regions one after another."""
    remaining = list(regions)
    return lambda image: remaining.pop(0)


def always(region):
    return lambda image: region


def one_block(*lines):
    return PageRegion(rectangle((1000, 1000)), (BlockRegion(rectangle((1000, 1000)), lines),))


def with_segmenter(reader, segmenter):
    return Reader(reader.model, reader.processor, reader.cut_rule, "auto", segmenter)


def content(reading):
    return replace(reading, source=None)


# Pages.


def test_a_page_is_the_texts_of_its_lines_in_reading_order(reader):
    image, region = draw_page()
    (reading,) = with_segmenter(reader, always(region)).read(image, layout="page")
    assert reading.text == "\n\n".join("\n".join(TEXTS[i] for i in block) for block in BLOCKS)
    assert [[line.text for line in block.lines] for block in reading.blocks] == [[TEXTS[i] for i in b] for b in BLOCKS]
    assert [block.text for block in reading.blocks] == reading.text.split("\n\n")
    assert (reading.layout, reading.size, reading.pieces, reading.warnings) == ("page", image.size, (), ())


def test_a_line_of_a_page_is_what_the_line_alone_is(reader):
    image, region = draw_page()
    (page,) = with_segmenter(reader, always(region)).read(image, layout="page")
    alone = reader.read([line.pixels for line in region.lines], layout="line")
    for line, reading, place in zip(page.lines, alone, region.lines, strict=True):
        assert (line.text, line.token_ids, line.stop_reason) == (reading.text, reading.token_ids, reading.stop_reason)
        assert line.token_logprobs == pytest.approx(reading.token_logprobs, abs=1e-5)
        assert line.confidence == pytest.approx(reading.confidence, abs=1e-5)
        assert line.polygon == place.polygon
    assert page.token_ids == tuple(token for line in page.lines for token in line.token_ids)
    assert page.confidence == pytest.approx(float(np.exp(np.mean(page.token_logprobs))))


def test_a_page_stops_for_the_first_line_that_does_not_end(reader):
    image, region = draw_page()
    (reading,) = with_segmenter(reader, always(region)).read(image, layout="page", max_new_tokens=4)
    assert {line.stop_reason for line in reading.lines} == {"eos", "length"}
    assert reading.stop_reason == "length"


def test_the_lines_of_all_pages_share_batches(reader, monkeypatch):
    image, region = draw_page()
    sizes, generate = [], reader.model.generate
    monkeypatch.setattr(
        reader.model, "generate", lambda pixels, **o: sizes.append(len(pixels)) or generate(pixels, **o)
    )
    readings = with_segmenter(reader, always(region)).read([image, image, image], layout="page", batch_size=4)
    rows = sum(max(1, len(line.pieces)) for reading in readings for line in reading.lines)
    assert sizes == [4] * (rows // 4) + [rows % 4] * (rows % 4 > 0)
    assert (readings[0].text, readings[0].token_ids) == (readings[2].text, readings[2].token_ids)


def test_a_streamed_page_is_the_text_of_its_reading(reader):
    image, region = draw_page()
    several = with_segmenter(reader, always(region))
    (reading,) = several.read(image, layout="page")
    fragments = list(several.stream(image, layout="page"))
    assert "".join(fragment.text for fragment in fragments) == reading.text
    assert len(fragments) > len(TEXTS)


def test_a_page_without_lines_has_no_text_and_says_so(reader):
    empty = PageRegion(rectangle((90, 70)), warnings=("a photograph covers the page",))
    image, region = draw_page()
    readings = with_segmenter(reader, found(empty, region)).read([Image.new("RGB", (90, 70)), image], layout="page")
    assert [reading.text.count("\n") for reading in readings] == [0, 5]
    first = readings[0]
    assert (first.text, first.confidence, first.token_ids, first.stop_reason) == ("", 0.0, (), "no text")
    assert first.warnings == ("a photograph covers the page", "the image is blank")
    assert list(with_segmenter(reader, always(empty)).stream(image, layout="page")) == []


def test_the_words_and_pieces_of_a_line_lie_in_its_polygon(reader):
    _, region = draw_page()
    long = np.concatenate([region.lines[i].pixels[:27] for i in range(4)], axis=1)
    page = Image.new("RGB", (long.shape[1] + 200, 400), "white")
    page.paste(Image.fromarray(long), (100, 300))
    line = line_region(page, (100, 300, 100 + long.shape[1], 327))
    (reading,) = with_segmenter(reader, always(one_block(line))).read(page, layout="page")
    (read_line,) = reading.lines
    assert len(read_line.pieces) > 1
    assert len(read_line.text) <= len(" ".join(piece.text for piece in read_line.pieces))
    assert [word.text for word in read_line.words] == read_line.text.split()
    lefts = [word.polygon[0][0] for word in read_line.words]
    assert lefts == sorted(lefts)
    for word in read_line.words:
        assert [y for _, y in word.polygon] == [300, 300, 327, 327]
        assert all(100 <= x <= 100 + long.shape[1] for x, _ in word.polygon)
    for piece in read_line.pieces:
        left, top, right, bottom = piece.box
        assert 100 <= left < right <= 100 + long.shape[1]
        assert 300 <= top < bottom <= 327


def test_a_part_of_a_turned_line_lies_along_it():
    line = ((0.0, 100.0), (0.0, 0.0), (20.0, 0.0), (20.0, 100.0))  # read upwards
    assert part_of(line, 0, 0, 1, 1) == line
    assert part_of(line, 0.5, 0, 1, 0.5) == ((0.0, 50.0), (0.0, 0.0), (10.0, 0.0), (10.0, 50.0))


# Line or page.


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_an_image_of_one_line_is_read_as_that_line(reader, path):
    image = Image.open(path).convert("RGB")
    region = one_block(line_region(image, (4, 4, image.width - 4, image.height - 4)))
    (decided,) = with_segmenter(reader, always(region)).read(path)
    (line,) = reader.read(path, layout="line")
    assert content(decided) == content(line)
    assert decided.layout == "line"
    assert [block.polygon for block in decided.blocks] == [rectangle(image.size)]


def test_parts_of_a_line_beside_each_other_are_one_line(reader):
    image = Image.open(PATHS[0]).convert("RGB")
    middle, (width, height) = image.width // 2, image.size
    region = one_block(line_region(image, (0, 2, middle, height)), line_region(image, (middle, 0, width, height - 3)))
    (reading,) = with_segmenter(reader, always(region)).read(image)
    assert (reading.layout, reading.text) == ("line", TEXTS[0])


def test_lines_one_above_the_other_are_a_page(reader):
    image, region = draw_page()
    (reading,) = with_segmenter(reader, always(region)).read(image)
    assert reading.layout == "page"
    assert reading.text.split() == " ".join(TEXTS).split()


def test_a_line_with_much_space_around_it_or_that_is_turned_is_a_page(reader):
    line = Image.open(PATHS[0]).convert("RGB")
    wide = Image.new("RGB", (line.width + 60, line.height * 8), "white")
    wide.paste(line, (30, line.height))
    box = (30, line.height, 30 + line.width, 2 * line.height)
    (spaced,) = with_segmenter(reader, always(one_block(line_region(wide, box)))).read(wide)
    assert (spaced.layout, spaced.text) == ("page", TEXTS[0])
    upwards = line.transpose(Image.Transpose.ROTATE_90)
    width, height = map(float, upwards.size)
    corners = ((0.0, height), (0.0, 0.0), (width, 0.0), (width, height))
    turned = one_block(LineRegion(corners, np.asarray(line)))
    (reading,) = with_segmenter(reader, always(turned)).read(upwards)
    assert (reading.layout, reading.text) == ("page", TEXTS[0])


def corners(left, top, right, bottom):
    return ((left, top), (right, top), (right, bottom), (left, bottom))


LINE_PARTS = {
    "at the edge": [corners(10, 12, 280, 30), corners(5, -12, 200, 4), corners(5, 36, 200, 52)],
    "a speck": [corners(10, 12, 280, 30), corners(40, 34, 44, 38)],
    "beside each other": [corners(10, 2, 140, 18), corners(150, 20, 280, 38)],
    "unlike": [corners(10, 12, 280, 30), corners(10, 32, 90, 38)],
    "upright letters": [corners(10, 2, 28, 38)[1:] + corners(10, 2, 28, 38)[:1]] * 3,
    "low": [corners(10, 30, 80, 36)],
}


@pytest.mark.parametrize("name", LINE_PARTS)
def test_what_a_segmenter_takes_for_lines_in_the_image_of_one_line_makes_no_page(name):
    page = one_block(*(LineRegion(polygon, np.zeros((9, 9), np.uint8)) for polygon in LINE_PARTS[name]))
    assert not is_page(page, (300, 40))


def test_two_short_lines_are_a_page():
    lines = (corners(10, 5, 100, 22), corners(10, 26, 160, 44))
    assert is_page(one_block(*(LineRegion(line, np.zeros((9, 9), np.uint8)) for line in lines)), (170, 50))


def test_an_image_in_which_no_line_is_found_is_a_line_unless_it_is_blank(reader):
    nothing = always(PageRegion(rectangle((100, 100))))
    image = Image.open(PATHS[0]).convert("RGB")
    line, blank = with_segmenter(reader, nothing).read([image, Image.new("RGB", image.size, "white")])
    assert (line.layout, line.text) == ("line", TEXTS[0])
    assert (blank.layout, blank.text, blank.warnings) == ("page", "", ("the image is blank",))


# What decides.


def test_a_layout_decides_and_no_cut_means_whole(reader):
    image, region = draw_page()
    several = with_segmenter(reader, always(region))
    assert several.read(image, layout="line")[0].layout == "line"
    for options in ({"layout": "whole"}, {"cut": False}, {"cut": False, "layout": "whole"}):
        (whole,) = several.read(image, **options)
        assert (whole.layout, whole.blocks, whole.lines) == ("whole", (), ())
    several.layout = "page"
    assert several.read(PATHS[0])[0].layout == "page"


def test_contradictory_and_unknown_layouts_are_refused(reader):
    with pytest.raises(ConfigError, match="cut=False is the same as layout=\"whole\", but layout is 'page'"):
        reader.read(PATHS[0], cut=False, layout="page")
    with pytest.raises(ConfigError, match=r"layout must be auto \| page \| line \| whole, got 'pages'") as caught:
        reader.read(PATHS[0], layout="pages")
    assert caught.value.field == "layout"
    with pytest.raises(ConfigError, match="layout must be"):
        Reader(reader.model, reader.processor, layout="x")


@pytest.fixture
def copy(tmp_path):
    """A function that copies the line reader with other settings in its vedcore.json."""

    def make(settings):
        folder = tmp_path / "copy"
        shutil.copytree(SHIPPED, folder)
        (folder / "vedcore.json").write_text(json.dumps(settings))
        return folder

    return make


def test_the_checkpoint_names_the_default(copy):
    assert Reader.load("line-reader").layout == "auto"
    folder = copy({"layout": "page"})
    assert Reader.load(folder).layout == "page"
    assert Reader.load(folder, layout="line").layout == "line"


@pytest.mark.parametrize(("settings", "layout"), [({}, "whole"), ({"cut": {"above": 9.0}}, "line")])
def test_without_a_default_only_a_cut_rule_makes_the_image_a_line(copy, settings, layout):
    loaded = Reader.load(copy(settings))
    loaded.segmenter = always(draw_page()[1])
    assert loaded.read(draw_page()[0])[0].layout == layout


def test_a_bad_default_is_refused_with_its_file(copy):
    folder = copy({"layout": "pages"})
    with pytest.raises(ConfigError, match=r"vedcore\.json: layout must be auto") as caught:
        Reader.load(folder)
    assert caught.value.file == str(folder / "vedcore.json")


def test_a_saved_model_keeps_its_layout(copy, tmp_path):
    folder = copy({"layout": "page", "cut": {"above": 9.0}})
    Reader.load(folder).model.save_pretrained(folder)
    assert Reader.load(folder).layout == "page"


# Segmenters.


def install(monkeypatch, *names):
    """Replace the registry by one that has these segmenters, each in a module that defines it."""
    import sys
    from types import ModuleType

    from vedcore import hookimpl

    plugins = []
    for name in names:
        module = ModuleType(f"plugin_{name}")
        record = Segmenter(name=name, segmenter=always(PageRegion(rectangle((1, 1)), warnings=(name,))), protocol=2)
        module.vedcore_plugin = hookimpl(lambda record=record: [record])
        monkeypatch.setitem(sys.modules, module.__name__, module)
        plugins.append(Plugin(f"segmenter.{name}", module.__name__, f"dist-{name}", "1"))
    found = Registry(plugins)
    monkeypatch.setattr(layout_choice, "registry", lambda: found)


def test_the_only_installed_segmenter_is_used(reader, monkeypatch):
    install(monkeypatch, "one")
    (reading,) = with_segmenter(reader, None).read(PATHS[0], layout="page")
    assert reading.warnings == ("one", "no text was found")
    (record,) = layout_choice.registry().listings()[0].records
    assert with_segmenter(reader, record).read(PATHS[0], layout="page")[0].warnings == reading.warnings


def test_the_checkpoint_prefers_a_segmenter_that_is_installed(copy, monkeypatch):
    folder = copy({"layout": "page", "segmenter": "two"})
    for names, chosen in ((("one", "two"), "two"), (("one",), None), (("two",), "two")):
        install(monkeypatch, *names)
        assert Reader.load(folder).segmenter == chosen
    assert Reader.load(folder, segmenter=always(None)).segmenter is not None


@pytest.mark.parametrize("segmenter", [3, [], "nope"])
def test_what_is_no_segmenter_is_refused_before_an_image_is_read(reader, monkeypatch, segmenter):
    install(monkeypatch, "one")
    with pytest.raises((ConfigError, PluginNotFound), match=r"segmenter must be a function|no segmenter named 'nope'"):
        with_segmenter(reader, segmenter)


def test_a_segmenter_that_returns_something_else_is_an_error_of_the_plugin(reader):
    with pytest.raises(PluginError, match="the segmenter returned a NoneType, not a PageRegion"):
        with_segmenter(reader, always(None)).read(PATHS[0], layout="page")


def test_one_of_several_segmenters_must_be_chosen(reader, monkeypatch):
    install(monkeypatch, "one", "two")
    with pytest.raises(
        ConfigError, match="several segmenters are installed: one, two; choose one with --segmenter NAME"
    ):
        with_segmenter(reader, None).read(PATHS[0], layout="page")
    (reading,) = with_segmenter(reader, "two").read(PATHS[0], layout="page")
    assert reading.warnings[0] == "two"
    with pytest.raises(PluginNotFound, match="no segmenter named 'three'; installed segmenters: one, two"):
        with_segmenter(reader, "three").read(PATHS[0], layout="page")


def test_without_a_segmenter_a_page_is_refused_and_auto_reads_a_line(reader, monkeypatch):
    install(monkeypatch)
    image, _ = draw_page()
    alone = with_segmenter(reader, None)
    with pytest.raises(PluginNotFound, match=r"no segmenter named 'pages'.*pip install vedcore-plugin-pages"):
        alone.read(image, layout="page")
    line, page = alone.read([PATHS[0], image])
    assert (line.layout, line.text, line.warnings) == ("line", TEXTS[0], ())
    assert page.layout == "line"
    (warning,) = page.warnings
    assert warning.startswith("the image looks like a page")
    assert warning.endswith("to read pages, pip install vedcore-plugin-pages")


def test_a_segmenter_that_fails_costs_its_image_only(reader):
    image, _ = draw_page()

    def segmenter(pixels):
        if pixels.shape[1] == image.width:
            raise ZeroDivisionError("division by zero")
        return one_block(line_region(Image.fromarray(pixels), (0, 0, pixels.shape[1], pixels.shape[0])))

    first, second = with_segmenter(reader, segmenter).each([image, PATHS[0]], layout="page")
    assert isinstance(first, ImageError)
    assert str(first) == "the segmenter failed: ZeroDivisionError: division by zero"
    assert second.text == TEXTS[0]


@pytest.mark.parametrize(
    "pixels", [np.zeros((0, 5), np.uint8), np.zeros((4, 5)), np.zeros((4, 5, 4), np.uint8), [[1]]], ids=str
)
def test_a_line_that_is_not_valid_is_an_error_of_the_plugin(reader, pixels):
    bad = one_block(LineRegion(rectangle((5, 4)), pixels))
    with pytest.raises(PluginError, match="the segmenter returned a line that is not valid"):
        with_segmenter(reader, always(bad)).read(PATHS[0], layout="page")


# Warnings.


def test_an_image_that_is_no_line_gets_a_warning_and_is_still_read(reader):
    page, _ = draw_page()
    blank = Image.new("RGB", (300, 40), "white")
    for layout in ("line", "whole"):
        plain, odd, empty = reader.read([PATHS[0], page, blank], layout=layout)
        assert plain.warnings == ()
        (warning,) = odd.warnings
        assert warning.startswith("the image looks like a page")
        assert "--layout page" in warning
        assert empty.warnings == ("the image is blank",)


def test_a_model_for_whole_images_gets_no_warning_about_pages_and_photographs(reader):
    captions = Reader(reader.model, reader.processor)
    page, blank = captions.read([draw_page()[0], Image.new("RGB", (300, 40), "white")])
    assert (page.layout, page.warnings) == ("whole", ())
    assert blank.warnings == ("the image is blank",)
