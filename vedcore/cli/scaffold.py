"""``vedcore new-plugin``: the package of a new backbone or adapter, small and working, with the places to fill in."""

from __future__ import annotations

import re
from importlib import metadata, resources
from pathlib import Path
from string import Template

from vedcore import __version__
from vedcore.errors import ConfigError, foreign
from vedcore.storage.files import staged

ROLES = {"encoder": "image encoder", "decoder": "text decoder", "adapter": "cross-attention adapter"}
"""What a package may supply, and how its description says it."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LONGEST = 40
_PLACES = {  # a template, and where it comes to stand
    "init.py": "{module}/__init__.py",
    "config.py": "{module}/config.py",
    "model.py": "{module}/model.py",
    "testing.py": "{module}/testing.py",
    "test.py": "tests/test_{name}.py",
}
_TEST_NEEDS = {"adapter": ', "vedcore-plugin-gpt2", "vedcore-plugin-vit"'}
"""What the tests of a role need beside pytest; those of a backbone are compared with transformers."""


def new_plugin(name: str, role: str, into: Path) -> Path:
    """Write the folder ``vedcore-plugin-<name>`` into ``into``, and return its path.

    Raises ConfigError for a name that cannot be used or is taken, SaveError where nothing can be written.
    """
    if role not in ROLES:
        raise ConfigError(f"no role {role!r}; there are {', '.join(ROLES)}")
    distribution = f"vedcore-plugin-{name.replace('_', '-')}"
    _check_name(name, distribution)
    folder = into / distribution
    with foreign(ConfigError, str(folder)):
        exists = folder.exists()
    if exists:
        raise ConfigError(f"{folder} exists already; take another name, or another folder with --into")
    words = _words(name, distribution, role)
    with staged(folder) as stage:
        for place, text in _files(role, words).items():
            path = stage / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return folder


def _check_name(name: str, distribution: str) -> None:
    from vedcore.registry import registry  # not needed before a name is there, and --help is answered at once

    if name.replace("_", "-").startswith("vedcore-plugin-"):
        raise ConfigError(f"leave the prefix out: {name!r} would become vedcore-plugin-{name}")
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise ConfigError(
            f"a plugin cannot be named {name[:80]!r}: a name is small letters and digits, words joined by - or _, "
            f"a letter first, {_LONGEST} at most (my-encoder)"
        )
    if registry().offers(name) or next(iter(metadata.distributions(name=distribution)), None) is not None:
        raise ConfigError(f"the name {name!r} is taken by an installed plugin; see `vedcore plugins`")


def _words(name: str, distribution: str, role: str) -> dict[str, str]:
    """What stands in a template for ``$name`` and the like."""
    from vedcore.contract.hookspecs import PROTOCOL

    major, minor = (int(part) for part in __version__.split(".")[:2])
    ceiling = f"{major + 1}" if major else f"0.{minor + 1}"
    words = re.split("[-_]", name)
    return {
        "name": name,
        "distribution": distribution,
        "module": f"vedcore_plugin_{'_'.join(words)}",
        "Class": "".join(word.capitalize() for word in words),
        "CONSTANT": "_".join(words).upper(),
        "description": f"{name}: {'an' if role[0] in 'ae' else 'a'} {ROLES[role]} for vedcore",
        "vedcore": f"vedcore>={major}.{minor},<{ceiling}",
        "test_needs": _TEST_NEEDS.get(role, ', "transformers>=5.23"'),
        "protocol": str(PROTOCOL),
    }


def _files(role: str, words: dict[str, str]) -> dict[str, str]:
    """The text of each file of the package, by its path in there."""
    templates = resources.files("vedcore.cli") / "templates"
    module = words["module"]
    texts = {f"{module}/py.typed": ""}
    for group in ("shared", role):
        for template in (templates / group).iterdir():
            name = template.name.removesuffix(".in")
            place = _PLACES.get(name, name).format(module=module, name=module.removeprefix("vedcore_plugin_"))
            texts[place] = Template(template.read_text(encoding="utf-8")).substitute(words)
    return texts
