"""Draw a line as a scan, a photograph or a screen shows it, with more kinds of damage than ``drawing.py``.

``print_line`` draws a text at its size, spaces its letters, wears its ink, frames it with margins, rules and remains of other
lines, and gives it paper. Cover is an image of mode "L": 0 is bare paper, 255 is full ink.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from render_lines import drawing
from render_lines.faces import Face
from render_lines.latin import Line
from vedcore.config import field, strict

LARGEST_STROKES = 64  # pixels per em: larger print is not worn, because effects on single pixels would take too long
LARGEST_LONG = 2400  # pixels per em, divided by the number of characters: larger long lines teach nothing more
INPUT = (384, 32)  # pixels of the reader's input, which decide whether a frame leaves letters that can be read
LEAST_HEIGHT = 12  # pixels of the ink in the reader's input
LEAST_WIDTH = 5.0  # pixels of a character, on average, in the reader's input
_SMALL_CAPITALS = 0.78  # heights of the capitals

Font = ImageFont.FreeTypeFont
Run = tuple[float, float, str, Font]
Happens = Callable[[float], bool]


@strict
class Print:
    """``[print]``: the share of lines with each property, drawn independently.

    small, large: below 14 and above 40 pixels per em; the other lines are between. upscaled: the share of the small lines that
    is enlarged after drawing. ``print_line`` applies the properties in order.
    """

    small: float = field.rate(0.2)
    large: float = field.rate(0.12)
    upscaled: float = field.rate(0.5)
    spaced: float = field.rate(0.35)
    gaps: float = field.rate(0.5)
    small_capitals: float = field.rate(0.03)
    squeezed: float = field.rate(0.15)
    jittered: float = field.rate(0.06)
    tilted: float = field.rate(0.35)
    blurred: float = field.rate(0.35)
    scanned: float = field.rate(0.25)
    worn: float = field.rate(0.08)
    spread: float = field.rate(0.08)
    specked: float = field.rate(0.08)
    tight: float = field.rate(0.5)
    wide_margins: float = field.rate(0.12)
    cropped: float = field.rate(0.05)
    widened: float = field.rate(0.85)
    neighbours: float = field.rate(0.12)
    underlined: float = field.rate(0.05)
    boxed: float = field.rate(0.05)
    ruled: float = field.rate(0.08)
    bleeding: float = field.rate(0.08)
    light_on_dark: float = field.rate(0.12)
    shaded: float = field.rate(0.25)
    grainy: float = field.rate(0.4)
    jpeg: float = field.rate(0.35)
    tinted: float = field.rate(0.15)


def print_line(line: Line, face: Face, look: Print, chance: Random, grain: np.random.Generator) -> Image.Image:
    """The image of a line in a face, in mode "L" or "RGB".

    Raises ValueError: the text leaves no ink.
    """

    def happens(share: float) -> bool:
        return chance.random() < share

    size = min(_size(look, chance), max(LARGEST_LONG // len(line.text), 40))
    cover = _inked(line, face, size, look, chance, happens)
    if happens(look.squeezed):
        cover = cover.resize(
            (max(round(cover.width * chance.uniform(0.7, 1.2)), 1), cover.height), Image.Resampling.BILINEAR
        )
    if happens(look.tilted):
        cover = _tilted(cover, chance)
    if happens(look.blurred):
        cover = cover.filter(ImageFilter.GaussianBlur(chance.uniform(0, 0.045) * size))
    cover = drawing.framed(cover, (drawing.TAIL,) * 4)
    if size >= 12 and size <= LARGEST_STROKES:
        if happens(look.scanned):
            cover = drawing.scanned(cover, chance, grain)
        if happens(look.worn):
            cover = worn(cover, chance, grain)
    if size >= 18 and happens(look.spread):
        cover = cover.filter(ImageFilter.MaxFilter(3))
    cut = (bool(line.before), bool(line.after))
    cover = _framed(cover, line, cut, look, chance, happens)
    if happens(look.bleeding):
        cover = bleeding(cover, chance)
    if happens(look.specked):
        cover = specked(cover, chance)
    image = _on_paper(cover, look, chance, grain, happens)
    if size < 14 and happens(look.upscaled):
        factor = chance.uniform(1.3, 3.5)
        way = chance.choice((Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST))
        image = image.resize((round(image.width * factor), round(image.height * factor)), way)
    if happens(look.jpeg):
        # Strong compression of small print leaves nothing to read.
        image = drawing.jpeg(image, chance.randint(20 if size > 18 else 45, 85))
    return drawing.tinted(image, chance) if happens(look.tinted) else image


def _size(look: Print, chance: Random) -> int:
    share = chance.random()
    if share < look.small:
        return chance.randint(8, 13)
    if share < look.small + look.large:
        return round(math.exp(chance.uniform(math.log(40), math.log(200))))
    return round(math.exp(chance.uniform(math.log(14), math.log(40))))


def _inked(line: Line, face: Face, size: int, look: Print, chance: Random, happens: Happens) -> Image.Image:
    """The cover of the text and of the letters next to it, which are cut off. An underline is ink too."""
    capitals = _SMALL_CAPITALS if happens(look.small_capitals) and _has_both_cases(line.text) else 0.0
    spacing = (
        chance.uniform(-0.02, 0.03)
        if not happens(look.spaced)
        else chance.choice((-0.035, 0.06, 0.12, 0.25)) * chance.uniform(0.3, 1)
    )
    # Tight letters of small print would flow into each other; wide ones would leave no space between words.
    spacing = max(spacing, 0.0) if size < 14 else spacing
    gap = chance.uniform(0.85, 1.1) if not happens(look.gaps) else chance.uniform(0.62, 2.0)
    jitter = 0.03 * size if happens(look.jittered) else 0.0
    supersampled = size < 24 and chance.random() < 0.5
    scale = 3 if supersampled else 1
    font = face.font(size * scale, shaped=not capitals and not jitter and abs(spacing) < 0.02 and chance.random() < 0.4)
    small = face.font(max(round(size * scale * capitals), 1)) if capitals else None
    runs, left, right, total = _layout(line, font, small, spacing * size * scale, gap, jitter * scale, chance)
    size *= scale
    room = size // 2 + drawing.TAIL
    cover = Image.new("L", (math.ceil(total) + 2 * room, 2 * size + 2 * room), 0)
    draw, baseline = ImageDraw.Draw(cover), room + round(1.2 * size)
    for x, rise, text, with_font in runs:
        draw.text((room + x, baseline + rise), text, fill=255, font=with_font, anchor="ls")
    start = 0 if left is None else round(room + left)
    end = cover.width if right is None else round(room + right)
    if happens(look.underlined) and not set(line.text) & set("_,;"):
        thick = max(round(size * chance.uniform(0.03, 0.09)), 1)
        y = baseline + round(size * chance.uniform(0.1, 0.3))
        draw.rectangle((max(room, start), y, min(math.ceil(room + total), end) - 1, y + thick - 1), fill=255)
    cover = cover.crop((start, 0, end, cover.height))
    if scale > 1:
        cover = cover.reduce(scale)
    return cover


def _layout(
    line: Line, font: Font, small: Font | None, spacing: float, gap: float, jitter: float, chance: Random
) -> tuple[list[Run], float | None, float | None, float]:
    """(x, rise, text, font) of each run; the start and the end of the text if it is cut there; the length of all runs."""
    whole = line.before + line.text + line.after
    space = font.getlength(" ") * gap + spacing
    # A narrow space must still be wider than what lies between two letters.
    space = max(space, 0.17 * font.size + 2 * max(spacing, 0))
    single = small is not None or jitter > 0 or abs(spacing) * 20 > font.size * 0.2
    runs: list[Run] = []
    x = 0.0
    if not single:
        spacing = 0.0
    for number, word in enumerate(whole.split(" ")):
        if number:
            x += space
        for part in word if single else [word]:
            used, shown = font, part
            if small is not None and part.islower() and len(part.upper()) == 1:
                used, shown = small, part.upper()
            rise = chance.uniform(-jitter, jitter) if jitter else 0.0
            if shown:
                runs.append((x, rise, shown, used))
                x += used.getlength(shown) + spacing
    x -= spacing
    left = right = None
    if line.before:
        first = font.getlength(line.before) + (spacing if single else 0)
        left = first - chance.uniform(0, 0.2) * first
    if line.after:
        last = font.getlength(line.after)
        right = x - last + chance.uniform(0, 0.2) * last
    return runs, left, right, x


def _has_both_cases(text: str) -> bool:
    return any(mark.isupper() for mark in text) and any(mark.islower() and len(mark.upper()) == 1 for mark in text)


def _tilted(cover: Image.Image, chance: Random) -> Image.Image:
    """The cover turned by up to two degrees, less if it is long, because a page is straightened before it is cut."""
    most = min(2.0, math.degrees(math.atan2(0.35 * cover.height, cover.width)))
    return cover.rotate(chance.uniform(-most, most), Image.Resampling.BILINEAR, expand=True)


def worn(cover: Image.Image, chance: Random, grain: np.random.Generator) -> Image.Image:
    """The cover with paler patches, down to a third of the ink."""
    width, height = cover.size
    patch = max(chance.uniform(0.06, 0.25) * height, 1.5)
    shape = (math.ceil(height / patch) + 1, math.ceil(width / patch) + 1)
    levels = np.clip(grain.standard_normal(shape, np.float32) * 70 + chance.uniform(170, 240), 85, 255).astype(np.uint8)
    return ImageChops.multiply(cover, Image.fromarray(levels).resize(cover.size, Image.Resampling.BILINEAR))


def bleeding(cover: Image.Image, chance: Random) -> Image.Image:
    """The cover with the print of the other side of the paper: mirrored, faint and blurred."""
    back = ImageOps.mirror(cover)
    across, down = cover.width // 2, cover.height // 2
    back = ImageChops.offset(back, chance.randint(-across, across), chance.randint(-down, down))
    back = back.filter(ImageFilter.GaussianBlur(0.6 + 0.02 * cover.height))
    share = chance.uniform(0.06, 0.25)
    return ImageChops.lighter(cover, back.point([round(level * share) for level in range(256)]))


def specked(cover: Image.Image, chance: Random) -> Image.Image:
    """The cover with specks of ink and of paper that are smaller than a full stop."""
    cover = cover.copy()
    draw, most = ImageDraw.Draw(cover), cover.height / 32
    for _ in range(chance.randint(1, 3 + cover.width // 40)):
        x, y, size = chance.randrange(cover.width), chance.randrange(cover.height), chance.uniform(0, most)
        draw.ellipse((x, y, x + size, y + size), fill=chance.choice((0, 150, 255)))
    return cover


def _framed(
    cover: Image.Image, line: Line, cut: tuple[bool, bool], look: Print, chance: Random, happens: Happens
) -> Image.Image:
    """The cover with margins, a box, rules, and parts of the lines above and below."""
    cover = drawing.framed(cover, (0,) * 4)
    height, width = cover.height, cover.width
    em = max(height, 8)
    margins = _margins(height, cut, look, chance, happens)
    boxed = happens(look.boxed) and not any(cut)
    ruled = not boxed and happens(look.ruled)
    if boxed or ruled:
        margins = [max(margin, round(0.22 * em) + 2) for margin in margins]
    left, top, right, bottom = _legible(margins, (width, height), len(line.text))
    ink = (left, top, left + width, top + height)
    frame = [width + left + right, max(height + top + bottom, 4)]
    if happens(look.widened):
        wide = chance.choice((3.0, 4.0, chance.uniform(2, 14), chance.uniform(2, 8))) * frame[1]
        frame[0] = max(frame[0], round(wide))
    page = Image.new("L", tuple(frame), 0)
    page.paste(cover, (left, top))
    if boxed:
        _box(ImageDraw.Draw(page), ink, frame, em, chance)
    elif ruled:
        _rules(ImageDraw.Draw(page), ink, frame, em, chance)
    elif happens(look.neighbours):
        _neighbours(page, cover, ink, chance)
    return page


def _margins(height: int, cut: tuple[bool, bool], look: Print, chance: Random, happens: Happens) -> list[int]:
    """Pixels of paper on the left, above, on the right and below. Negative numbers crop the ink."""
    em = max(height, 8)
    if happens(look.tight):
        margins = [chance.randint(1, 5) for _ in range(4)]
    elif happens(look.wide_margins):
        margins = [round(em * chance.uniform(0, most)) for most in (5, 0.8, 5, 0.8)]
    else:
        margins = [round(em * chance.uniform(0.02, most)) for most in (0.6, 0.4, 0.6, 0.4)]
    if happens(look.cropped):
        at = chance.choice((1, 3))
        margins[at] = -chance.randint(1, max(height // 18, 1)) if height > 14 else 0
    for at, side in enumerate(cut):
        if side:
            margins[2 * at] = chance.choice((0, 0, 1, 2, chance.randint(0, 5)))
    return margins


def _legible(margins: list[int], ink: tuple[int, int], characters: int) -> list[int]:
    """The margins, reduced until the ink is high enough and its characters are wide enough in the reader's input."""
    width, height = ink
    spare = (
        max(width * INPUT[0] / (LEAST_WIDTH * max(characters, 1)) - width, 6),
        max(height * INPUT[1] / LEAST_HEIGHT - height, 2),
    )
    narrowed = list(margins)
    for at in (0, 1):
        over = max(margins[at], 0) + max(margins[at + 2], 0)
        if over > spare[at]:
            for side in (at, at + 2):
                narrowed[side] = int(margins[side] * spare[at] / over)
    return narrowed


