"""Run the laws over a backbone: one call that returns a report, and the same as a pytest class."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any, ClassVar

import hypothesis
import torch

from vedcore.contract.hookspecs import Backbone
from vedcore.errors import PluginError
from vedcore.testing.checks import CHECKS, LEVELS, Check
from vedcore.testing.spec import BackboneSpec, spec_of
from vedcore.testing.subject import Subject, is_size


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one check: "passed", "failed", "blocked", "excluded" or "unclaimed", and the reason."""

    check: str
    level: str
    result: str
    reason: str = ""


@dataclass(slots=True)
class Report:
    """The outcomes of one backbone, in the order of the checks."""

    backbone: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.of("failed")

    def of(self, result: str) -> list[Outcome]:
        """The outcomes with one result."""
        return [outcome for outcome in self.outcomes if outcome.result == result]

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(asdict(self), indent=2)

    def __str__(self) -> str:
        counts = {outcome.result: len(self.of(outcome.result)) for outcome in self.outcomes}
        summary = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
        failed = ", ".join(outcome.check for outcome in self.of("failed"))
        return f"{self.backbone}: {summary}" + (f" (failed: {failed})" if failed else "")


def check_backbone(backbone: Backbone | BackboneSpec, *, exclude: Mapping[str, str] | None = None) -> Report:
    """Check every law of the backbone's role.

    backbone: a record, whose spec is in the ``testing`` module of its package, or a spec.
    exclude: ids of checks, each with the reason why the law does not apply. Each of these is a failure, because an exclusion
    that is not needed hides the next fault: an id that does not exist, an empty reason, a law that does not apply to this
    backbone anyway, a law that holds.

    Raises PluginError if there is no spec, or if it names a reference and transformers is not installed.
    """
    spec = spec_of(backbone)
    record = spec.record
    if spec.reference and find_spec("transformers") is None:
        raise PluginError(
            f"the spec of {record.name} names a reference, {spec.reference}, and transformers is not installed: "
            "pip install transformers, or leave the reference out",
            field="reference",
            expected="transformers",
        )
    exclude = dict(exclude or {})
    report = Report(f"{record.role} {record.name}")
    for name, reason in exclude.items():
        problem = exclusion_problem(spec, name, reason)
        if problem is not None:
            level = CHECKS[name].level if name in CHECKS else LEVELS[0]
            report.outcomes.append(Outcome(name, level, "failed", problem))
    wrong = {outcome.check for outcome in report.outcomes}
    broken: str | None = None  # the level of the first law that does not hold
    closed: set[str] = set()  # checks that failed or were blocked
    for check in checks_of(record):
        if check.id in wrong:
            continue
        outcome = _outcome(spec, check, exclude.get(check.id), broken, closed)
        report.outcomes.append(outcome)
        if outcome.result == "blocked" or (outcome.result == "failed" and check.id not in exclude):
            closed.add(check.id)
            broken = broken or check.level
    return report


def checks_of(record: Backbone) -> list[Check]:
    """The checks of the record's role, level by level."""
    own = [check for check in CHECKS.values() if check.role in ("both", record.role)]
    return sorted(own, key=lambda check: LEVELS.index(check.level))


def exclusion_problem(spec: BackboneSpec, name: str, reason: str) -> str | None:
    """Why ``name`` cannot be excluded with ``reason``, or None. Whether its law holds shows only when it runs."""
    if name not in CHECKS:
        return f"excluded, but there is no check {name!r}"
    if not reason.strip():
        return "excluded without a reason"
    if CHECKS[name] not in checks_of(spec.record) or not _claimed(spec, CHECKS[name]):
        return f"excluded ({reason}), but the law does not apply to this {spec.record.role}: remove the exclusion"
    return None


def _claimed(spec: BackboneSpec, check: Check) -> bool:
    if check.claim == "reference":
        return bool(spec.reference)
    return check.claim is None or check.claim in spec.claims


