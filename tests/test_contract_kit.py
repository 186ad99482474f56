"""The contract tests catch planted faults, each by the law that is meant for it and by no other."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

import vedcore_plugin_vit.testing
from tests.broken import (
    DECODER,
    ENCODER,
    FAULTS,
    TEXT_ALONE,
    LeaksTheFuture,
    MakesAFloat32Tensor,
    ToyConfig,
    like,
)
from vedcore.errors import PluginError
from vedcore.testing import CHECKS, BackboneContract, check_backbone, spec_of
from vedcore.testing.checks import LEVELS
from vedcore_plugin_vit import VIT

IDS = [
    "record",
    "config-round-trip",
    "config-types",
    "config-reference",
    "build",
    "attributes",
    "names",
    "shapes",
    "last-position",
    "largest-ids",
    "stateless",
    "deterministic",
    "composition",
    "trace",
    "batch-independence",
    "causality",
    "looks-at-the-image",
    "memory-mask",
    "token-mask",
    "state-mask",
    "pixel-mask",
    "resize",
    "shape-errors",
    "inputs-embeds",
    "bfloat16",
    "gradients",
    "pickles",
    "swapped-linear",
    "parity",
    "cache",
    "unequal-rows",
    "shared-memory",
    "prepared",
    "compile",
    "export",
    "meta",
    "save-and-load",
    "strict-load",
    "reference-loads",
]

LEAK = like(DECODER, LeaksTheFuture)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.name}-{fault.law}")
def test_a_fault_is_caught_by_its_law_and_by_no_other(fault):
    report = check_backbone(fault.spec)
    (failed,) = report.of("failed")
    assert failed.check == fault.law, failed.reason
    check = CHECKS[fault.law]
    assert failed.reason.startswith(f"{check.law}: ")
    assert f"Usual cause: {check.cause}. Config: " in failed.reason
    later = [o for o in report.outcomes if LEVELS.index(o.level) > LEVELS.index(failed.level)]
    assert {o.result for o in later} <= {"blocked", "unclaimed"}


@pytest.mark.parametrize("spec", [ENCODER, DECODER], ids=lambda spec: spec.record.role)
def test_a_backbone_without_a_fault_passes_and_its_missing_claims_are_listed(spec):
    report = check_backbone(spec)
    assert report.passed, report.of("failed")
    assert [o.check for o in report.of("unclaimed")] == ["config-reference", "parity", "reference-loads"]
    bare = check_backbone(replace(spec, claims=()))
    unclaimed = ["pixel-mask", "resize"] if spec is ENCODER else []
    assert {o.check for o in bare.of("unclaimed")} == {*unclaimed, "config-reference", "parity", "reference-loads"}
    assert bare.passed


def test_a_decoder_without_cross_attention_is_compared_with_its_reference_without_an_image():
    report = check_backbone(TEXT_ALONE)
    assert report.passed, report.of("failed")
    assert not report.of("unclaimed")


def test_the_first_config_that_a_law_tries_has_the_defaults_and_small_sizes(monkeypatch):
    tried, read = [], ToyConfig.from_dict
    monkeypatch.setattr(ToyConfig, "from_dict", lambda data, *where: (tried.append(set(data)), read(data, *where))[1])
    assert check_backbone(ENCODER).passed
    assert tried[0] == {"vocab_size", "hidden_size", "layers", "heads", "image_size", "patch_size"}
    assert tried[0] | {"act", "eps", "bias"} in tried


def test_the_checks_leave_the_callers_random_state_as_it_was():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    check_backbone(LEAK)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_law_of_the_kit_catches_a_fault():
    assert {fault.law for fault in FAULTS} == set(CHECKS)


def test_check_ids_are_stable_and_each_has_a_law_a_cause_and_a_level():
    assert list(CHECKS) == IDS
    for name, check in CHECKS.items():
        assert check.id == name
        assert check.law
        assert check.cause
        assert check.level in LEVELS
    assert [check.level for check in CHECKS.values()] == sorted(
        (check.level for check in CHECKS.values()), key=LEVELS.index
    )


def test_a_check_comes_after_earlier_ones_of_its_level():
    for check in CHECKS.values():
        for other in check.after:
            assert CHECKS[other].level == check.level
            assert IDS.index(other) < IDS.index(check.id)


def test_a_failure_names_the_law_the_config_the_first_difference_and_the_usual_cause():
    (failed,) = check_backbone(LEAK).of("failed")
    assert failed.reason.startswith(
        "a later token never changes an earlier logit: LawBroken: logits before the changed token"
    )
    assert "differs by up to " in failed.reason
    assert "first at [0, 0, 0] of [2, 5, " in failed.reason
    assert "Usual cause: a mask that is not causal. Config: {'vocab_size': " in failed.reason


def test_a_failed_check_blocks_later_levels_and_what_comes_after_it():
    report = check_backbone(LEAK)
    blocked = {o.check: o.reason for o in report.of("blocked")}
    assert blocked["token-mask"] == "it comes after 'causality', which did not pass"
    assert {blocked[name] for name in ("cache", "export", "strict-load")} == {"the level 'shapes' failed"}
    assert "gradients" in {o.check for o in report.of("passed")}


def test_a_report_is_json_and_one_line():
    report = check_backbone(LEAK)
    content = json.loads(report.to_json())
    assert content["backbone"] == "decoder toy"
    outcome = next(o for o in content["outcomes"] if o["check"] == "causality")
    assert outcome["level"] == "shapes"
    assert outcome["result"] == "failed"
    assert str(report).startswith("decoder toy: ")
    assert str(report).endswith("3 unclaimed (failed: causality)")
    assert "1 failed" in str(report)
    assert "\n" not in str(report)
    assert not report.passed


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("casuality", "it looks ahead", "excluded, but there is no check 'casuality'"),
        ("causality", " ", "excluded without a reason"),
        (
            "pixel-mask",
            "no pixels",
            "excluded (no pixels), but the law does not apply to this decoder: remove the exclusion",
        ),
        (
            "parity",
            "no reference",
            "excluded (no reference), but the law does not apply to this decoder: remove the exclusion",
        ),
    ],
)
def test_an_exclusion_names_a_law_that_applies_and_has_a_reason(name, reason, message):
    report = check_backbone(like(DECODER, DECODER.record.model, protocol=1), exclude={name: reason})
    excluded, record = report.of("failed")
    assert (excluded.check, excluded.reason) == (name, message)
    assert record.check == "record"
    assert len({o.check for o in report.outcomes}) == len(report.outcomes)


def test_an_excluded_check_that_passes_fails():
    (failed,) = check_backbone(DECODER, exclude={"causality": "it looks ahead"}).of("failed")
    assert failed.check == "causality"
    assert failed.reason == "excluded (it looks ahead), but the law holds: remove the exclusion"


def test_a_law_that_does_not_hold_can_be_excluded_with_a_reason():
    report = check_backbone(like(ENCODER, MakesAFloat32Tensor), exclude={"bfloat16": "only float32 is supported"})
    assert report.passed
    assert [(o.check, o.reason) for o in report.of("excluded")] == [("bfloat16", "only float32 is supported")]
    assert not report.of("blocked")


def test_a_reference_without_transformers_is_an_error_and_not_the_failure_of_a_law(monkeypatch):
    monkeypatch.setattr("vedcore.testing.contract.find_spec", lambda name: None)
    message = r"names a reference, GPT2LMHeadModel, and transformers is not installed: pip install"
    with pytest.raises(PluginError, match=message) as raised:
        check_backbone(TEXT_ALONE)
    assert (raised.value.field, raised.value.expected) == ("reference", "transformers")
    assert check_backbone(ENCODER).passed


def test_a_contract_without_a_record_is_an_error():
    with pytest.raises(PluginError, match="TestNothing needs a class attribute record"):
        type("TestNothing", (BackboneContract,), {})


def test_the_spec_of_a_record_is_found_in_the_testing_module_of_its_package():
    assert spec_of(VIT) is vedcore_plugin_vit.testing.SPEC
    assert spec_of(DECODER) is DECODER
    assert contract(record=VIT).spec is contract(record=spec_of(VIT)).spec


def test_a_record_without_a_spec_is_an_error_that_says_what_to_add():
    with pytest.raises(
        PluginError, match=r"no BackboneSpec for the encoder 'big-vit'; .*BackboneSpec\(BIG_VIT, "
    ) as raised:
        check_backbone(replace(VIT, name="big-vit"))
    assert raised.value.file == vedcore_plugin_vit.testing.__file__
    with pytest.raises(PluginError, match=r"tests\.testing cannot be imported; the contract tests of toy need it"):
        contract(record=ENCODER.record)


def test_a_spec_with_an_unknown_claim_is_an_error_and_a_spec_never_changes():
    with pytest.raises(PluginError, match="claims 'resizes'; the claims are 'global attention', 'resize'") as raised:
        replace(ENCODER, claims=("resizes",))
    assert (raised.value.field, raised.value.found) == ("claims", "resizes")
    with pytest.raises(FrozenInstanceError):
        ENCODER.reference = "ViTModel"


def test_an_encoder_may_say_itself_how_large_its_images_are():
    shapes = []

    def pixel_shape(config):
        shapes.append((config.num_channels, *config.image_size))
        return shapes[-1]

    assert check_backbone(replace(ENCODER, pixel_shape=pixel_shape)).passed
    assert set(shapes) <= {(3, 8, 12), (3, 12, 12)}


def contract(**attributes):
    return type("TestToy", (BackboneContract,), {"__module__": __name__, **attributes})


def outcome_of(made, check):
    try:
        getattr(made(), f"test_{check.replace('-', '_')}")()
    except (pytest.skip.Exception, pytest.fail.Exception) as outcome:
        return f"{type(outcome).__name__}: {outcome}"
    return "passed"


@pytest.mark.parametrize(("spec", "other"), [(ENCODER, "decoder"), (DECODER, "encoder")], ids=["encoder", "decoder"])
def test_a_contract_class_has_one_test_for_each_check_and_one_for_its_exclusions(spec, other):
    made = contract(record=spec)
    tests = {name for name in dir(made) if name.startswith("test_")}
    checks = {check.id for check in CHECKS.values() if check.role != other}
    assert tests == {f"test_{check.replace('-', '_')}" for check in checks} | {"test_exclusions"}
    assert all(getattr(made, f"test_{check.replace('-', '_')}").__doc__ == CHECKS[check].law for check in checks)


def test_a_contract_class_passes_fails_and_skips_as_its_report_says():
    made = contract(record=LEAK, __qualname__="Leak")
    assert outcome_of(made, "gradients") == "passed"
    assert outcome_of(made, "causality").startswith("Failed: toy: a later token never changes an earlier logit")
    assert outcome_of(made, "strict-load") == "Skipped: blocked: the level 'shapes' failed"
    assert outcome_of(made, "parity") == "Skipped: unclaimed: the spec does not claim 'reference'"


def test_a_contract_class_refuses_a_wrong_exclusion():
    made = contract(record=DECODER, exclude={"casuality": "it looks ahead", "causality": ""})
    with pytest.raises(PluginError, match="no check 'casuality'; 'causality': excluded without a reason"):
        made().test_exclusions()
    contract(record=LEAK, exclude={"causality": "it looks ahead"})().test_exclusions()
