"""TIFF files of every supported kind become images; everything else becomes an ImageError, and nothing is printed."""

from __future__ import annotations

import io
import random
import struct
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from vedcore import ImageError
from vedcore.vision import image_dpi, load_image
from vedcore.vision.origin import Origin
from vedcore.vision.tiff_directory import TiffFile

LOSSLESS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")
FAX = ("group3", "group4", "tiff_ccitt")


def picture(mode="RGB", width=40, height=24):
    values = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(values.repeat(4, 0).repeat(4, 1)).convert(mode)


def tiff(image, **options):
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image)


def directory(values, *, order="<", data=b"", big=False, following=0):
    """A TIFF file of one directory: ``values`` is {tag: (type, numbers)}; ``data`` lies at position 16."""
    start = 16 + len(data)
    head, entry, fits = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    forms = {1: "B", 3: "H", 4: "I", 5: "II", 16: "Q"}
    room = start + struct.calcsize(order + head) + len(values) * (struct.calcsize(order + entry) + fits) + fits
    table, far = struct.pack(order + head, len(values)), b""
    for tag, (kind, numbers) in sorted(values.items()):
        packed = struct.pack(f"{order}{forms[kind] * (len(numbers) // len(forms[kind]))}", *numbers)
        count = len(numbers) // len(forms[kind])
        table += struct.pack(order + entry, tag, kind, count)
        place = struct.pack(order + ("Q" if big else "I"), room + len(far))
        far += packed if len(packed) > fits else b""
        table += place if len(packed) > fits else packed.ljust(fits, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head_bytes = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    return (
        (mark + head_bytes).ljust(16, b"\0")
        + data
        + table
        + struct.pack(order + ("Q" if big else "I"), following)
        + far
    )


def grey(width=8, height=2, **changes):
    """The tags of an uncompressed grey image whose pixels lie at position 16."""
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1])}
    tags |= {273: (4, [16]), 277: (3, [1]), 278: (3, [height]), 279: (4, [width * height])}
    return {key: value for key, value in (tags | changes.pop("tags", {})).items() if value is not None}


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "CMYK", "RGBA"])
@pytest.mark.parametrize("compression", LOSSLESS)
def test_a_lossless_tiff_has_the_pixels_that_were_saved(mode, compression):
    image = picture(mode)
    np.testing.assert_array_equal(pixels(load_image(tiff(image, compression=compression))), pixels(load_image(image)))


