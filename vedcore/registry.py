"""The registry finds plugins by their metadata and imports one when a name that it supplies is requested.

Plugins are isolated from each other: one that is broken cannot be used itself, and disturbs no other.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import TypeVar

import pluggy

from vedcore.contract import hookspecs
from vedcore.contract.hookspecs import (
    CHANGES,
    GROUP,
    PROTOCOL,
    Adapter,
    Backbone,
    Checkpoint,
    ImageProcessorType,
    Record,
    Segmenter,
)
from vedcore.errors import PluginError, PluginNotFound

R = TypeVar("R", Backbone, Adapter, Checkpoint, Segmenter, ImageProcessorType)

FIRST_PARTY = {
    "encoder": {
        "beit": "beit",
        "deit": "deit",
        "donut-swin": "swin",
        "swin": "swin",
        "vit": "vit",
    },
    "decoder": {
        "bart": "bart",
        "mbart": "bart",
        "bert": "bert",
        "distilbert": "distilbert",
        "gpt2": "gpt2",
        "roberta": "roberta",
        "xlm-roberta": "roberta",
        "trocr": "trocr",
    },
    "checkpoint": {"line-reader": "linereader"},
    "segmenter": {"pages": "pages"},
}
"""Packages of this project by the kind and name of what they supply. Only the hint in an error reads it."""

_PREFIXES: dict[type[Record], str] = {Segmenter: "segmenter.", ImageProcessorType: "image-processor."}
"""What the entry points of these records begin with, so that the kind is known without an import."""

_KINDS: dict[type[Record], str] = {ImageProcessorType: "image processor"}
"""The kinds of records, if they are not the lower-case names of the classes."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point: its name, its module, and the distribution that it comes from."""

    name: str
    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.name} = {self.module})"


@dataclass(frozen=True, slots=True)
class Listing:
    """A plugin as ``vedcore plugins`` shows it: what it supplies, or why it cannot be used."""

    plugin: Plugin
    records: tuple[Record, ...]
    reason: str | None


