"""Plugins: found by metadata, imported when used, a broken one costs only itself."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from vedcore import ImageProcessor
from vedcore import registry as module
from vedcore.contract.hookspecs import Adapter, Backbone, Checkpoint, hookimpl, vedcore_plugin
from vedcore.errors import ConfigError, PluginError, PluginNotFound
from vedcore.model.adapters import LinearAdapter
from vedcore.registry import Plugin, Registry, describe, installed, registry
from vedcore_plugin_vit import ViTConfig, ViTModel

ROOT = Path(__file__).parent.parent

GOOD = """
from pathlib import Path
from vedcore import Backbone, Checkpoint, hookimpl
IMPORTED.append(__name__)
class Config: pass
class Model: config_class = Config
@hookimpl
def vedcore_plugin():
    return [
        Backbone(name="good", role="encoder", model=Model, protocol=2),
        Backbone(name="better", role="decoder", model=Model, protocol=2),
        Checkpoint(name="shipped", folder=Path("x"), summary="s", protocol=2),
    ]
"""
HEAD = "from vedcore import Checkpoint, hookimpl\nfrom pathlib import Path\n"


def hook(body):
    return f"{HEAD}@hookimpl\ndef vedcore_plugin():\n    {body}\n"


def record(protocol):
    return hook(f"return [Checkpoint(name='broken', folder=Path('x'), summary='s', protocol={protocol})]")


BROKEN = {
    "ImportError": ("import no_such_module_here", "No module named 'no_such_module_here'"),
    "SyntaxError": ("def (", "SyntaxError"),
    "SystemExit": ("raise SystemExit(3)", "SystemExit: 3"),
    "RecursionError": ("def f(): f()\nf()", "RecursionError"),
    "odd BaseException": (
        "class PanicException(BaseException): pass\nraise PanicException('boom')",
        "PanicException: boom",
    ),
    "no hook": ("x = 1", "has no hook vedcore_plugin()"),
    "unmarked hook": ("def vedcore_plugin(): return []", "has no hook vedcore_plugin()"),
    "misspelt hook": (f"{HEAD}@hookimpl\ndef vedcore_plugins(): return []", "vedcore_plugins"),
    "hook with arguments": (f"{HEAD}@hookimpl\ndef vedcore_plugin(backbone): return []", "backbone"),
    "hook raises": (hook("raise KeyError('gone')"), "KeyError: 'gone'"),
    "hook exits": (hook("raise SystemExit"), "SystemExit"),
    "returns None": (hook("return None"), "returns a record"),
    "returns nothing": (hook("return []"), "returns a record"),
    "returns an int": (hook("return 5"), "TypeError"),
    "returns a record alone": (record(2).replace("[", "").replace("]", ""), "TypeError"),
    "returns text": (hook("return ['vit']"), "returned a str, not a record"),
    "fails while it is read": (hook("return (1 / 0 for _ in range(2))"), "ZeroDivisionError"),
    "record without protocol": (hook("return [Checkpoint(name='a', folder=Path(), summary='')]"), "protocol"),
    "protocol 1": (
        record(1),
        "protocol 1, this vedcore speaks 2: install a newer broken-dist, or change it: set protocol=2",
    ),
    "protocol 0": (record(0), "protocol 0, this vedcore speaks 2: install a newer broken-dist"),
    "protocol 3": (record(3), "protocol 3, this vedcore speaks 2: upgrade vedcore"),
    "protocol None": (record(None), "protocol None, this vedcore speaks 2: install a newer broken-dist"),
    "protocol x": (record("'x'"), "protocol 'x', this vedcore speaks 2"),
}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A function that writes a module; and the names of those that were imported."""
    imported = []
    monkeypatch.setattr("builtins.IMPORTED", imported, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)

    yield write, imported
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_a_name_imports_its_plugin_and_no_other(modules):
    write, imported = modules
    write("plugin_one", GOOD)
    write("plugin_two", GOOD)
    found = Registry([Plugin("good", "plugin_one", "one", "1.0"), Plugin("other", "plugin_two", "two", "1.0")])
    assert found.offers("good")
    assert not found.offers("bad")
    assert imported == []
    backbone = found.backbone("good", "encoder")
    assert (backbone.name, backbone.role, backbone.config.__name__) == ("good", "encoder", "Config")
    assert imported == ["plugin_one"]