@pytest.mark.parametrize("compression", FAX)
def test_a_fax_has_the_pixels_that_were_saved(compression):
    image = picture("1")
    np.testing.assert_array_equal(pixels(load_image(tiff(image, compression=compression))), pixels(load_image(image)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_in_a_tiff_is_close_to_the_pixels_that_were_saved(mode):
    image = picture(mode, 64, 64)
    found = pixels(load_image(tiff(image, compression="jpeg", quality=95))).astype(int)
    assert np.abs(found - pixels(load_image(image))).mean() < 12


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_both_byte_orders_and_bigtiff_are_read(order, big):
    data = directory(grey(), order=order, big=big, data=bytes(range(16)))
    assert pixels(load_image(data))[..., 0].ravel().tolist() == list(range(16))


def test_strips_and_tiles_are_joined():
    image = picture("L", 64, 48)
    rows = np.asarray(image)
    strips = directory(
        grey(
            64, 48, tags={273: (4, [16 + 64 * 20 * n for n in range(3)]), 278: (3, [20]), 279: (4, [1280, 1280, 512])}
        ),
        data=rows.tobytes(),
    )
    tiles = [rows[y : y + 16, x : x + 32].tobytes() for y in (0, 16, 32) for x in (0, 32)]
    tags = {273: None, 278: None, 279: None, 322: (3, [32]), 323: (3, [16])}
    tags |= {324: (4, [16 + 512 * n for n in range(6)]), 325: (4, [512] * 6)}
    for data in (strips, directory(grey(64, 48, tags=tags), data=b"".join(tiles))):
        np.testing.assert_array_equal(pixels(load_image(data))[..., 0], rows)


def test_planes_are_joined():
    planes = [np.full((2, 8), value, np.uint8) for value in (10, 20, 30)]
    tags = {258: (3, [8] * 3), 262: (3, [2]), 277: (3, [3]), 284: (3, [2])}
    tags |= {273: (4, [16, 32, 48]), 279: (4, [16] * 3)}
    data = directory(grey(tags=tags), data=b"".join(plane.tobytes() for plane in planes))
    assert np.unique(pixels(load_image(data)).reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]


def test_sixteen_bits_keep_the_upper_eight():
    for order in "<>":
        values = np.array([[0, 255, 256, 65535]], order + "u2")
        data = directory(grey(4, 1, tags={258: (3, [16]), 279: (4, [8])}), order=order, data=values.tobytes())
        assert pixels(load_image(data))[0, :, 0].tolist() == [0, 0, 1, 255]


def test_a_palette_of_eight_bits_is_read_like_one_of_sixteen():
    colours = [0] * 768
    colours[5], colours[256 + 5], colours[512 + 5] = 200, 100, 50
    for scale in (1, 257):
        tags = {262: (3, [3]), 320: (3, [value * scale for value in colours])}
        data = directory(grey(tags=tags), data=bytes([5] * 16))
        assert pixels(load_image(data))[0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_tiff_is_upright_and_has_the_resolution_of_its_rows(orientation):
    image = picture("L")
    data = tiff(image, tiffinfo={274: orientation}, dpi=(300, 150))
    found = load_image(data)
    np.testing.assert_array_equal(pixels(found), pixels(load_image(Image.open(io.BytesIO(data)))))
    assert found.size == ((24, 40) if orientation >= 5 else (40, 24))
    assert image_dpi(found) == (150 if orientation >= 5 else 300)
    np.testing.assert_array_equal(pixels(load_image(found)), pixels(found))


@pytest.mark.parametrize(
    ("tags", "dpi"),
    [
        ({282: (5, [300, 1])}, 300),
        ({282: (5, [118, 1]), 283: (5, [118, 1]), 296: (3, [3])}, 118 * 2.54),
        ({282: (5, [300, 1]), 296: (3, [1])}, None),
        ({282: (5, [1, 1])}, None),
        ({282: (5, [300, 0])}, None),
        ({282: (5, [4_000_000_000, 1])}, None),
        ({282: (3, [300])}, None),
        ({}, None),
    ],
)
def test_the_resolution_is_that_of_the_tags_unless_it_is_nonsense(tags, dpi):
    assert image_dpi(load_image(directory(grey(tags=tags), data=bytes(16)))) == dpi


@pytest.mark.parametrize(("kind", "dpi"), [("PNG", 300), ("JPEG", 300), ("BMP", 300), ("PNG", 1), ("JPEG", None)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_other_formats_give_their_resolution(kind, dpi, mode):
    file = io.BytesIO()
    picture(mode).save(file, kind, **({} if dpi is None else {"dpi": (dpi, dpi)}))
    found = image_dpi(load_image(file.getvalue()))
    assert found is None if dpi in (1, None) else found == pytest.approx(dpi, rel=1e-3)


@pytest.mark.parametrize("info", [{"dpi": 300}, {"dpi": ("a", 1)}, {"dpi": (300, float("nan"))}, {"dpi": (0, 0)}, {}])
def test_a_broken_resolution_is_none(info):
    image = picture()
    image.info = info
    assert image_dpi(load_image(image)) is None


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({259: (3, [50000])}, r"compression 50000 \(Zstandard\) is not supported; supported: .*convert it, e.g. with"),
        ({259: (3, [6])}, r"old JPEG"),
        ({259: (3, [9999])}, r"compression 9999 is not supported"),
        ({258: (3, [32])}, r"1 x 32 bits, photometric 1.* not supported; convert it"),
        ({258: (3, [64])}, r"64 bits"),
        ({258: (3, [16]), 262: (3, [0])}, r"16 bits, photometric 0"),
        ({339: (3, [3]), 258: (3, [32])}, r"sample format 3"),
        ({262: (3, [32844])}, r"photometric 32844 is not supported; convert it"),
        ({262: (3, [6]), 277: (3, [3]), 258: (3, [8] * 3)}, r"photometric 6"),
        ({277: (3, [7])}, r"7 x 8 bits"),
        ({262: (3, [3]), 320: (3, [1, 2, 3])}, r"expected 768 colours, found 3"),
        ({256: None}, r"expected at least one pixel, found 0 x 2"),
        ({256: (4, [100_000]), 257: (4, [100_000])}, r"pixels, more than the 64000000 allowed"),
        ({273: (4, [2**31])}, r"not all inside the .* bytes"),
        ({273: None}, r"expected 1 strips or tiles, found 0"),
        ({278: (3, [1])}, r"expected 2 strips or tiles, found 1"),
        ({273: (5, [1, 1])}, r"tag 273: expected 1 to 1000000 integers"),
        ({322: (4, [2**31]), 323: (4, [16]), 324: (4, [16]), 325: (4, [16])}, r"tiles of 2147483648 x 16"),
        ({322: (4, [16]), 323: (4, [2**24]), 324: (4, [16]), 325: (4, [16])}, r"tiles of 16 x 16777216"),
        ({322: (4, [15]), 323: (4, [16]), 324: (4, [16]), 325: (4, [16])}, r"multiples of 16|tiles of 15"),
    ],
)
def test_a_frame_that_cannot_be_read_is_an_error_with_a_remedy(tags, message, capfd):
    start = time.perf_counter()
    with pytest.raises(ImageError, match=message):
        load_image(directory(grey(tags=tags), data=bytes(16)))
    assert time.perf_counter() - start < 1
    assert capfd.readouterr() == ("", "")


def test_many_small_tiles_of_nothing_are_refused():
    tags = {256: (4, [1]), 257: (4, [4_000_000]), 322: (4, [1024]), 323: (4, [1024])}
    tags |= {324: (4, [16] * 3907), 325: (4, [16] * 3907), 259: (3, [4]), 258: (3, [1])}
    with pytest.raises(ImageError, match="tiles of 1024 x 1024 for 1 x 4000000 pixels"):
        load_image(directory(grey(tags=tags), data=bytes(16)))


def test_overlapping_strips_are_refused():
    tags = {257: (4, [1000]), 278: (4, [1]), 273: (4, [16] * 1000), 279: (4, [4096] * 1000), 259: (3, [5])}
    with pytest.raises(ImageError, match="not all inside"):
        load_image(directory(grey(tags=tags), data=bytes(4096)))


@pytest.mark.parametrize("compression", ["group4", "tiff_ccitt", "tiff_lzw", "tiff_adobe_deflate"])
def test_damaged_pixels_are_an_error_and_nothing_is_printed(compression, capfd):
    data = bytearray(tiff(picture("1", 64, 64), compression=compression))
    tags = TiffFile(io.BytesIO(data), Origin("x")).directory(int.from_bytes(data[4:8], "little"))
    at = int.from_bytes(data[tags[273][2] : tags[273][2] + 4], "little")
    data[at + 4 : at + 24] = b"\xff\x00\xaa\x55" * 5
    with pytest.raises(ImageError, match=r"pixels of the TIFF image are damaged .* scan it or save it again"):
        load_image(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_a_chain_of_frames_that_comes_back_ends():
    data = directory(grey(), data=bytes(16), following=32)
    assert TiffFile(io.BytesIO(data), Origin("x")).frame_positions() == [32]


def test_a_link_out_of_the_file_is_a_frame_with_an_error():
    tiff_file = TiffFile(io.BytesIO(directory(grey(), data=bytes(16), following=10**6)), Origin("x"))
    assert tiff_file.frame_positions() == [32, 10**6]
    with pytest.raises(ImageError, match="end of the file"):
        tiff_file.directory(10**6)


def test_the_number_of_frames_is_bounded():
    chain = b"".join(struct.pack("<HHHIII", 1, 256, 3, 1, 8, 8 + 18 * (n + 1)) for n in range(30))
    with pytest.raises(ImageError, match="more than 20 pages; split the file"):
        TiffFile(io.BytesIO(b"II*\0" + struct.pack("<I", 8) + chain), Origin("x")).frame_positions(20)


@pytest.mark.parametrize("compression", [*LOSSLESS, *FAX, "jpeg"])
def test_a_damaged_tiff_loads_or_raises_an_image_error(compression, capfd):
    chance, messages = random.Random(compression), []
    mode = "1" if compression in FAX else "RGB"
    data = tiff(picture(mode), compression=compression, tiffinfo={274: 6})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in range(150):
            broken = bytearray(data)
            for _ in range(chance.choice((1, 1, 4, 16))):
                broken[chance.choice((chance.randrange(len(data)), len(data) - 1 - chance.randrange(160)))] ^= (
                    1 << chance.randrange(8)
                )
            broken = broken[: chance.randrange(len(data))] if case % 5 == 0 else broken
            try:
                assert load_image(bytes(broken), max_pixels=4_000_000).mode == "RGB"
            except ImageError as error:
                messages.append(str(error))
    assert len(messages) > 10
    assert not any("\n" in message for message in messages)
    assert capfd.readouterr() == ("", "")
