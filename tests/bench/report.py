"""Tables for people: one block for each case, with a row for each library."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.models import TRANSFORMERS, UNPREPARED, VEDCORE
from tests.bench.options import Part
from tests.bench.results import Result

LABEL = 26


def heading(part: Part) -> str:
    """The title and the names of the columns."""
    columns = "".join(f"{measure:>11}" for measure in part.measures)
    return f"\n{part.title}\n{'':{LABEL}}{columns}   {columns}   (ratios)"


def block(result: Result, measures: Sequence[str]) -> str:
    """The name of a case and a row for each library, with its ratios and what they miss."""
    lines = [result.case]
    for library, values in result.values.items():
        line = f"  {library:{LABEL - 2}}" + "".join(f"{values[measure]:11.1f}" for measure in measures)
        if library != TRANSFORMERS:
            ratios = result.ratios(library)
            line += "   " + "".join(f"{ratios[measure]:11.2f}" for measure in measures)
        if library == VEDCORE:
            misses = [f"{measure} below {result.wanted[measure]:g}" for measure in result.missed()]
            line += f"   <- {', '.join(misses)}" if misses else ""
        lines.append(line)
    return "\n".join(lines)


def legend() -> str:
    """What the numbers are."""
    return (
        "Times are medians in milliseconds, memory is the peak of a process in MB.\n"
        "A ratio is transformers' number divided by vedcore's: above 1, vedcore is faster or smaller.\n"
        f"{VEDCORE} is prepared for inference (model.prepare()); {UNPREPARED}, is the model as it was loaded."
    )
