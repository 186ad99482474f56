"""The worst lines of an evaluation as HTML: their pictures, what was read, and where the decoder looked for each letter."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from vedcore.training.attention import Letter, SeenRow
from vedcore.training.evaluation import ReadLine, differences
from vedcore.vision import as_jpeg

_HEIGHT = 56  # pixels of a row in the page
_WIDEST = 920  # pixels
_LARGEST = (768, 192)  # pixels of a picture in the file
_FONT = 14  # pixels of a letter below a picture, in a row of full width
_LEVELS = 6  # letters that are close together stand below each other
_FAINT = 0.04  # of the largest share of a letter: less is not drawn

STYLE = """
.line { border-top: 1px solid var(--line); padding: .8rem 0; break-inside: avoid }
.pieces { display: flex; flex-wrap: wrap; column-gap: 1rem }
.seen { position: relative; container-type: inline-size; max-width: 100%; margin: .3rem 0 }
.seen img { display: block; width: 100%; outline: 1px solid var(--line) } .letters { position: relative }
.letters span { position: absolute; transform: translateX(-50%); white-space: pre; cursor: default; line-height: 1;
  padding: 5px 0 1px; left: calc(var(--x) * 1%); top: calc(2px + var(--y) * 1.55em) }
.letters span::before { content: ""; position: absolute; top: 0; left: calc(50% - var(--l) * 1cqw); height: 3px;
  width: max(2px, calc(var(--w) * 1cqw)); background: var(--heat); opacity: .8; print-color-adjust: exact }
