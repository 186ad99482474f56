"""Build the wheel of every distribution, install them in an empty environment, and use them there: ``make wheels``.

The wheels are what is tested: the environment has no link to this folder. It reads the example images and a page with the
command, and a PDF file that it has made of the page; writes new plugins and installs them, and the tutorial's; runs the
contract of every installed backbone; and reads an image with each of the new encoders.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"

CONTRACTS = """
import warnings; warnings.simplefilter("ignore")
import vedcore, sys
from vedcore import Backbone
from vedcore.registry import registry
from vedcore.testing import check_backbone
assert "site-packages" in vedcore.__file__, vedcore.__file__
EXCLUDE = {  # as in the tests of the packages themselves
    "donut-swin": {"reference-loads": "transformers wants an index in its files that follows from the config"},
    "convnext": {"parity": "its states are a map there; its own test compares them"},
}
bad = False
for listing in registry().listings():
    assert listing.reason is None, listing
    for record in listing.records:
        if isinstance(record, Backbone) and record.name == listing.plugin.name:
            report = check_backbone(record, exclude=EXCLUDE.get(record.name))
            print(report, flush=True)
            for outcome in report.of("failed"):
                bad = True
                print("   ", outcome.check, outcome.reason)
sys.exit(bad)
"""


READ = """
import sys
from vedcore import ImageProcessor, Processor, Tokenizer, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.config import pair
from vedcore.registry import registry
name, adapter, folder = sys.argv[1:]
reader = registry().checkpoint("line-reader").folder
decoder = registry().backbone("gpt2", "decoder").config(vocab_size=99, n_positions=28, n_embd=32, n_layer=2, n_head=4)
encoder = registry().backbone(name, "encoder").config()
ids = dict(decoder_start_token_id=1, bos_token_id=1, eos_token_id=2, pad_token_id=0)
model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=encoder, decoder=decoder, adapter=adapter, **ids))
model.save_pretrained(folder)
height, width = pair(encoder.image_size)
images = ImageProcessor(size={"height": height, "width": width})
Processor(images, Tokenizer.from_pretrained(reader)).save_pretrained(folder)
"""


def main() -> None:
    """Build, install, read, check."""
    folders = [ROOT, *sorted((ROOT / "plugins").iterdir())]
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("*.whl"):
        old.unlink()
    for folder in folders:
        run(sys.executable, "-m", "build", "--wheel", "--outdir", str(DIST), str(folder), quiet=True)
    wheels = sorted(DIST.glob("*.whl"))
    print(f"built {len(wheels)} wheels in {DIST.relative_to(ROOT)}")
    with tempfile.TemporaryDirectory() as temporary:
        environment = Path(temporary) / "venv"
        venv.create(environment, with_pip=True)
        python = str(environment / "bin/python")
        install = (
            python,
            "-m",
            "pip",
            "-q",
            "--disable-pip-version-check",
            "install",
            "-c",
            str(ROOT / "constraints.txt"),
        )
        run(*install, "torch")
        run(*install, *map(str, wheels))
        images = ROOT / "examples/images"
        run(str(environment / "bin/vedcore"), "read", str(images), cwd=temporary)
        page, searchable = str(ROOT / "examples/pages/letter.png"), str(Path(temporary) / "letter.pdf")
        run(str(environment / "bin/vedcore"), "read", page, "--output", searchable, cwd=temporary)
        run(*install, "pypdfium2")
        run(str(environment / "bin/vedcore"), "read", searchable, cwd=temporary)
        run(str(environment / "bin/vedcore"), "plugins", cwd=temporary)
        new = {role: f"fresh-{role}" for role in ("encoder", "decoder", "adapter")}
        for role, name in new.items():
            run(str(environment / "bin/vedcore"), "new-plugin", name, "--role", role, "--into", temporary)
            run(*install, str(Path(temporary) / f"vedcore-plugin-{name}"))
        run(*install, str(ROOT / "examples/vedcore-plugin-convnext"))
        run(*install, "hypothesis", "transformers", "pytest")
        run(python, "-c", CONTRACTS, cwd=temporary)
        packages = [str(Path(temporary) / f"vedcore-plugin-{name}") for name in new.values()]
        for package in (*packages, str(ROOT / "examples/vedcore-plugin-convnext")):
            run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", package, cwd=package)
        for encoder, adapter in ((new["encoder"], new["adapter"]), ("convnext", "linear")):
            folder = str(Path(temporary) / encoder)
            run(python, "-c", READ, encoder, adapter, folder, cwd=temporary)
            run(str(environment / "bin/vedcore"), "read", str(images / "03-date.png"), "--model", folder, cwd=temporary)


def run(*command: str, cwd: str | None = None, quiet: bool = False) -> None:
    """Run a command; leave with its exit code if it fails."""
    variables = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(command, cwd=cwd, env=variables, check=False, stdout=subprocess.DEVNULL if quiet else None)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