class Registry:
    """The plugins of an environment. Nothing is imported before a name is requested."""

    def __init__(self, plugins: Iterable[Plugin] | None = None) -> None:
        """plugins: the plugins to use in place of the installed ones, for tests."""
        self._plugins = tuple(plugins) if plugins is not None else installed()
        self._records: dict[str, tuple[Record, ...]] = {}

    def backbone(self, name: str, role: str) -> Backbone:
        """The backbone for ``"model_type": name`` in ``role``, "encoder" or "decoder".

        Raises PluginNotFound if there is none, and PluginError if its plugin cannot be used.
        """
        return self._find(name, Backbone, role)

    def adapter(self, name: str) -> Adapter:
        """The cross-attention adapter ``name``. Raises as ``backbone`` does."""
        return self._find(name, Adapter, "adapter")

    def checkpoint(self, name: str) -> Checkpoint:
        """The shipped checkpoint ``name``. Raises as ``backbone`` does."""
        return self._find(name, Checkpoint, "checkpoint")

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter ``name``. Raises as ``backbone`` does."""
        return self._find(name, Segmenter, "segmenter")

    def image_processor(self, name: str) -> ImageProcessorType:
        """The type of image processor ``name``. Raises as ``backbone`` does."""
        return self._find(name, ImageProcessorType, "image processor")

    def checkpoint_names(self) -> list[str]:
        """The names of the shipped checkpoints whose plugins can be used, sorted."""
        found = {r.name for listing in self.listings() for r in listing.records if isinstance(r, Checkpoint)}
        return sorted(found)

    def segmenter_names(self) -> list[str]:
        """The names of the installed segmenters, sorted. No plugin is imported."""
        return self._names(Segmenter)

    def image_processor_names(self) -> list[str]:
        """The types of image processors that plugins supply, sorted. No plugin is imported."""
        return self._names(ImageProcessorType)

    def _names(self, kind: type[Record]) -> list[str]:
        prefix = _PREFIXES[kind]
        names = {plugin.name for plugin in self._plugins if plugin.name.startswith(prefix)}
        return sorted(name.removeprefix(prefix) for name in names)

    def offers(self, name: str) -> bool:
        """Whether an installed plugin is named ``name``. No plugin is imported."""
        return any(plugin.name == name for plugin in self._plugins)

    def listings(self) -> list[Listing]:
        """Every plugin with its records or the reason why it cannot be used, sorted by name. All plugins are imported."""
        return [self._listing(plugin) for plugin in sorted(self._plugins, key=lambda p: (p.name, p.distribution))]

    def _listing(self, plugin: Plugin) -> Listing:
        try:
            self._refuse_clash(plugin.name)
            return Listing(plugin, self._load(plugin), None)
        except PluginError as error:
            return Listing(plugin, (), str(error))

    def _find(self, name: str, cls: type[R], kind: str) -> R:
        entry = _PREFIXES.get(cls, "") + name
        plugin = next((plugin for plugin in self._plugins if plugin.name == entry), None)
        if plugin is None:
            raise self._not_found(name, cls, kind, "")
        self._refuse_clash(entry)
        records = self._load(plugin)
        for record in records:
            if isinstance(record, cls) and entry in entry_names(record) and kind_of(record) == kind:
                return record
        raise self._not_found(name, cls, kind, f": {plugin} supplies {_described(records)}")

    def _refuse_clash(self, name: str) -> None:
        claims = sorted({f"{p.distribution} {p.version}" for p in self._plugins if p.name == name})
        if len(claims) > 1:
            raise PluginError(
                f"{len(claims)} distributions supply {name!r}: {' and '.join(claims)}; uninstall one of them",
                field=GROUP,
                expected="one distribution",
                found=claims,
            )

    def _load(self, plugin: Plugin) -> tuple[Record, ...]:
        """The records of a plugin. Raises PluginError, also if its name is that of none of them."""
        if plugin.module not in self._records:
            self._records[plugin.module] = _load(plugin)
        records = self._records[plugin.module]
        names = list(dict.fromkeys(name for record in records for name in entry_names(record)))
        if plugin.name not in names:
            raise PluginError(
                f"{plugin} is broken: its entry point is named {plugin.name!r}, but it supplies {_described(records)}; an "
                "entry point must be named after what it supplies (a segmenter: segmenter.NAME; a type of image processor: "
                "image-processor.NAME)",
                field=GROUP,
                expected=names,
                found=plugin.name,
            )
        return records

    def _not_found(self, name: str, cls: type[Record], kind: str, reason: str) -> PluginNotFound:
        """The error for a name that no plugin supplies as this kind: what there is of the kind, and what to do."""
        installed = sorted(
            {
                record.name
                for listing in self.listings()
                for record in listing.records
                if listing.plugin.name in entry_names(record) and kind_of(record) == kind
            }
        )
        message = f"no {kind} named {name!r}{reason}; installed {kind}s: {', '.join(installed) or 'none'}"
        packages = FIRST_PARTY.get(kind, {})
        close = difflib.get_close_matches(name, {*packages, *installed}, n=1)
        if close and close[0] in installed:
            message += f". Did you mean {close[0]!r}?"
        elif close:
            meant = "" if close[0] == name else f"Did you mean {close[0]!r}? "
            message += f". {meant}pip install vedcore-plugin-{packages[close[0]]}"
        field = {Adapter: "adapter", Backbone: "model_type"}.get(cls, "name")
        return PluginNotFound(message, field=field, expected=installed, found=name)


def installed() -> tuple[Plugin, ...]:
    """The plugins in the metadata of the environment; none if VEDCORE_DISABLE_PLUGINS is 1."""
    if os.environ.get("VEDCORE_DISABLE_PLUGINS") == "1":
        return ()
    found = {Plugin(entry.name, entry.value, *_origin(entry)) for entry in metadata.entry_points(group=GROUP)}
    return tuple(sorted(found, key=str))


def _origin(entry: metadata.EntryPoint) -> tuple[str, str]:
    """The name and version of the distribution of an entry point; an interrupted uninstall may have left it without."""
    try:
        return str(entry.dist.name), str(entry.dist.version)  # type: ignore[union-attr]
    except Exception:
        return "unknown distribution", "?"


def _load(plugin: Plugin) -> tuple[Record, ...]:
    """Import a plugin and return its records. Raises PluginError, whatever the plugin does wrong."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    entry = metadata.EntryPoint(plugin.name, plugin.module, GROUP)
    try:
        manager.register(entry.load(), name=str(plugin))
        manager.check_pending()
        records = tuple(record for answer in manager.hook.vedcore_plugin() for record in answer)
    except KeyboardInterrupt:
        raise
    except BaseException as cause:  # any module may be a plugin: it may exit, or a compiled library may panic
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
        raise PluginError(f"{plugin} is broken: {reason}") from cause
    if not records:
        raise PluginError(f"{plugin} is broken: its module has no hook vedcore_plugin() that returns a record")
    for record in records:
        if not isinstance(record, Record):
            raise PluginError(
                f"{plugin} is broken: vedcore_plugin() returned a {type(record).__name__}, not a record",
                field="vedcore_plugin",
                expected="records",
                found=type(record).__name__,
            )
        if record.protocol != PROTOCOL:
            newer = isinstance(record.protocol, int) and record.protocol > PROTOCOL
            changes = CHANGES.get(record.protocol) if isinstance(record.protocol, int) else None
            advice = "upgrade vedcore" if newer else f"install a newer {plugin.distribution}"
            if changes is not None:
                advice += f", or change it: {changes}"
            raise PluginError(
                f"{plugin} was written for protocol {record.protocol!r}, this vedcore speaks {PROTOCOL}: {advice}",
                field="protocol",
                expected=PROTOCOL,
                found=record.protocol,
            )
    return records


def kind_of(record: Record) -> str:
    """The kind of a record: "encoder", "decoder", "adapter", "checkpoint", "segmenter" or "image processor"."""
    return record.role if isinstance(record, Backbone) else _KINDS.get(type(record), type(record).__name__.lower())


def entry_name(record: Record) -> str:
    """The name that the entry point of a record has: "vit", "segmenter.pages"."""
    return _PREFIXES.get(type(record), "") + record.name


def entry_names(record: Record) -> tuple[str, ...]:
    """The names of all entry points of a record: a backbone also has those of the models whose files contain its config."""
    return (entry_name(record), *(getattr(record.config, "inside", ()) if isinstance(record, Backbone) else ()))


def describe(record: Record) -> str:
    """The kind and the name of a record: "encoder vit"."""
    return f"{kind_of(record)} {record.name}"


def _described(records: Iterable[Record]) -> str:
    return ", ".join(describe(record) for record in records)


_default: list[Registry] = []


def registry() -> Registry:
    """The registry of this environment. The metadata are read once."""
    if not _default:
        _default.append(Registry())
    return _default[0]