def test_two_names_of_one_module_register_it_once(modules):
    write, imported = modules
    write("plugin_one", GOOD)
    names = ("good", "better", "shipped")
    found = Registry([Plugin(name, "plugin_one", "one", "1.0") for name in names])
    assert found.backbone("better", "decoder").name == "better"
    assert found.backbone("good", "encoder") is found.backbone("good", "encoder")
    assert found.checkpoint("shipped").summary == "s"
    assert found.checkpoint_names() == ["shipped"]
    assert [listing.plugin.name for listing in found.listings()] == sorted(names)
    assert {len(listing.records) for listing in found.listings()} == {3}
    assert imported == ["plugin_one"]
    assert [describe(r) for r in found.listings()[0].records] == [
        "encoder good",
        "decoder better",
        "checkpoint shipped",
    ]


def test_a_name_of_another_kind_is_not_found_and_the_error_says_what_the_plugin_supplies(modules):
    write, _ = modules
    write("plugin_one", GOOD)
    found = Registry([Plugin(name, "plugin_one", "one", "1.0") for name in ("good", "shipped")])
    supplies = r"one 1\.0 .* supplies encoder good, decoder better, checkpoint shipped"
    for ask, message in (
        (lambda: found.backbone("good", "decoder"), "installed decoders: none"),
        (lambda: found.adapter("good"), "installed adapters: none"),
        (lambda: found.checkpoint("good"), "installed checkpoints: shipped"),
        (lambda: found.backbone("shipped", "encoder"), "installed encoders: good"),
    ):
        with pytest.raises(PluginNotFound, match=f"{supplies}; {message}"):
            ask()


def test_an_entry_point_that_is_named_after_no_record_is_broken(modules):
    write, _ = modules
    write("plugin_one", GOOD)
    found = Registry([Plugin("vain", "plugin_one", "one", "1.0"), Plugin("good", "plugin_one", "one", "1.0")])
    supplies = "its entry point is named 'vain', but it supplies encoder good, decoder better, checkpoint shipped"
    for _ in range(2):
        with pytest.raises(PluginError, match=supplies) as error:
            found.backbone("vain", "encoder")
        assert not isinstance(error.value, PluginNotFound)
        assert (error.value.expected, error.value.found) == (["good", "better", "shipped"], "vain")
    good, vain = found.listings()
    assert (good.reason, vain.records) == (None, ())
    assert vain.reason == str(error.value)
    assert "one 1.0 (vain = plugin_one) is broken" in vain.reason
    assert found.backbone("good", "encoder").name == "good"


@pytest.mark.parametrize("breakage", BROKEN)
def test_a_broken_plugin_costs_only_itself(modules, breakage):
    write, _ = modules
    source, message = BROKEN[breakage]
    write("plugin_broken", source)
    write("plugin_good", GOOD)
    plugins = [
        Plugin("broken", "plugin_broken", "broken-dist", "0.3"),
        Plugin("good", "plugin_good", "good-dist", "1.0"),
    ]
    for ordered in (plugins, plugins[::-1]):
        found = Registry(ordered)
        bad, good = found.listings()
        assert bad.records == ()
        for part in ("broken-dist 0.3", "broken = plugin_broken", message):
            assert part in bad.reason
        assert "\n" not in bad.reason
        assert good.reason is None
        assert found.backbone("good", "encoder").name == "good"
        assert found.checkpoint_names() == ["shipped"]
        for _ in range(2):
            with pytest.raises(PluginError) as error:
                found.checkpoint("broken")
            assert str(error.value) == bad.reason


