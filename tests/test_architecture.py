"""Who may import whom, and who may touch what.

A file imports only from rooms above it in ``ROOMS``; the files of one room import each other without cycles; a third-party
dependency has one home; a private attribute is used only in the file that defines it.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    ("_moved", "errors"),
    ("contract", "storage"),
    ("config", "registry"),
    ("vision", "text", "generation", "speed"),
    ("nn", "documents"),
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
    "pypdfium2": {"documents"},
    "cv2": set(),  # only a plugin imports it
    "tokenizers": {"text"},
    "typer": {"cli"},
    "rich": {"cli"},
    "accelerate": {"training"},
    "jiwer": {"training"},
    "transformers": {"testing"},
    "hypothesis": {"testing"},
}
PLUGIN_MAY_IMPORT = {"vedcore", "vedcore.config", "vedcore.nn"}


TORCH_DICTS = {"_buffers", "_modules", "_parameters"}
"""Attributes of every ``nn.Module`` that its documentation and its users treat as public."""

KNOWN_PRIVATE = {
    # torch has no public function that says whether a module has hooks.
    "vedcore/model/prepare.py": {"_forward_hooks", "_forward_pre_hooks"},
    "vedcore/nn/linear.py": {"_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks"},
    # torch has no public function for these: whether a graph is traced, and oneDNN's product.
    "vedcore/speed/products.py": {
        "_C",
        "_current_level",
        "_functorch",
        "_get_tracing_state",
        "_len_torch_dispatch_stack",
        "_linear_pointwise",
    },
    # To be removed: torch.compiler.reset is the public name.
    "vedcore/testing/checks/cache.py": {"_dynamo"},
    # accelerate has no public function that forgets the precision of an earlier run in the same process.
    "vedcore/training/devices.py": {"_reset_state"},
}
"""Private names of other files and libraries that a file still uses; a new entry needs a reason."""


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


def modules_imported(path):
    """The files of vedcore that a file imports, except under TYPE_CHECKING; the package of a module does not count."""
    names = list(imports(path))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in names:
            inner = [file_of(f"{node.module}.{alias.name}") for alias in node.names]
            yield from (file or file_of(node.module) for file in inner)
        elif isinstance(node, ast.Import):
            yield from (file_of(alias.name) for alias in node.names if alias.name in names)


def file_of(module):
    place = ROOT / module.replace(".", "/")
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file in CORE), None)


def cycle_in(graph):
    """One cycle of a graph of names, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return None
        done.add(node)
        path.append(node)
        found = next((cycle for cycle in map(visit, sorted(graph.get(node, ()))) if cycle), None)
        path.pop()
        return found

    return next((cycle for cycle in map(visit, sorted(graph)) if cycle), None)


def test_a_cycle_is_found():
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


@pytest.mark.parametrize("room", sorted({path.relative_to(ROOT / "vedcore").parts[0] for path in CORE}))
def test_the_files_of_a_room_import_each_other_without_cycles(room):
    inside = [path for path in CORE if path.relative_to(ROOT / "vedcore").parts[0] == room]
    graph = {path: {file for file in modules_imported(path) if file in inside} for path in inside}
    cycle = cycle_in(graph)
    assert cycle is None, " imports ".join(str(path.relative_to(ROOT)) for path in [*cycle, cycle[0]])


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names_of_others(tree):
    """The private attributes and imported names that a file uses and does not define itself."""
    defined, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in ("self", "cls"):
            defined.add(node.attr)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module != "vedcore":
            used |= {alias.name for alias in node.names}
    return {name for name in used - defined if is_private(name)}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from a.b import _c, d", {"_c"}),
        ("model._twin = 1", {"_twin"}),
        ("import a\na._b()", {"_b"}),
        ("class A:\n    def f(self, other):\n        return self._x == other._x", set()),
        ("class A:\n    _x = 1\n\nA()._x", set()),
        ("module.__dict__", set()),
    ],
)
def test_a_private_name_of_another_file_is_found(source, found):
    assert private_names_of_others(ast.parse(source)) == found


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_uses_no_private_name_of_another_file(path):
    allowed = TORCH_DICTS | KNOWN_PRIVATE.get(str(path.relative_to(ROOT)), set())
    assert private_names_of_others(ast.parse(path.read_text())) <= allowed


def test_bricks_load_no_file_code():
    program = "import sys, vedcore.nn; print(*(name for name in sys.modules if name.startswith('vedcore.storage')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()) == {"vedcore.storage", "vedcore.storage.keymap"}  # names, which are no files
