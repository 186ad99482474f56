"""A frame of a TIFF file becomes a Pillow image.

libtiff and Pillow trust a TIFF file in many ways: they follow its offsets, allocate what its tags ask for, and print what
they do not like. So a frame is not given to them as it is. Its tags are read and checked here, and those that describe its
pixels are written to a new TIFF file in memory, together with the compressed pixels. Only that file is decoded.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from vedcore.vision.libtiff import quiet_libtiff
from vedcore.vision.limits import MAX_PIXELS
from vedcore.vision.tiff_directory import Directory, TiffFile

_COMPRESSIONS = {
    1: "none",
    2: "CCITT RLE",
    3: "CCITT G3",
    4: "CCITT G4",
    5: "LZW",
    7: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
}
_OTHERS = {6: "old JPEG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP"}
_REMEDY = "convert it, e.g. with: magick IN.tif -depth 8 -compress zip OUT.tif"
_MAX_PARTS = 1_000_000
_SHORT, _LONG, _UNDEFINED = 3, 4, 7


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the tags of a frame say, checked.

    across, down: the number of tiles or strips in each direction, for each of ``planes`` planes. part: (width, height) of one.
    """

    size: tuple[int, int]
    bits: int
    samples: int
    compression: int
    photometric: int
    planes: int
    part: tuple[int, int]
    across: int
    down: int
    tiled: bool

    @property
    def parts(self) -> int:
        return self.across * self.down * self.planes

    @property
    def part_bytes(self) -> int:
        """The bytes of an uncompressed part."""
        return (self.part[0] * self.bits * self.samples // self.planes + 7) // 8 * self.part[1]


class _TiffImage(TiffImageFile):
    def load_prepare(self) -> None:
        if self._im is None:  # Pillow would warn about a large size, which has been checked
            self.im = Image.new(self.mode, (self.tag_v2[256], self.tag_v2[257]), None).im
        super().load_prepare()

    def load(self) -> Any:
        try:
            with quiet_libtiff():
                return super().load()
        except (OSError, ValueError) as cause:
            raise ValueError(f"the pixels of the TIFF image are damaged ({cause}); scan it or save it again") from cause


def is_picture(tiff: TiffFile, position: int) -> bool:
    """Whether the frame is a picture of its own: neither a smaller copy of another frame nor a mask."""
    try:
        kind = tiff.numbers(tiff.directory(position), 254, (0,))[0]
    except ValueError:  # an ImageError: a frame that is broken is not left out, but gives its error
        return True
    return not kind & 0b101


def open_frame(tiff: TiffFile, position: int, check_size: Callable[[tuple[int, int]], None]) -> Image.Image:
    """The frame whose directory is at ``position``, not decoded yet. Its ``info`` has ``dpi`` if the file gives it.

    check_size: raises ImageError if (width, height) is too large.
    Raises ImageError for a frame that is broken, too large, or of a kind that is not supported.
    """
    tags = tiff.directory(position)
    width, height = (tiff.numbers(tags, tag, (0,))[0] for tag in (256, 257))
    check_size((width, height))
    frame = _described(tiff, tags, (width, height))
    data = _rebuilt(tiff, tags, frame)
    kind = f"{frame.samples} x {frame.bits} bits, photometric {frame.photometric}"
    try:
        image = _TiffImage(io.BytesIO(data))
    except Exception as cause:
        raise tiff.origin.error(
            f"a TIFF image of {kind} is not supported; {_REMEDY}", expected="1 to 16 bits in grey or colour", found=kind
        ) from cause
    image.info.pop("dpi", None)
    image.info.pop("resolution", None)
    dpi = _dpi(tiff, tags)
    if dpi is not None:
        image.info["dpi"] = dpi[::-1] if _orientation(tiff, tags) >= 5 else dpi
    return image


def _described(tiff: TiffFile, tags: Directory, size: tuple[int, int]) -> _Frame:
    """The frame that the tags describe. Raises ImageError for a kind that is not supported and for numbers that contradict."""

    def one(tag: int, default: int) -> int:
        return tiff.numbers(tags, tag, (default,))[0]

    width, height = size
    compression, photometric, samples = one(259, 1), one(262, 0), one(277, 1)
    if compression not in _COMPRESSIONS:
        name = f"{compression} ({_OTHERS[compression]})" if compression in _OTHERS else str(compression)
        supported = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise tiff.origin.error(
            f"TIFF compression {name} is not supported; supported: {supported}; {_REMEDY}",
            expected=supported,
            found=compression,
        )
    depths = set(tiff.numbers(tags, 258, (1,)))
    formats = set(tiff.numbers(tags, 339, (1,)))
    bits = max(depths)
    invertible = photometric != 0 or bits <= 8  # Pillow takes deeper ones for photometric 1
    subsampled = photometric == 6 and compression == 1 and tiff.numbers(tags, 530, (2, 2)) != (1, 1)
    if len(depths) > 1 or not 1 <= bits <= 16 or formats != {1} or samples > 6 or not invertible or subsampled:
        kind = f"{samples} x {'/'.join(map(str, sorted(depths)))} bits, photometric {photometric}"
        raise tiff.origin.error(
            f"a TIFF image of {kind}, sample format {'/'.join(map(str, sorted(formats)))} is not supported; {_REMEDY}",
            expected="1 to 16 bits in grey or colour",
            found=kind,
        )
    planes = samples if one(284, 1) == 2 else 1
    tiled = 324 in tags
    part = (one(322, 0), one(323, 0)) if tiled else (width, min(one(278, height) or height, height))
    most = 2 * max(MAX_PIXELS, width * height)  # the tiles at the edges are larger than the image
    if min(part) < 1 or part[0] * part[1] > most or (tiled and (part[0] % 8 or part[1] % 8)):
        raise tiff.origin.error(
            f"broken TIFF: tiles of {part[0]} x {part[1]}; {_REMEDY}", expected="multiples of 16", found=part
        )
    across, down = -(-width // part[0]), -(-height // part[1])
    if across * part[0] * down * part[1] > most:
        raise tiff.origin.error(f"broken TIFF: tiles of {part[0]} x {part[1]} for {width} x {height} pixels; {_REMEDY}")
    return _Frame(size, bits, samples, compression, photometric, planes, part, across, down, tiled)


def _rebuilt(tiff: TiffFile, tags: Directory, frame: _Frame) -> bytes:
    """A TIFF file of this frame alone. Raises ImageError if its pixels are not all inside the file."""
    parts = [tiff.bytes_at(at, count) for at, count in _places(tiff, tags, frame)]
    first, second = (324, 325) if frame.tiled else (273, 279)
    entries: dict[int, tuple[int, tuple[int, ...] | bytes]] = {
        256: (_LONG, frame.size[:1]),
        257: (_LONG, frame.size[1:]),
        258: (_SHORT, (frame.bits,) * frame.samples),
        259: (_SHORT, (frame.compression,)),
        262: (_SHORT, (frame.photometric,)),
        274: (_SHORT, (_orientation(tiff, tags),)),
        first: (_LONG, (0,) * frame.parts),
        277: (_SHORT, (frame.samples,)),
        second: (_LONG, tuple(map(len, parts))),
        284: (_SHORT, (2 if frame.planes > 1 else 1,)),
    }
    if frame.tiled:
        entries |= {322: (_LONG, frame.part[:1]), 323: (_LONG, frame.part[1:])}
    else:
        entries[278] = (_LONG, frame.part[1:])
    for tag, most in ((266, 1), (317, 1), (338, 6), (530, 2)):  # fill order, predictor, extra samples, chroma
        if tag in tags:
            entries[tag] = (_SHORT, tuple(value & 0xFFFF for value in tiff.numbers(tags, tag, most=most)))
    for tag in (292, 293):  # options of fax codes
        if tag in tags:
            entries[tag] = (_LONG, tuple(value & 0xFFFFFFFF for value in tiff.numbers(tags, tag)))
    if frame.photometric == 3 and frame.bits <= 8:
        colours = tiff.numbers(tags, 320, most=3 << frame.bits)
        if len(colours) != 3 << frame.bits:
            raise tiff.origin.error(f"broken TIFF: expected {3 << frame.bits} colours, found {len(colours)}; {_REMEDY}")
        scale = 257 if max(colours) < 256 else 1  # some programs write 8 bits where 16 are due
        entries[320] = (_SHORT, tuple(value * scale for value in colours))
    if frame.compression == 7 and 347 in tags:
        entries[347] = (_UNDEFINED, bytes(tiff.numbers(tags, 347, most=65536)))
    start = len(_written(tiff.mark, entries))
    offsets = [start]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    entries[first] = (_LONG, tuple(offsets))
    return b"".join([_written(tiff.mark, entries), *parts])


def _places(tiff: TiffFile, tags: Directory, frame: _Frame) -> list[tuple[int, int]]:
    """The position and the number of bytes of each strip or tile. Raises ImageError if one is missing or outside the file."""
    first, second = (324, 325) if frame.tiled else (273, 279)
    starts = tiff.numbers(tags, first, most=_MAX_PARTS)
    counts = tiff.numbers(tags, second, most=_MAX_PARTS)
    if frame.compression == 1:
        whole, last = frame.part_bytes, frame.part_bytes
        if not frame.tiled:
            last = whole // frame.part[1] * (frame.size[1] - (frame.down - 1) * frame.part[1])
        counts = tuple(last if (n + 1) % frame.down == 0 else whole for n in range(len(starts)))
    if len(starts) < frame.parts or len(counts) < frame.parts:
        raise tiff.origin.error(
            f"broken TIFF: expected {frame.parts} strips or tiles, found {min(len(starts), len(counts))}; {_REMEDY}",
            expected=frame.parts,
            found=min(len(starts), len(counts)),
        )
    places = list(zip(starts, counts, strict=False))[: frame.parts]
    if sum(count for _, count in places) > tiff.size or any(
        count < 1 or at + count > tiff.size for at, count in places
    ):
        raise tiff.origin.error(
            f"broken TIFF: its pixels are not all inside the {tiff.size} bytes of the file; "
            "copy or scan the file again, for it is probably truncated"
        )
    return places


def _written(mark: bytes, entries: dict[int, tuple[int, tuple[int, ...] | bytes]]) -> bytes:
    """The header and the only directory of a TIFF file, then the values that do not fit into the directory."""
    order = "<" if mark == b"II" else ">"
    after = 8 + 2 + 12 * len(entries) + 4
    table, values = [struct.pack(order + "H", len(entries))], b""
    for tag, (kind, found) in sorted(entries.items()):
        form = {_SHORT: "H", _LONG: "I", _UNDEFINED: "B"}[kind]
        data = struct.pack(f"{order}{len(found)}{form}", *found)
        if len(data) > 4:
            place = struct.pack(order + "I", after + len(values))
            values += data + bytes(len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        table.append(struct.pack(order + "HHI", tag, kind, len(found)) + place)
    return mark + struct.pack(order + "HI", 42, 8) + b"".join(table) + bytes(4) + values


def _orientation(tiff: TiffFile, tags: Directory) -> int:
    """1 to 8; 1 if the frame has none or a broken one, as in EXIF."""
    try:
        value = tiff.numbers(tags, 274, (1,))[0]
    except ValueError:
        return 1
    return value if 1 <= value <= 8 else 1


def _dpi(tiff: TiffFile, tags: Directory) -> tuple[float, float] | None:
    across, down = tiff.fraction(tags, 282), tiff.fraction(tags, 283)
    try:
        unit = tiff.numbers(tags, 296, (2,))[0]
    except ValueError:
        unit = 1
    if unit not in (2, 3) or across is None:
        return None
    scale = 2.54 if unit == 3 else 1.0
    return across * scale, (across if down is None else down) * scale
