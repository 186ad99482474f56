"""Write the package of a new backbone or adapter: it works as it is, and "Replace this" marks what to change."""

from __future__ import annotations

import re
from importlib import metadata, resources
from pathlib import Path
from string import Template

from vedcore import __version__
from vedcore.errors import ConfigError, foreign
from vedcore.storage.files import staged

ROLES = {"encoder": "image encoder", "decoder": "text decoder", "adapter": "cross-attention adapter"}
"""The kinds of package, each with its words for the description."""

PATHS = {
    "init.py": "{module}/__init__.py",
    "config.py": "{module}/config.py",
    "model.py": "{module}/model.py",
    "testing.py": "{module}/testing.py",
    "test.py": "tests/test_{name}.py",
}
"""The path of each template's file in the package; other files keep their name."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_MAX_LENGTH = 40
_TEST_REQUIREMENTS = {"adapter": ', "vedcore-plugin-gpt2", "vedcore-plugin-vit"'}
"""What the tests need besides pytest and hypothesis. By default transformers, the reference of a backbone."""


def new_plugin(name: str, role: str, into: Path) -> Path:
    """Write the folder ``vedcore-plugin-<name>`` into ``into``, and return its path.

    Raises ConfigError if the name or the role is invalid or the name is taken, SaveError if the folder cannot be written.
    """
    if role not in ROLES:
        raise ConfigError(
            f"no role {role!r}; there are {', '.join(ROLES)}", field="role", expected=[*ROLES], found=role
        )
    distribution = f"vedcore-plugin-{name.replace('_', '-')}"
    _check_name(name, distribution)
    folder = into / distribution
    with foreign(ConfigError, str(folder), file=folder):
        exists = folder.exists()
    if exists:
        raise ConfigError(
            f"{folder} exists already; choose another name, or another folder with --into", file=folder, found=name
        )
    variables = _variables(name, distribution, role)
    with staged(folder) as stage:
        for relative, text in _files(role, variables).items():
            path = stage / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return folder


def _check_name(name: str, distribution: str) -> None:
    from vedcore.registry import registry  # imported late, so that --help answers at once

    if name.replace("_", "-").startswith("vedcore-plugin-"):
        raise ConfigError(
            f"leave the prefix out: {name!r} would become vedcore-plugin-{name}", field="name", found=name
        )
    if len(name) > _MAX_LENGTH or not _NAME.fullmatch(name):
        raise ConfigError(
            f"a plugin cannot be named {name[:80]!r}: a name has lowercase letters and digits, a letter first, in words "
            f"joined by - or _, and at most {_MAX_LENGTH} characters (my-encoder)",
            field="name",
            expected=_NAME.pattern,
            found=name,
        )
    if registry().offers(name) or next(iter(metadata.distributions(name=distribution)), None) is not None:
        raise ConfigError(
            f"the name {name!r} is taken by an installed plugin; see `vedcore plugins`", field="name", found=name
        )


def _variables(name: str, distribution: str, role: str) -> dict[str, str]:
    """The values of ``$name``, ``$module`` and the other variables of the templates."""
    from vedcore.contract.hookspecs import PROTOCOL

    major, minor = (int(part) for part in __version__.split(".")[:2])
    next_version = f"{major + 1}" if major else f"0.{minor + 1}"
    words = re.split("[-_]", name)
    return {
        "name": name,
        "distribution": distribution,
        "module": f"vedcore_plugin_{'_'.join(words)}",
        "Class": "".join(word.capitalize() for word in words),
        "CONSTANT": "_".join(words).upper(),
        "description": f"{name}: {'an' if role[0] in 'ae' else 'a'} {ROLES[role]} for vedcore",
        "vedcore": f"vedcore>={major}.{minor},<{next_version}",
        "test_requirements": _TEST_REQUIREMENTS.get(role, ', "transformers>=5.23"'),
        "protocol": str(PROTOCOL),
    }


def _files(role: str, variables: dict[str, str]) -> dict[str, str]:
    """The content of each file of the package, by its path in the package."""
    templates = resources.files("vedcore.cli") / "templates"
    module = variables["module"]
    texts = {f"{module}/py.typed": ""}
    for group in ("shared", role):
        for template in (templates / group).iterdir():
            name = template.name.removesuffix(".in")
            path = PATHS.get(name, name).format(module=module, name=module.removeprefix("vedcore_plugin_"))
            texts[path] = Template(template.read_text(encoding="utf-8")).substitute(variables)
    return texts
