"""A folder of vocabulary files with the settings of its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from vedcore.errors import TokenizerError, foreign
from vedcore.storage.files import MAX_JSON_BYTES
from vedcore.text.special_tokens import token_text


@dataclass(frozen=True)
class VocabularyFolder:
    """``settings`` contain the special tokens of the class unless the files name others."""

    path: Path
    settings: Mapping[str, Any]
    tokenizer_class: str

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises TokenizerError if it is too large."""
        path = self.path / name
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise TokenizerError(
                f"{path}: {size} bytes, more than the {MAX_JSON_BYTES} allowed",
                file=path,
                expected=MAX_JSON_BYTES,
                found=size,
            )
        return path.read_bytes()

    def lines(self, name: str) -> list[str]:
        """The lines of a file. Raises TokenizerError if it is too large or not UTF-8."""
        data = self.read(name)
        with foreign(TokenizerError, str(self.path / name), file=self.path / name):
            return data.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")

    def flag(self, name: str, default: bool | None) -> Any:
        """A setting that is true, false or null. Raises TokenizerError for another value."""
        value = self.settings.get(name, default)
        if value is not None and type(value) is not bool:
            raise TokenizerError(
                f"{self.path}: {name} must be true or false, got {value!r}",
                file=self.path,
                field=name,
                expected="true or false",
                found=value,
            )
        return value

    def token(self, name: str) -> str:
        """The text of the special token ``name``. Raises TokenizerError if it is not set."""
        token = token_text(self.settings.get(name))
        if not token:
            raise TokenizerError(
                f"{self.path}: a tokenizer of the class {self.tokenizer_class} needs a {name}",
                file=self.path,
                field=name,
                expected="a token",
            )
        return token

    def token_with_id(self, core: Tokenizer, name: str) -> tuple[str, int]:
        """The special token ``name`` and its id. Raises TokenizerError if the vocabulary does not contain it."""
        token = self.token(name)
        number = core.token_to_id(token)
        if number is None:
            raise TokenizerError(
                f"{self.path}: {name} {token!r} is not in the vocabulary", file=self.path, field=name, found=token
            )
        return token, int(number)
