"""Who may import whom: a file imports only from rooms above it in this list, a dependency has one home."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    ("errors",),
    ("contract", "storage"),
    ("config",),
    ("vision", "text", "generation", "speed", "registry"),
    ("nn",),
    ("part",),
    ("model",),
    ("reader", "testing"),
    ("training", "diagnosis"),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
HOMES = {
    "pluggy": {"contract", "registry"},
    "cattrs": {"config"},
    "safetensors": {"storage"},
    "huggingface_hub": {"storage"},
    "PIL": {"vision"},
    "tokenizers": {"text"},
    "typer": {"cli"},
    "rich": {"cli"},
    "accelerate": {"training"},
    "jiwer": {"training"},
    "transformers": {"testing"},
    "hypothesis": {"testing"},
}
PLUGIN_MAY_IMPORT = {"vedcore", "vedcore.config", "vedcore.nn"}


def imports(path):
    tree = ast.parse(path.read_text())
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                [f"vedcore.{a.name}" for a in node.names if a.name in LEVEL] if node.module == "vedcore" else []
            )
            yield node.module


CORE = [path for path in sorted((ROOT / "vedcore").rglob("*.py")) if path != ROOT / "vedcore/__init__.py"]
PLUGIN_FILES = sorted((ROOT / "plugins").glob("*/vedcore_plugin_*/**/*.py"))


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_from_lower_rooms_and_a_dependency_has_one_home(path):
    room = path.relative_to(ROOT / "vedcore").parts[0].removesuffix(".py")
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "vedcore" and rest:
            other = rest.split(".")[0]
            assert other == room or LEVEL[other] < LEVEL[room], f"{room} imports {other}"
        assert room in HOMES.get(package, {room}), f"{package} is imported in {room}"
        assert not package.startswith("vedcore_plugin")


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: str(p.relative_to(ROOT / "plugins")))
def test_a_plugin_imports_the_public_faces_alone(path):
    own = next(part for part in path.parts if part.startswith("vedcore_plugin"))
    allowed = {"vedcore.testing"} if path.name == "testing.py" else set()
    for name in imports(path):
        if name.startswith("vedcore"):
            assert name in PLUGIN_MAY_IMPORT | allowed or name.split(".")[0] == own, f"{path.name} imports {name}"
        assert allowed or name not in {"hypothesis", f"{own}.testing"}, f"{path.name} imports {name}"


def test_every_room_has_a_level():
    rooms = {path.relative_to(ROOT / "vedcore").parts[0].removesuffix(".py") for path in CORE}
    assert rooms <= set(LEVEL)