def _box(draw: ImageDraw.ImageDraw, ink: tuple[int, int, int, int], frame: list[int], em: int, chance: Random) -> None:
    """A frame of any width around the text, sometimes with round corners. The paper may end at it."""
    thick = max(round(em * chance.uniform(0.02, 0.09)), 1)
    near = max(round(0.14 * em), 2)
    left, top = (chance.randint(0, max(edge - near - thick, 0)) for edge in ink[:2])
    right, bottom = (
        chance.randint(min(edge + near + thick, last), last)
        for edge, last in zip(ink[2:], (frame[0] - 1, frame[1] - 1), strict=True)
    )
    shade = chance.choice((255, 255, 160, 110))
    draw.rounded_rectangle((left, top, right, bottom), chance.choice((0, 0, 0, em // 4)), outline=shade, width=thick)


def _rules(
    draw: ImageDraw.ImageDraw, ink: tuple[int, int, int, int], frame: list[int], em: int, chance: Random
) -> None:
    """The rules of a table on some sides, from edge to edge of the paper."""
    thick = max(round(em * chance.uniform(0.02, 0.08)), 1)
    near = max(round(0.14 * em), 2)
    shade = chance.choice((255, 255, 160, 110))
    width, height = frame
    sides = chance.choice(("b", "b", "t", "tb", "l", "r", "lr", "lrb", "lb", "rb", "lrtb"))
    if "l" in sides:
        x = chance.randint(0, max(ink[0] - near - thick, 0))
        draw.rectangle((x, 0, x + thick - 1, height), fill=shade)
    if "r" in sides:
        x = chance.randint(min(ink[2] + near, width - thick), width - thick)
        draw.rectangle((x, 0, x + thick - 1, height), fill=shade)
    if "t" in sides:
        y = chance.randint(0, max(ink[1] - near - thick, 0))
        draw.rectangle((0, y, width, y + thick - 1), fill=shade)
    if "b" in sides:
        y = chance.randint(min(ink[3] + near, height - thick), height - thick)
        draw.rectangle((0, y, width, y + thick - 1), fill=shade)


def _neighbours(page: Image.Image, cover: Image.Image, ink: tuple[int, int, int, int], chance: Random) -> None:
    """The visible parts of the lines above and below: the lower ends of one, the upper ends of the other."""
    other = ImageChops.offset(cover, chance.randint(0, cover.width), 0)
    if chance.random() < 0.6 and ink[1] > 4:
        rows = chance.randint(1, max(min(ink[1] - 2, cover.height // 4), 1))
        page.paste(other.crop((0, cover.height - rows, cover.width, cover.height)), (chance.randint(-9, 9), 0))
    below = page.height - ink[3]
    if chance.random() < 0.6 and below > 4:
        rows = chance.randint(1, max(min(below - 2, cover.height // 4), 1))
        page.paste(other.crop((0, 0, cover.width, rows)), (chance.randint(-9, 9), page.height - rows))


def _on_paper(
    cover: Image.Image, look: Print, chance: Random, grain: np.random.Generator, happens: Happens
) -> Image.Image:
    """The cover as ink of one grey level on paper of another, in uneven light, with noise."""
    dark = chance.choice((chance.uniform(0, 40), chance.uniform(0, 130)))
    light = min(chance.choice((chance.uniform(225, 255), chance.uniform(150, 255), 255)), 255)
    light = max(light, dark + 80)
    paper, ink_level = (dark, light) if happens(look.light_on_dark) else (light, dark)
    if not happens(look.shaded + look.grainy):
        return cover.point([round(paper + (ink_level - paper) * level / 255) for level in range(256)])
    levels = drawing.printed(cover, paper, ink_level)
    share = chance.uniform(0, look.shaded + look.grainy)
    if share < look.shaded or chance.random() < 0.3:
        levels = drawing.shaded(levels, chance)
    if share >= look.shaded or chance.random() < 0.3:
        # Strong grain hides faint print: it stays below a seventh of the contrast.
        most = min(16.0, (light - dark) / 7)
        levels = levels + grain.standard_normal(levels.shape, np.float32) * np.float32(chance.uniform(1, most))
    return drawing.picture(levels)