def test_ctrl_c_while_a_plugin_is_imported_is_not_swallowed(modules):
    write, _ = modules
    write("plugin_slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry([Plugin("slow", "plugin_slow", "slow", "1")]).listings()


@pytest.mark.parametrize("order", [1, -1])
def test_two_distributions_of_one_name_are_refused_by_both_names_and_neither_is_imported(modules, order):
    write, imported = modules
    for name in ("plugin_one", "plugin_two", "plugin_three"):
        write(name, GOOD)
    plugins = [
        Plugin("good", "plugin_one", "one", "1.0"),
        Plugin("good", "plugin_two", "two", "2.0"),
        Plugin("shipped", "plugin_three", "three", "1.0"),
    ][::order]
    found = Registry(plugins)
    with pytest.raises(PluginError) as error:
        found.backbone("good", "encoder")
    assert str(error.value) == "2 distributions supply 'good': one 1.0 and two 2.0; uninstall one of them"
    assert imported == []
    listings = found.listings()
    assert [listing.reason for listing in listings] == [str(error.value)] * 2 + [None]
    assert imported == ["plugin_three"]
    assert found.checkpoint("shipped").name == "shipped"


@pytest.mark.parametrize(
    ("name", "plugins", "message"),
    [
        ("vit", [], "no encoder named 'vit'; installed encoders: none. pip install vedcore-plugin-vit"),
        ("swim", ["vit"], "installed encoders: vit. Did you mean 'swin'? pip install vedcore-plugin-swin"),
        ("donut-swin", ["vit"], "installed encoders: vit. pip install vedcore-plugin-swin"),
        ("vti", ["vit", "mine"], "installed encoders: mine, vit. Did you mean 'vit'?"),
        ("mime", ["mine"], "installed encoders: mine. Did you mean 'mine'?"),
        ("quite-another", ["vit"], "no encoder named 'quite-another'; installed encoders: vit"),
    ],
)
def test_the_error_for_an_unknown_name_lists_the_installed_names_and_says_what_to_do(modules, name, plugins, message):
    write, _ = modules
    for plugin in plugins:
        write(f"plugin_{plugin}", GOOD.replace('"good"', f'"{plugin}"'))
    found = Registry([Plugin(plugin, f"plugin_{plugin}", "dist", "1") for plugin in plugins])
    with pytest.raises(PluginNotFound) as error:
        found.backbone(name, "encoder")
    assert str(error.value).endswith(message)
    assert isinstance(error.value, LookupError)
    assert (error.value.field, error.value.expected, error.value.found) == ("model_type", sorted(plugins), name)


def test_an_error_lists_only_names_of_the_kind_that_was_requested_and_only_plugins_that_work(modules):
    write, imported = modules
    write("plugin_good", GOOD)
    write("plugin_broken", "raise ValueError")
    names = dict.fromkeys(("good", "better", "shipped", "vain"), "plugin_good")
    plugins = [Plugin(name, place, "one", "1") for name, place in ({"torn": "plugin_broken"} | names).items()]
    clash = [Plugin("twice", "plugin_good", distribution, "1") for distribution in ("two", "three")]
    found = Registry([*plugins, *clash])
    assert imported == []
    for ask, message in (
        (lambda: found.backbone("x", "encoder"), "no encoder named 'x'; installed encoders: good"),
        (lambda: found.backbone("x", "decoder"), "no decoder named 'x'; installed decoders: better"),
        (lambda: found.checkpoint("x"), "no checkpoint named 'x'; installed checkpoints: shipped"),
        (lambda: found.adapter("x"), "no adapter named 'x'; installed adapters: none"),
    ):
        with pytest.raises(PluginNotFound) as error:
            ask()
        assert str(error.value) == message


def test_a_hint_names_only_a_package_that_supplies_the_kind_that_was_requested():
    with pytest.raises(PluginNotFound, match=r"no decoder named 'vit'; installed decoders: none$"):
        Registry([]).backbone("vit", "decoder")
    with pytest.raises(PluginNotFound, match="pip install vedcore-plugin-linereader"):
        Registry([]).checkpoint("line-reader")


# What is installed here.


def test_the_plugins_of_this_environment_are_found():
    found = registry()
    assert found is registry()
    vit = found.backbone("vit", "encoder")
    assert (vit.model, vit.config, vit.protocol) == (ViTModel, ViTConfig, 2)
    assert isinstance(found.adapter("linear").adapter, LinearAdapter)
    assert found.adapter("linear").adapter.layer(0, None, found) is found
    assert describe(found.adapter("linear")) == "adapter linear"
    assert "line-reader" in found.checkpoint_names()


def test_plugins_are_turned_off_by_the_environment(monkeypatch):
    assert installed() == tuple(sorted(set(installed()), key=str)) != ()
    monkeypatch.setenv("VEDCORE_DISABLE_PLUGINS", "1")
    assert installed() == ()
    assert Registry().listings() == []


def test_an_entry_point_without_metadata_is_listed_as_of_an_unknown_distribution(monkeypatch):
    class Torn:
        @property
        def name(self):
            raise TypeError("no metadata")

    class Entry:
        name, value, dist = "torn", "plugin_torn", Torn()

    class Nameless(Entry):
        name, dist = "nameless", None

    class Whole(Entry):
        name, dist = "whole", metadata.distribution("vedcore")

    monkeypatch.setattr(module.metadata, "entry_points", lambda group: [Entry, Nameless, Whole])
    assert {(p.name, p.distribution, p.version) for p in installed()} == {
        ("torn", "unknown distribution", "?"),
        ("nameless", "unknown distribution", "?"),
        ("whole", "vedcore", metadata.version("vedcore")),
    }


def test_the_hook_itself_supplies_nothing():
    with pytest.raises(NotImplementedError):
        vedcore_plugin()
    assert hookimpl.project_name == "vedcore.plugins"
    for kind in (Adapter, Backbone, Checkpoint):
        with pytest.raises(TypeError, match="protocol"):
            kind(name="x")


def install(folder, name, version, entry_points):
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[vedcore.plugins]\n{entry_points}\n")
    return info


def test_the_command_lists_real_metadata_with_its_reason(tmp_path):
    (tmp_path / "torn_module.py").write_text("raise ValueError('torn on purpose')")
    (tmp_path / "whole_module.py").write_text(record(2).replace("'broken'", "'whole'"))
    install(tmp_path, "torn-dist", "0.7", "torn = torn_module\nwhole = whole_module")
    install(tmp_path, "first-dist", "1.1", "claimed = torn_module")
    install(tmp_path, "second-dist", "2.2", "claimed = torn_module")
    install(tmp_path, "vain-dist", "4.4", "vain = whole_module")
    (install(tmp_path, "silent-dist", "3.3", "silent = absent_module") / "METADATA").unlink()
    command = [sys.executable, "-W", "error", "-m", "vedcore", "plugins"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    rows = " ".join(" ".join(line.strip("│┃ ").split()) for line in done.stdout.splitlines())
    for message in ("torn-dist", "0.7", "broken", "ValueError: torn on purpose"):
        assert message in rows
    assert "its entry point is named 'vain', but it supplies checkpoint whole" in rows
    assert "checkpoint whole" in rows
    assert "encoder vit" in rows
    assert rows.count("first-dist 1.1 and second-dist 2.2") == 2
    assert "absent_module" in rows


NESTED = """
from vedcore import Backbone, hookimpl
IMPORTED.append(__name__)
class Config: inside = {"outer": "vision_config"}
class Model: config_class = Config
@hookimpl
def vedcore_plugin():
    return [Backbone(name="inner", role="encoder", model=Model, protocol=2)]
"""


def test_a_backbone_is_found_by_the_model_type_of_a_file_that_contains_its_config(modules):
    write, _ = modules
    write("plugin_nested", NESTED)
    found = Registry([Plugin(name, "plugin_nested", "one", "1.0") for name in ("inner", "outer")])
    assert found.backbone("outer", "encoder") is found.backbone("inner", "encoder")
    assert [listing.reason for listing in found.listings()] == [None, None]
    with pytest.raises(PluginNotFound, match="installed encoders: inner"):
        found.backbone("middle", "encoder")


TYPES = """
from vedcore import ImageProcessorType, hookimpl
IMPORTED.append(__name__)
@hookimpl
def vedcore_plugin():
    return [
        ImageProcessorType(name="OtherImageProcessor", defaults={"resample": 3}, protocol=2),
        ImageProcessorType(name="BrokenImageProcessor", defaults={"sharpen": True}, protocol=2),
    ]
"""


def test_a_plugin_supplies_the_defaults_of_a_type_of_image_processor(modules, monkeypatch):
    write, imported = modules
    write("plugin_types", TYPES)
    names = ("OtherImageProcessor", "BrokenImageProcessor")
    plugins = [Plugin(f"image-processor.{name}", "plugin_types", "one", "1.0") for name in names]
    monkeypatch.setattr(module, "_default", [Registry(plugins)])
    assert registry().image_processor_names() == sorted(names)
    assert imported == []
    processor = ImageProcessor.from_dict({"image_processor_type": "OtherImageProcessorFast"})
    assert (processor.resample, processor.size, processor.image_processor_type) == (
        3,
        {"height": 224, "width": 224},
        names[0],
    )
    with pytest.raises(PluginError, match="has defaults for sharpen, but an image processor has no such fields"):
        ImageProcessor.from_dict({"image_processor_type": names[1]})
    message = r"'OtherProcessor' is not supported; supported: ViT.*OtherImageProcessor.*Did you mean"
    with pytest.raises(ConfigError, match=message):
        ImageProcessor.from_dict({"image_processor_type": "OtherProcessor"})
