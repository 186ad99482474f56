"""A file, bytes, a PIL image or an array becomes one RGB image, or an ImageError."""

from __future__ import annotations

import io
import os
import random
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from vedcore import ImageError
from vedcore.vision import formats, load_image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def photo(width=24, height=16, seed=0):
    rows = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(rows.repeat(4, 0).repeat(4, 1))


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image)


def lossless(kind):
    return {"lossless": True} if kind == "WEBP" else {}


@pytest.mark.parametrize("kind", FORMATS)
def test_path_bytes_and_pil_image_are_the_same_image(kind, tmp_path):
    data = encoded(photo(), kind, **lossless(kind))
    path = tmp_path / "no-extension"
    path.write_bytes(data)
    expected = pixels(Image.open(io.BytesIO(data)).convert("RGB"))
    for source in (path, str(path), data, bytearray(data), Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(pixels(load_image(source)), expected)


# fmt: off
OTHERS = [
    "PPM", "ICO", "PCX", "TGA", "JPEG2000", "SGI", "EPS", "PDF", "DDS",
    "ICNS", "MSP", "SPIDER", "XBM", "BLP", "DIB", "PALM", "QOI",
]
# fmt: on
MODES = {"MSP": "1", "XBM": "1", "PALM": "1", "BLP": "P"}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_refused_before_they_are_opened(kind, monkeypatch):
    data = encoded(photo().convert(MODES.get(kind, "RGB")), kind)
    for opener in Image.OPEN.values():  # those that Pillow itself would try
        monkeypatch.setattr(opener[0], "_open", lambda self: pytest.fail("the decoder was entered"), raising=False)
    with pytest.raises(
        ImageError, match="expected PNG, JPEG, WEBP, GIF, BMP, TIFF, found a file that begins with"
    ) as caught:
        load_image(data)
    assert ("Reader.read_document" in str(caught.value)) == (kind == "PDF")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "expected an image file, found a folder"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.write_bytes(b""), "found an empty file"),
        (lambda path: path.write_bytes(b"hello"), "begins with b'hello'"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.write_bytes(bytes(2000)), "2000 bytes, more than the 1000 allowed"),
    ],
)
def test_an_error_names_the_file_and_what_is_wrong(prepare, message, tmp_path):
    path = tmp_path / "line.png"
    prepare(path)
    with pytest.raises(ImageError, match=message) as caught:
        load_image(path, max_bytes=1000)
    assert str(path) in str(caught.value)
    assert caught.value.file == str(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["a\0b", "a\nb", "", b"", None, 3, [photo()], np.zeros(())])