def _outcome(
    spec: BackboneSpec, check: Check, excluded: str | None, broken: str | None, closed: Collection[str]
) -> Outcome:
    if not _claimed(spec, check):
        return Outcome(check.id, check.level, "unclaimed", f"the spec does not claim {check.claim!r}")
    if broken is not None and (excluded is not None or LEVELS.index(check.level) > LEVELS.index(broken)):
        return Outcome(check.id, check.level, "blocked", f"the level {broken!r} failed")
    before = [name for name in check.after if name in closed]
    if before:
        return Outcome(check.id, check.level, "blocked", f"it comes after {before[0]!r}, which did not pass")
    problem = _problem(spec, check)
    if excluded is None:
        return Outcome(check.id, check.level, "passed" if problem is None else "failed", problem or "")
    if problem is None:
        reason = f"excluded ({excluded}), but the law holds: remove the exclusion"
        return Outcome(check.id, check.level, "failed", reason)
    return Outcome(check.id, check.level, "excluded", excluded)


def _problem(spec: BackboneSpec, check: Check) -> str | None:
    """Why the law does not hold for some small config, or None."""
    tried: dict[str, Any] = {}
    profile = hypothesis.settings.get_current_profile_name()
    count = check.examples if profile != "nightly" or check.examples == 1 else 10 * check.examples

    settings = hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    def law(fields: dict[str, Any]) -> None:
        # The first config has the defaults: most users run them, and a strategy may never draw them.
        if fields == tried.setdefault("first", fields):
            fields = {name: value for name, value in fields.items() if is_size(value)}
        tried["config"] = fields
        torch.manual_seed(0)
        check.run(Subject(spec, fields))

    try:
        given: Any = hypothesis.given(spec.configs)
        # The caller's random numbers stay as they are.
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            settings(given(law))()
    except Exception as error:  # whatever the backbone raises is a failure of the law
        found = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        return f"{check.law}: {found}. Usual cause: {check.cause}. Config: {tried.get('config')}"
    return None


class BackboneContract:
    """The laws as a pytest class.

    A subclass sets ``record``, a Backbone (or its BackboneSpec), and may set ``exclude``, as for ``check_backbone``.
    """

    record: ClassVar[Backbone | BackboneSpec]
    exclude: ClassVar[Mapping[str, str]] = {}
    spec: ClassVar[BackboneSpec]
    """The spec of ``record``, which is found when the subclass is made."""
    _reports: ClassVar[dict[str, Report]] = {}

    def __init_subclass__(cls) -> None:
        """Add one test for each check of the role, and one for the exclusions. Raises PluginError without a spec."""
        record = getattr(cls, "record", None)
        if not isinstance(record, Backbone | BackboneSpec):
            raise PluginError(
                f"{cls.__name__} needs a class attribute record, the Backbone that it tests",
                field="record",
                expected="a Backbone",
                found=record,
            )
        cls.spec = spec_of(record)
        for check in checks_of(cls.spec.record):
            setattr(cls, f"test_{check.id.replace('-', '_')}", _test(check.id))
        cls.test_exclusions = _test_exclusions  # type: ignore[attr-defined]

    @classmethod
    def report(cls) -> Report:
        """The report of this class's backbone. The checks run once."""
        key = f"{cls.__module__}.{cls.__qualname__}"
        if key not in cls._reports:
            cls._reports[key] = check_backbone(cls.spec, exclude=cls.exclude)
        return cls._reports[key]


def _test(check: str) -> Any:
    def test(self: BackboneContract) -> None:
        import pytest

        outcome = next(o for o in type(self).report().outcomes if o.check == check)
        if outcome.result == "failed":
            pytest.fail(f"{type(self).spec.record.name}: {outcome.reason}", pytrace=False)
        if outcome.result != "passed":
            pytest.skip(f"{outcome.result}: {outcome.reason}")

    test.__doc__ = CHECKS[check].law
    return test


def _test_exclusions(self: BackboneContract) -> None:
    """Every exclusion names a check that applies to this backbone, and has a reason."""
    found = {name: exclusion_problem(type(self).spec, name, why) for name, why in type(self).exclude.items()}
    problems = [f"{name!r}: {problem}" for name, problem in found.items() if problem is not None]
    if problems:
        raise PluginError(f"{type(self).__name__}.exclude: {'; '.join(problems)}", field="exclude", found=problems)
