"""docs/write-a-plugin.md: its blocks are the example project, and that project works as the page says."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import vedcore.nn
from tests.test_scaffold import install, run
from vedcore import Backbone, Step, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.testing import BackboneSpec
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_vit import ViTConfig

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/write-a-plugin.md"
PROJECT = ROOT / "examples/vedcore-plugin-convnext"
BLOCK = re.compile(r'^```\w+ title="([^"\n]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
UNTOLD = {"README.md", "vedcore_plugin_convnext/py.typed"}


def told():
    """What the page says that each file holds: its blocks in order."""
    files = {}
    for name, block in BLOCK.findall(PAGE.read_text()):
        files.setdefault(name, []).append(block)
    return {name: "\n".join(blocks) for name, blocks in files.items()}


def lines(text):
    """What a text says, whatever blank lines part its blocks."""
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project as a reader of the page writes it."""
    folder = tmp_path_factory.mktemp("vedcore-plugin-convnext")
    for name, text in told().items():
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
    blocks = told()
    assert set(files) == set(blocks)
    assert all((PROJECT / name).is_file() for name in UNTOLD)
    for name, text in blocks.items():
        assert lines(text) == lines(files[name].read_text()), name


def test_every_file_of_the_page_has_a_home_in_its_picture_of_the_project():
    picture = PAGE.read_text().split("```")[1]
    for name in {*told(), *UNTOLD}:
        assert Path(name).name in picture


def test_the_step_that_the_page_builds_by_hand_is_the_one_of_a_forward_pass():
    (block,) = re.findall(
        r"^```python\n(import torch\nfrom vedcore import Memory.*?)^```$", PAGE.read_text(), re.M | re.S
    )
    names = {}
    exec(block, names)
    torch.manual_seed(0)
    encoder = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)
    decoder = GPT2Config(vocab_size=20, n_positions=12, n_embd=8, n_layer=2, n_head=2)
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=encoder, decoder=decoder)).eval()
    pixels, ids = torch.randn(2, 3, 8, 8), torch.tensor([[1, 5, 6], [1, 7, 8]])
    with torch.no_grad():
        wanted = model(pixel_values=pixels, decoder_input_ids=ids).logits
        found = names["logits"](model.decoder, ids, model.encoder(pixels).states)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_page_names_every_field_of_a_record_a_spec_and_a_step_and_the_bricks_are_there():
    page = PAGE.read_text()
    for kind in (Backbone, BackboneSpec, Step):
        assert all(f"`{field.name}`" in page for field in fields(kind))
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
