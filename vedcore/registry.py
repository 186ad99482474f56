"""Plugins: found by their metadata, imported when used, each on its own, so that a broken one costs only itself."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import TypeVar

import pluggy

from vedcore.contract import hookspecs
from vedcore.contract.hookspecs import GROUP, PROTOCOL, Adapter, Backbone, Checkpoint, Record
from vedcore.errors import PluginError, PluginNotFound

R = TypeVar("R", Backbone, Adapter, Checkpoint)

FIRST_PARTY = {
    "beit": "beit",
    "deit": "deit",
    "swin": "swin",
    "donut-swin": "swin",
    "vit": "vit",
    "bart": "bart",
    "mbart": "bart",
    "bert": "bert",
    "distilbert": "distilbert",
    "gpt2": "gpt2",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "trocr": "trocr",
    "line-reader": "linereader",
}
"""Names that a package of ours supplies: read for the hint in an error, and nowhere else."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point: the name it answers to, its module, and the distribution that it comes from."""

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
    """The plugins of an environment. Nothing is imported before a name is asked for."""

    def __init__(self, plugins: Iterable[Plugin] | None = None) -> None:
        """plugins: instead of those that are installed, for tests."""
        self._plugins = tuple(plugins) if plugins is not None else installed()
        self._records: dict[str, tuple[Record, ...]] = {}

    def backbone(self, name: str, role: str) -> Backbone:
        """The backbone for ``"model_type": name``. PluginNotFound, or PluginError if its plugin cannot be used."""
        return self._find(name, Backbone, role)

    def adapter(self, name: str) -> Adapter:
        """The cross-attention adapter of that name."""
        return self._find(name, Adapter, "cross-attention adapter")

    def checkpoint(self, name: str) -> Checkpoint:
        """The shipped checkpoint of that name."""
        return self._find(name, Checkpoint, "checkpoint")

    def checkpoint_names(self) -> list[str]:
        """The names of shipped checkpoints, from plugins that can be used."""
        found = {r.name for listing in self.listings() for r in listing.records if isinstance(r, Checkpoint)}
        return sorted(found)

    def offers(self, name: str) -> bool:
        """Whether an installed plugin answers to ``name``; nothing is imported to find out."""
        return any(plugin.name == name for plugin in self._plugins)

    def listings(self) -> list[Listing]:
        """Every plugin, each imported by itself, in the order of names."""
        return [self._listing(plugin) for plugin in sorted(self._plugins, key=lambda p: (p.name, p.distribution))]

    def _listing(self, plugin: Plugin) -> Listing:
        try:
            self._refuse_clash(plugin.name)
            return Listing(plugin, self._load(plugin), None)
        except PluginError as error:
            return Listing(plugin, (), str(error))

    def _find(self, name: str, kind: type[R], wanted: str) -> R:
        candidates = [plugin for plugin in self._plugins if plugin.name == name]
        if not candidates:
            raise PluginNotFound(self._not_found(name, wanted))
        self._refuse_clash(name)
        for record in self._load(candidates[0]):
            if (
                isinstance(record, kind)
                and record.name == name
                and (not isinstance(record, Backbone) or record.role == wanted)
            ):
                return record
        supplied = ", ".join(describe(record) for record in self._load(candidates[0])) or "nothing"
        raise PluginNotFound(f"no {wanted} named {name!r}: {candidates[0]} supplies {supplied}")

    def _refuse_clash(self, name: str) -> None:
        claims = sorted({f"{p.distribution} {p.version}" for p in self._plugins if p.name == name})
        if len(claims) > 1:
            raise PluginError(
                f"{len(claims)} distributions supply {name!r}: {' and '.join(claims)}; uninstall one of them"
            )

    def _load(self, plugin: Plugin) -> tuple[Record, ...]:
        if plugin.module not in self._records:
            self._records[plugin.module] = _load(plugin)
        return self._records[plugin.module]

    def _not_found(self, name: str, wanted: str) -> str:
        names = sorted({plugin.name for plugin in self._plugins})
        message = f"no {wanted} named {name!r}; installed: {', '.join(names) or 'none'}"
        close = difflib.get_close_matches(name, {*FIRST_PARTY, *names}, n=1)
        if close and close[0] in names:
            return f"{message}. Did you mean {close[0]!r}?"
        if close:
            meant = "" if close[0] == name else f"Did you mean {close[0]!r}? "
            return f"{message}. {meant}pip install vedcore-plugin-{FIRST_PARTY[close[0]]}"
        return message


def installed() -> tuple[Plugin, ...]:
    """The plugins that the metadata of the environment name; none with VEDCORE_DISABLE_PLUGINS=1."""
    if os.environ.get("VEDCORE_DISABLE_PLUGINS") == "1":
        return ()
    found = {Plugin(entry.name, entry.value, *_origin(entry)) for entry in metadata.entry_points(group=GROUP)}
    return tuple(sorted(found, key=str))


def _origin(entry: metadata.EntryPoint) -> tuple[str, str]:
    """The name and version of the distribution that an entry point comes from, which half an uninstall may have left."""
    try:
        return str(entry.dist.name), str(entry.dist.version)  # type: ignore[union-attr]
    except Exception:
        return "unknown distribution", "?"


def _load(plugin: Plugin) -> tuple[Record, ...]:
    """Import a plugin and ask it what it supplies. PluginError, whatever the plugin does wrong."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    entry = metadata.EntryPoint(plugin.name, plugin.module, GROUP)
    try:
        manager.register(entry.load(), name=str(plugin))
        manager.check_pending()
        records = tuple(record for answer in manager.hook.vedcore_plugin() for record in answer)
    except KeyboardInterrupt:
        raise
    except BaseException as cause:  # a stranger's module may fail in any way: SystemExit, a panic of a compiled library
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
        raise PluginError(f"{plugin} is broken: {reason}") from cause
    if not records:
        raise PluginError(f"{plugin} is broken: its module has no hook vedcore_plugin() that returns a record")
    for record in records:
        if not isinstance(record, Backbone | Adapter | Checkpoint):
            raise PluginError(f"{plugin} is broken: vedcore_plugin() returned a {type(record).__name__}, not a record")
        if record.protocol != PROTOCOL:
            newer = isinstance(record.protocol, int) and record.protocol > PROTOCOL
            advice = "upgrade vedcore" if newer else f"install a newer {plugin.distribution}"
            raise PluginError(
                f"{plugin} was written for protocol {record.protocol!r}, this vedcore speaks {PROTOCOL}: {advice}"
            )
    return records


def describe(record: Record) -> str:
    """What a record is, in two words: "encoder vit"."""
    kind = record.role if isinstance(record, Backbone) else type(record).__name__.lower()
    return f"{kind} {record.name}"


_default: list[Registry] = []


def registry() -> Registry:
    """The plugins of this environment, looked up once."""
    if not _default:
        _default.append(Registry())
    return _default[0]
