"""docs/write-a-plugin.md: its blocks are the example project and other examples, and all of them work as the page says."""

import importlib
import re
import sys
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

import vedcore.nn
from tests.test_scaffold import install, run
from vedcore import (
    Backbone,
    Decoder,
    DecoderSizes,
    Seam,
    Step,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from vedcore.model.adapters import LinearAdapter, join
from vedcore.testing import BackboneSpec, check_backbone
from vedcore_plugin_distilbert import DistilBertConfig, DistilBertForCausalLM
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_vit import ViTConfig

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/write-a-plugin.md"
PROJECT = ROOT / "examples/vedcore-plugin-convnext"
BLOCK = re.compile(r'^```\w+ title="([^"\n]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_ON_THE_PAGE = {"README.md", "vedcore_plugin_convnext/py.typed"}


def files_of_the_page():
    """The content of each file on the page: its blocks in order."""
    files = {}
    for name, block in BLOCK.findall(PAGE.read_text()):
        files.setdefault(name, []).append(block)
    return {name: "\n".join(blocks) for name, blocks in files.items()}


def lines(text):
    """The lines of a text without the blank ones."""
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project, written from the page."""
    folder = tmp_path_factory.mktemp("vedcore-plugin-convnext")
    for name, text in files_of_the_page().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def site(project, tmp_path_factory):
    """A folder with that project's package installed."""
    folder = tmp_path_factory.mktemp("site")
    install(project, folder)
    return folder


def test_the_blocks_are_the_files_of_the_example_all_and_whole():
    files = {str(path.relative_to(PROJECT)): path for path in PROJECT.rglob("*") if path.suffix in {".py", ".toml"}}
    blocks = files_of_the_page()
    assert set(files) == set(blocks)
    assert all((PROJECT / name).is_file() for name in NOT_ON_THE_PAGE)
    for name, text in blocks.items():
        assert lines(text) == lines(files[name].read_text()), name


def test_the_picture_of_the_project_has_every_file_of_the_page():
    picture = PAGE.read_text().split("```")[1]
    for name in {*files_of_the_page(), *NOT_ON_THE_PAGE}:
        assert Path(name).name in picture


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """The modules of the page's examples without a file name, in order: a decoder, a step built by hand, an adapter."""
    modules = []
    monkeypatch.syspath_prepend(tmp_path)
    for number, block in enumerate(EXAMPLE.findall(PAGE.read_text())):
        name = f"example_of_the_page_{number}"
        (tmp_path / f"{name}.py").write_text(block)
        modules.append(importlib.import_module(name))
    yield modules
    for module in modules:
        del sys.modules[module.__name__]


def test_the_decoder_of_the_page_passes_the_contract(examples):
    model = examples[0].TinyForCausalLM
    sizes = {"vocab_size": 14, "hidden_size": 8, "num_layers": 2, "num_heads": 2, "max_positions": 9}
    record = Backbone(name="tiny", role="decoder", model=model, protocol=2)
    report = check_backbone(BackboneSpec(record, st.just(sizes)))
    assert report.passed, report.of("failed")


def test_the_adapter_of_the_page_makes_the_layers_that_the_linear_adapter_makes(examples):
    adapter = examples[2].PlainAdapter()
    decoder = DistilBertForCausalLM(DistilBertConfig(vocab_size=20, dim=8, n_layers=2, n_heads=2, hidden_dim=9))
    join(adapter, decoder)
    layers = decoder.cross
    join(adapter, decoder)
    assert decoder.cross is layers
    for found, made in (
        (adapter.bridge(12, 8), LinearAdapter().bridge(12, 8)),
        (layers[1], LinearAdapter().layer(1, decoder.sizes, None)),
    ):
        assert shapes(found) == shapes(made)


def shapes(module):
    return {name: parameter.shape for name, parameter in module.named_parameters()}


def test_the_step_that_the_page_builds_by_hand_is_the_one_of_a_forward_pass(examples):
    torch.manual_seed(0)
    encoder = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)
    decoder = GPT2Config(vocab_size=20, n_positions=12, n_embd=8, n_layer=2, n_head=2)
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=encoder, decoder=decoder)).eval()
    pixels, ids = torch.randn(2, 3, 8, 8), torch.tensor([[1, 5, 6], [1, 7, 8]])
    with torch.no_grad():
        wanted = model(pixel_values=pixels, decoder_input_ids=ids).logits
        found = examples[1].logits(model.decoder, ids, model.encoder(pixels).states)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_page_names_every_field_and_attribute_of_the_contract_and_its_bricks_exist():
    page = PAGE.read_text()
    for kind in (Backbone, BackboneSpec, Step, DecoderSizes, Seam):
        assert all(f"`{field.name}`" in page for field in fields(kind))
    attributes = {name for name in (*vars(Decoder), *Decoder.__annotations__) if not name.startswith("_")}
    assert attributes == {"sizes", "token_embedding", "embed", "blocks", "cross", "norm", "lm_head", "make_cross"}
    assert all(re.search(rf"`{name}[`(]", page) for name in attributes)
    assert all(f"`{name}`" in page for name in signature(DecoderSizes.uniform).parameters)
    table = page.split("| brick | what it is for |")[1].split("## 5.")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)}
    assert len(named) > 20
    assert named <= set(vedcore.nn.__all__)


def test_the_project_passes_the_contract_and_its_own_tests(project, site):
    command = ("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "tests")
    assert re.search(r"\d+ passed", run(*command, cwd=project, path=site))


def test_it_is_found_composed_trained_and_writes_what_the_page_shows(project, site):
    assert "encoder convnext" in run("-m", "vedcore", "plugins", cwd=project, path=site)
    printed = run("-W", "error", "compose.py", cwd=project, path=site)
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert losses[-1] < losses[0] / 2
    written = [line for line in printed.splitlines() if line.startswith("[")]
    assert written == ["[[1, 11, 12, 2, 0], [1, 13, 14, 15, 2]]"] * 2
    assert all(line in PAGE.read_text() for line in written)