.letters .gap { opacity: .45 } .letters i { position: absolute; inset: auto 0 100%; visibility: hidden; pointer-events: none }
.letters span:hover { outline: 1px solid; z-index: 1 } .letters span:hover + i { visibility: visible }
.letters .wrong { color: var(--bad); font-weight: 700 }
.letters, .texts { font-family: ui-monospace, "DejaVu Sans Mono", monospace }
.texts { overflow-x: auto; white-space: pre; margin: .4rem 0; padding: 2px 0 }
.texts b { font-weight: 400; color: var(--soft) }
.other, .added, .lost { border-radius: 2px; padding: 1px 0; color: var(--bad); background: var(--shade) }
.other { box-shadow: 0 0 0 1px var(--bad) }
.added { text-decoration: underline; text-decoration-thickness: 2px; font-weight: 700 }
.lost { text-decoration: line-through; text-decoration-thickness: 2px }
@media print { .letters i { display: none } .texts { white-space: pre-wrap } }
"""
"""The rules of a page that contains lines. The page defines the colours."""


def worst_lines(lines: Sequence[ReadLine], seen: Mapping[str, Sequence[SeenRow]]) -> str:
    """HTML of ``lines``, the rows of each by its source."""
    if not lines:
        return ""
    letters = [letter for rows in seen.values() for row in rows for letter in row.letters]
    explained = (
        "<p>Framed letters are others in the <span class=other>text</span> and in the <span class=other>reading</span>. "
        "A letter that is struck out was <span class=lost>not read</span>; one that is underlined was "
        "<span class=added>added</span>. "
    )
    if any(letter.attention is not None for letter in letters):
        explained += (
            "Each picture is what the model saw. Below it, each letter of the reading stands where the decoder looked when it "
            "wrote it; on its bar is half of the attention. Point at a letter to see the attention on the picture.</p>"
        )
    elif letters:
        explained += (
            "Each picture is what the model saw. Where the decoder looked is not known: the states that it reads are no grid "
            "of patches of the picture.</p>"
        )
    return f"<h2>The worst lines</h2>{explained}{''.join(_line(line, seen.get(line.source, ())) for line in lines)}"


def _line(line: ReadLine, rows: Sequence[SeenRow]) -> str:
    parts = differences(line.text, line.read)
    texts = f"<b>text </b>{_marked(parts, 0, 'lost')}\n<b>read </b>{_marked(parts, 1, 'added')}"
    pictures = "".join(_row(row, wrong) for row, wrong in zip(rows, _wrong_letters(rows, parts), strict=True))
    errors = "1 error" if line.errors == 1 else f"{line.errors} errors"
    ended = "" if line.stop_reason == "eos" else f" · stopped: {escape(line.stop_reason)}"
    probability = "" if line.probability is None else f" · probability {line.probability:.3f}"
    notes = f"<small>{errors} · confidence {line.confidence:.3f}{probability}{ended} · {escape(line.source)}</small>"
    return f'<div class="line"><div class="pieces">{pictures}</div><div class="texts">{texts}</div>{notes}</div>\n'


def _marked(parts: Iterable[tuple[str, str]], side: int, alone: str) -> str:
    """One of the two texts, each letter in the column of its counterpart. alone: the class of a part without one."""
    marked = []
    for part in parts:
        own, other = part[side], part[1 - side]
        if own == other:
            marked.append(escape(own))
        elif own:
            kind = "other" if other else alone
            marked.append(f'<span class="{kind}">{escape(own.replace(" ", "␣"))}</span>')
        else:
            marked.append(" " * len(other))
    return "".join(marked)


def _wrong_letters(rows: Sequence[SeenRow], parts: Iterable[tuple[str, str]]) -> list[list[bool]]:
    """Which letters of each row are errors. None are if the reading is not the text of the rows, one after the other."""
    read = [(character, own != text) for text, own in parts for character in own]
    whole, start, found = "".join(character for character, _ in read), 0, []
    for row in rows:
        text = "".join(letter.text for letter in row.letters).strip()
        start = whole.find(text, start)
        if start < 0:
            return [[False] * len(row.letters) for row in rows]
        flags, at = [], start
        for letter in row.letters:
            length = len(letter.text.strip()) if at == start else len(letter.text)
            flags.append(any(wrong for _, wrong in read[at : at + length]))
            at += length
        found.append(flags)
        start += len(text)
    return found


def _row(row: SeenRow, wrong: Sequence[bool]) -> str:
    data = b64encode(as_jpeg(row.pixels, max_size=_LARGEST)).decode()
    width = min(_WIDEST, max(_FONT, _HEIGHT * row.aspect))
    ratio = f"aspect-ratio: {row.aspect:.3f}"
    shown = [
        (letter, is_wrong) for letter, is_wrong in zip(row.letters, wrong, strict=True) if letter.attention is not None
    ]
    levels = _levels([letter for letter, _ in shown], width)
    letters = "".join(
        _letter(letter, is_wrong, level, ratio) for (letter, is_wrong), level in zip(shown, levels, strict=True)
    )
    size = (
        f"font-size: min({_FONT}px, {100 * _FONT / width:.2f}cqw); height: {1.55 * (max(levels, default=-1) + 1):.2f}em"
    )
    below = f'<div class="letters" style="{size}">{letters}</div>' if shown else ""
    picture = f'<img alt="" style="{ratio}" src="data:image/jpeg;base64,{data}">'
    return f'<div class="seen" style="width: {width:.0f}px">{picture}{below}</div>'


def _levels(letters: Sequence[Letter], width: float) -> list[int]:
    """For each letter the first level on which it has room beside those before it, or the last one."""
    taken: list[list[tuple[float, float]]] = [[] for _ in range(_LEVELS)]
    levels = []
    for letter in letters:
        half = 0.32 * _FONT * max(1, len(letter.text))
        start, end = letter.place() * width - half, letter.place() * width + half
        free = (at for at, spans in enumerate(taken) if all(end <= left or right <= start for left, right in spans))
        level = next(free, _LEVELS - 1)
        taken[level].append((start, end))
        levels.append(level)
    return levels


def _letter(letter: Letter, is_wrong: bool, level: int, ratio: str) -> str:
    """The letter at its place, and the attention to lay over the picture."""
    text = letter.text.replace(" ", "␣")
    kind = "wrong" if is_wrong else "gap" if text == "␣" else ""
    left, middle, right = (100 * letter.place(share) for share in (0.25, 0.5, 0.75))
    style = f"--x:{middle:.1f};--l:{middle - left:.1f};--w:{right - left:.1f};--y:{level}"
    heat = f"{ratio};background:linear-gradient(90deg,{_stops(letter)})"
    return f'<span{f" class={kind}" if kind else ""} style="{style}">{escape(text)}</span><i style="{heat}"></i>'


def _stops(letter: Letter) -> str:
    """The attention as the stops of a gradient: opaque where it is greatest. Columns with hardly any are left out."""
    shares = [] if letter.attention is None else (letter.attention / max(letter.attention.max(), 1e-12)).tolist()
    depths = [round(12 * share) if share > _FAINT else 0 for share in shares]
    stops = []
    for at, depth in enumerate(depths):
        if depth or any(depths[max(at - 1, 0) : at + 2]):
            stops.append(f"#f60{depth:x} {100 * (at + 0.5) / len(depths):.1f}%")
    return ",".join(stops if len(stops) > 1 else [*stops, *stops])