def test_an_error_for_a_bad_source_is_one_line(source):
    with pytest.raises(ImageError) as caught:
        load_image(source)
    assert "\n" not in str(caught.value)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width, height):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def jpeg_of_size(width, height):
    data = bytearray(encoded(photo(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", min(height, 65535), min(width, 65535))
    return bytes(data)


def gif_of_size(width, height, *, frame=False):
    data = bytearray(encoded(photo(), "GIF"))
    at = data.index(b"\x2c\0\0\0\0", 13 + (3 << (data[10] & 7) + 1)) + 5 if frame else 6
    data[at : at + 4] = struct.pack("<HH", min(width, 65535), min(height, 65535))
    return bytes(data)


def bmp_of_size(width, height):
    data = bytearray(encoded(photo(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def webp_of_size(width, height):
    data = bytearray(encoded(photo().convert("RGBA"), "WEBP", exif=b"Exif\0\0" + bytes(8)))
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize("size", [(9000, 9000), (12000, 9000), (16000, 16000), (60000, 60000), (65535, 1000)])
@pytest.mark.parametrize(
    "make",
    [
        png_of_size,
        jpeg_of_size,
        gif_of_size,
        lambda w, h: gif_of_size(w, h, frame=True),
        bmp_of_size,
        webp_of_size,
    ],
)
def test_a_huge_size_in_the_header_is_refused_before_decoding(make, size):
    data = make(*size)
    start = time.perf_counter()
    with pytest.raises(ImageError, match=r"pixels, more than the 64000000 allowed"):
        load_image(data)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("size", [(9000, 9000), (16383, 4000), (4000, 16383), (16383, 16383)])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_huge_webp_is_refused_before_its_decoder_is_created(size, lossless, monkeypatch):
    data = bytearray(encoded(photo(), "WEBP", lossless=lossless))
    width, height = size
    if lossless:
        assert data[12:16] == b"VP8L"
        bits = int.from_bytes(data[21:25], "little") & 0xF << 28
        data[21:25] = (bits | (height - 1) << 14 | (width - 1)).to_bytes(4, "little")
    else:
        assert data[12:16] == b"VP8 "
        data[26:30] = struct.pack("<HH", width | 1 << 14, height | 2 << 14)
    monkeypatch.setattr(formats, "WebPImageFile", lambda _: pytest.fail("the decoder was created"))
    with pytest.raises(ImageError, match=f"{width} x {height} pixels, more than the 64000000 allowed"):
        load_image(bytes(data))


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0" + bytes(8)}], ids=str)
@pytest.mark.parametrize("size", [(4, 4), (300, 8), (4, 1000)])
def test_the_size_in_a_webp_header_is_the_size_of_its_pixels(options, size):
    data = encoded(photo(*size), "WEBP", **options)
    assert formats.webp_size(data) == load_image(data).size == size


@pytest.mark.parametrize("junk", [b"", b"\0\1"])
def test_a_huge_frame_after_the_extensions_of_a_gif_is_refused(junk):
    plain = Image.new("P", (8, 8))
    data = bytearray(encoded(plain, "GIF", comment=b"!,;", loop=0))
    at = data.index(b",\0\0\0\0")
    assert load_image(bytes(data[:at] + junk + data[at:])).size == (8, 8)
    data[at + 5 : at + 9] = b"\x10\x27\x10\x27"  # 10000 x 10000, where Pillow would warn
    with pytest.raises(ImageError, match="10000 x 10000 pixels"):
        load_image(bytes(data[:at] + junk + data[at:]))


def test_the_pixel_limit_applies_to_every_source():
    image = photo(40, 40)
    for source in (encoded(image, "PNG"), image, np.asarray(image)):
        assert load_image(source, max_pixels=1600).size == (40, 40)
        with pytest.raises(ImageError, match="40 x 40 pixels, more than the 1599 allowed"):
            load_image(source, max_pixels=1599)


def test_the_first_frame_is_read():
    frames = [photo(seed=seed) for seed in range(3)]
    for kind in ("PNG", "GIF", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless(kind))
        expected = encoded(frames[0], kind, **lossless(kind))
        np.testing.assert_array_equal(pixels(load_image(data)), pixels(load_image(expected)))


@pytest.mark.parametrize("frames", [0, 2**31 + 1])
def test_a_wrong_animation_of_a_png_is_ignored(frames):
    data = encoded(photo(), "PNG")
    animated = data[:33] + chunk(b"acTL", struct.pack(">II", frames, 0)) + data[33:]
    np.testing.assert_array_equal(pixels(load_image(animated)), np.asarray(photo()))


def exif_block(orientation, order="<"):
    head = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def turned(image, orientation):
    """The pixels to store with ``orientation`` so that a viewer shows ``image``."""
    steps = Image.Transpose
    back = [None, steps.FLIP_LEFT_RIGHT, steps.ROTATE_180, steps.FLIP_TOP_BOTTOM, steps.TRANSPOSE]
    back += [steps.ROTATE_90, steps.TRANSVERSE, steps.ROTATE_270]
    method = back[orientation - 1]
    return image if method is None else image.transpose(method)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_orientation_gives_the_upright_pixels(kind, orientation, order):
    stored = turned(photo(), orientation)
    data = encoded(stored, kind, exif=exif_block(orientation, order), **lossless(kind))
    np.testing.assert_array_equal(pixels(load_image(data)), np.asarray(photo()))
    np.testing.assert_array_equal(pixels(load_image(Image.open(io.BytesIO(data)))), np.asarray(photo()))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_loading_a_loaded_image_changes_nothing(kind, orientation):
    image = load_image(encoded(photo(), kind, exif=exif_block(orientation)))
    assert np.array_equal(pixels(load_image(image)), pixels(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_jpeg_equals_that_of_pillow(orientation):
    from PIL import ImageOps

    data = encoded(photo(), "JPEG", exif=exif_block(orientation))
    expected = pixels(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(pixels(load_image(data)), expected)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(pixels(load_image(upright)), expected)


def test_the_orientation_is_read_from_xmp_without_exif():
    note = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(turned(photo(), 6), "WEBP", lossless=True, xmp=note)
    np.testing.assert_array_equal(pixels(load_image(data)), np.asarray(photo()))


@pytest.mark.parametrize(("digits", "turn"), [(exif_block(6).hex(), 6), ("45786", 1), ("zz", 1), ("", 1)])
def test_the_orientation_is_read_from_the_exif_text_of_an_old_png(digits, turn):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Raw profile type exif", f"\nexif\n {len(digits) // 2}\n{digits}\n")
    data = encoded(turned(photo(), turn), "PNG", pnginfo=notes)
    np.testing.assert_array_equal(pixels(load_image(data)), np.asarray(photo()))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_broken_exif_never_fails(kind):
    chance = random.Random(0)
    plain = pixels(load_image(encoded(photo(), kind, **lossless(kind))))
    whole = exif_block(1)
    blocks = [whole[:n] for n in range(1, len(whole))] + [b"\0", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"]
    blocks += [b"Exif\0\0" + chance.randbytes(40) for _ in range(20)]
    blocks += [b"Exif\0\0MM\0*" + chance.randbytes(60) for _ in range(20)]
    blocks += [exif_block(value) for value in (0, 9, 255, 65535)]
    for block in blocks:
        data = encoded(photo(), kind, exif=block, **lossless(kind))
        assert sorted(pixels(load_image(data)).shape) == sorted(plain.shape)
    for value in (0, 9, 65535):
        data = encoded(photo(), kind, exif=exif_block(value), **lossless(kind))
        np.testing.assert_array_equal(pixels(load_image(data)), plain)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_modes_without_alpha_are_those_of_pillow(mode):
    image = photo().convert(mode)
    np.testing.assert_array_equal(pixels(load_image(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
def test_transparent_pixels_become_white_and_opaque_ones_stay(mode):
    clear = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    clear.putpixel((1, 0), (90, 90, 90, 255))
    image = clear.convert("LA") if mode == "La" else clear
    if mode == "PA":
        image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
        image.putpalette([200, 0, 0, 90, 90, 90])
        image.putalpha(clear.getchannel("A"))
    image = image if mode == image.mode else image.convert(mode)
    assert image.mode == mode
    np.testing.assert_array_equal(pixels(load_image(image)), [[[255] * 3, [90] * 3]])


def test_half_transparent_black_is_mid_grey():
    assert load_image(Image.new("RGBA", (1, 1), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)


def test_a_single_transparent_colour_becomes_white():
    colour = Image.new("RGB", (2, 1), (10, 20, 30))
    colour.putpixel((1, 0), (1, 2, 3))
    data = encoded(colour, "PNG", transparency=(10, 20, 30))
    np.testing.assert_array_equal(pixels(load_image(data)), [[[255] * 3, [1, 2, 3]]])
    grey = Image.fromarray(np.array([[7, 9]], np.uint8))
    np.testing.assert_array_equal(pixels(load_image(encoded(grey, "PNG", transparency=7))), [[[255] * 3, [9] * 3]])
    deep = Image.fromarray(np.array([[7, 40000]], np.uint16))
    deep.info["transparency"] = 7
    np.testing.assert_array_equal(pixels(load_image(deep)), [[[255] * 3, [156] * 3]])
    for clear in (0, bytes([0, 255])):
        palette = Image.fromarray(np.array([[0, 1]], np.uint8))
        palette = palette.convert("P")
        palette.putdata([0, 1])
        palette.putpalette([255, 0, 0, 0, 0, 255])
        data = encoded(palette, "PNG", transparency=clear)
        np.testing.assert_array_equal(pixels(load_image(data)), [[[255] * 3, [0, 0, 255]]])


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_keep_the_upper_eight(dtype):
    values = np.array([[0, 255, 256, 40000, 65535]], dtype)
    for source in (values, Image.fromarray(values), encoded(Image.fromarray(values.astype("<u2")), "PNG")):
        np.testing.assert_array_equal(pixels(load_image(source))[..., 0], [[0, 0, 1, 156, 255]])


def test_int_images_have_eight_or_sixteen_bits():
    def read(*values):
        return pixels(load_image(Image.fromarray(np.array([values], np.int32))))[0, :, 0].tolist()

    assert read(0, 100, 255) == [0, 100, 255]
    assert read(0, 40000, 65535) == [0, 156, 255]
    for wrong in ((-1, 0), (0, 65536)):
        with pytest.raises(ImageError, match=f"from 0 to 65535, found {min(wrong)} to {max(wrong)}"):
            read(*wrong)


def test_floats_must_lie_between_zero_and_one():
    for dtype in (np.float16, np.float32, np.float64):
        assert pixels(load_image(np.array([[0, 0.5, 1]], dtype)))[0, :, 0].tolist() == [0, 128, 255]
    assert pixels(load_image(Image.fromarray(np.array([[0.5]], np.float32)))).tolist() == [[[128] * 3]]
    for wrong in (-0.1, 1.5, float("nan"), float("inf")):
        with pytest.raises(ImageError, match=r"floats in \[0, 1\], found"):
            load_image(np.array([[0.0, wrong]]))


def test_every_grey_level_survives_conversion_to_float_and_back():
    levels = np.arange(256, dtype=np.uint8)[None]
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(pixels(load_image(levels.astype(dtype) / 255))[..., 0], levels)


def test_layouts_of_arrays_and_tensors_agree():
    rgb = np.asarray(photo())
    for source in (rgb, np.moveaxis(rgb, -1, 0), torch.tensor(rgb), torch.tensor(rgb).permute(2, 0, 1)):
        np.testing.assert_array_equal(pixels(load_image(source)), rgb)
    tensor = (torch.tensor(rgb).float() / 255).requires_grad_()
    np.testing.assert_array_equal(pixels(load_image(tensor)), rgb)
    grey = rgb[..., 0]
    for source in (grey, grey[..., None], grey[None], torch.tensor(grey)[None], grey.copy(order="F")):
        np.testing.assert_array_equal(pixels(load_image(source)), np.repeat(grey[..., None], 3, -1))
    ink = np.dstack([rgb, np.zeros_like(grey)])
    assert pixels(load_image(ink)).min() == 255
    assert pixels(load_image(np.array([[True, False]])))[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 3), np.uint8), "may be"),
        (np.zeros((1, 8, 4), np.uint8), "may be"),
        (np.zeros((8, 8, 2), np.uint8), r"expected \(H, W\)"),
        (np.zeros(8, np.uint8), r"expected \(H, W\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"expected \(H, W\)"),
        (np.zeros((0, 8), np.uint8), "at least one pixel"),
        (np.zeros((8, 8), np.int64), "found int64"),
        (np.zeros((8, 8), complex), "found complex128"),
        (np.array([["a"]]), "array of shape"),
        (np.array([[None]]), "array of shape"),
    ],
)
def test_an_array_that_is_not_an_image_is_refused(array, message):
    with pytest.raises(ImageError, match=message):
        load_image(array)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ImageError, match="found 0 x 5"):
        load_image(Image.new("RGB", (0, 5)))


def test_a_file_beyond_the_byte_limit_is_refused():
    data = encoded(photo(), "PNG")
    with pytest.raises(ImageError, match="bytes, more than the 10 allowed") as caught:
        load_image(data, max_bytes=10)
    assert (caught.value.file, caught.value.expected, caught.value.found) == (None, 10, len(data))


def test_loading_does_not_change_the_source():
    image = photo().convert("RGBA")
    before = image.tobytes()
    load_image(image)
    assert image.tobytes() == before
    assert image.mode == "RGBA"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_an_error(kind):
    data = encoded(photo(64, 64), kind, **lossless(kind))
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        with pytest.raises(ImageError):
            load_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_loads_or_raises_an_image_error(kind, capfd):
    chance = random.Random(kind)
    options = {"exif": exif_block(6)} if kind in ("JPEG", "PNG", "WEBP") else {}
    data = encoded(photo(32, 32), kind, **options)
    messages = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in range(150):
            broken = bytearray(data)
            for _ in range(chance.choice((1, 1, 4, 16))):
                at = chance.choice((chance.randrange(len(data)), chance.randrange(min(80, len(data)))))
                broken[at] ^= 1 << chance.randrange(8)
            broken = broken[: chance.randrange(len(data))] if case % 3 == 0 else broken
            try:
                assert load_image(bytes(broken), max_pixels=4_000_000).mode == "RGB"
            except ImageError as error:
                messages.append(str(error))
    assert len(messages) > 10
    assert not any("\n" in message for message in messages)
    assert capfd.readouterr() == ("", "")
