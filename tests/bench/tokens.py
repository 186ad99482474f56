"""Both libraries must generate the same tokens. A difference is excused only where the reference scores a tie."""

from __future__ import annotations

import sys
from typing import Any

TIE = 1e-5


def check_tokens(case: str, peer: Any, pixels: Any, options: dict[str, Any], theirs: Any, ours: Any) -> None:
    """Compare two batches of ids (B, T) row by row, up to padding; exit with a message if a row differs without a tie.

    ``peer`` is the model of transformers that generated ``theirs`` from ``pixels`` with ``options``.
    """
    pad = peer.generation_config.pad_token_id
    for row, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        if without_padding(a, pad) != without_padding(b, pad):
            image = pixels[row : row + 1]
            if not is_tie(peer, image, a, b, beams=options.get("num_beams", 1) > 1):
                sys.exit(f"{case}: the tokens of row {row} differ:\n{a.tolist()}\n{b.tolist()}")


def without_padding(ids: Any, pad: int | None) -> list[int]:
    """The ids of one row, without the padding at its end."""
    kept: list[int] = ids.tolist()
    while kept and kept[-1] == pad:
        kept.pop()
    return kept


def is_tie(peer: Any, pixels: Any, theirs: Any, ours: Any, *, beams: bool) -> bool:
    """Whether the scores that decide lie within 1e-5 of each other, by the reference model.

    For beams these are the scores of both sequences, else the two best scores where the sequences part.
    """
    if theirs.shape != ours.shape:
        return False
    if beams:
        scores = []
        for ids in (theirs, ours):
            logits = peer(pixel_values=pixels, decoder_input_ids=ids[None, :-1]).logits[0]
            scores.append(float(logits.log_softmax(dim=-1).gather(1, ids[1:, None]).mean()))
        return abs(scores[0] - scores[1]) <= TIE
    position = int((theirs != ours).nonzero()[0])
    logits = peer(pixel_values=pixels, decoder_input_ids=theirs[None, :position]).logits[0, -1]
    best = logits.topk(2).values
    return float(best[0] - best[1]) <= TIE
