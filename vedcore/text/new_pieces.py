"""New pieces in the vocabulary of a tokenizer.json.

New pieces are entries of the model's vocabulary, not added tokens: an added token would split the word around it, and
WordPiece would write spaces there. Their ids follow all others, and no text without the new characters changes its ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vedcore.errors import TokenizerError


def pieces_of(model: Mapping[str, Any], character: str) -> list[str]:
    """The pieces with which a model writes one character: at the beginning, inside and at the end of a word."""
    before = model.get("continuing_subword_prefix") or ""
    after = model.get("end_of_word_suffix") or ""
    forms = (character, f"{before}{character}", f"{character}{after}", f"{before}{character}{after}")
    return list(dict.fromkeys(forms))


def add_pieces(data: dict[str, Any], pieces: Iterable[str]) -> None:
    """Append ``pieces`` to the vocabulary of a tokenizer.json that has none of them.

    Raises TokenizerError for a model whose vocabulary cannot grow at its end.
    """
    model = data["model"]
    vocabulary = model["vocab"]
    added = sorted(data.get("added_tokens") or (), key=lambda token: token["id"])
    # Loading gives added tokens that the model does not have the ids after its vocabulary. When that grows, these ids would
    # move; as entries of the vocabulary they stay.
    if isinstance(vocabulary, dict):
        vocabulary.update({token["content"]: token["id"] for token in added if token["content"] not in vocabulary})
        next_id = max(vocabulary.values(), default=-1) + 1
        vocabulary.update({piece: next_id + offset for offset, piece in enumerate(pieces)})
        return
    known = {piece for piece, _ in vocabulary}
    # The lowest score, because a lower one would change the score of unknown characters.
    score = min((score for _, score in vocabulary), default=0.0)
    for token in added:
        if token["content"] not in known:
            if token["id"] != len(vocabulary):
                raise TokenizerError(
                    f"the tokenizer has {len(vocabulary)} pieces, but the id of the added token {token['content']!r} is "
                    f"{token['id']}: with a gap between them, no characters can be added",
                    field="add_characters",
                    expected=len(vocabulary),
                    found=token["id"],
                )
            vocabulary.append([token["content"], score])
    vocabulary.extend([piece, score] for piece in pieces)
