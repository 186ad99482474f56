"""A path or a hub id becomes a folder; a stand-in hub on this machine answers what the client asks."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import vedcore
from vedcore.errors import CheckpointNotFound
from vedcore.storage import hub

ROOT = Path(__file__).parent.parent
LINE_READER = ROOT / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "vit"}',
    "model.safetensors": b"weights",
    "vocab.txt": b"a\nb\n",
    "spiece.model": b"pieces",
    "pytorch_model.bin": b"a pickle",
    "README.md": b"# Model",
    "modeling.py": b"raise SystemExit",
}


# Names that need no network.


def test_a_folder_is_itself(tmp_path, monkeypatch):
    assert hub.resolve(tmp_path) == tmp_path
    assert hub.resolve(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert hub.resolve("~/model") == tmp_path / "model"
    monkeypatch.chdir(tmp_path)
    assert hub.resolve("model") == Path("model")


def test_a_file_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_text("x")
    with pytest.raises(CheckpointNotFound, match=r"model\.safetensors is a file; name the folder"):
        hub.resolve(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "name",
    [
        "/no/such/folder",
        "a b",
        "../x",
        "./x",
        ".hidden",
        "-x",
        "a/b/c",
        "a..b/c",
        "a\0b",
        "x\n",
        "x" * 5000,
        "~nobody_x/y",
    ],
    ids=lambda name: repr(name[:20]),
)
def test_a_name_that_is_no_hub_id_never_reaches_the_network(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_fetch", lambda *args: pytest.fail("asked the hub"))
    with pytest.raises(CheckpointNotFound, match="no such folder"):
        hub.resolve(name)


def test_an_id_is_not_fetched_when_the_hub_is_switched_off(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for offline in (True, False):
        with pytest.raises(CheckpointNotFound, match="owner/model: no such folder, and not fetched from the hub"):
            hub.resolve("owner/model", offline=offline)
    with pytest.raises(CheckpointNotFound, match=r"opened by Reader\.load\('line-reader'\)$"):
        hub.resolve("line-reader", offline=True)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ("RepositoryNotFoundError", "owner/model: no such folder, and no such repository on the hub"),
        ("RevisionNotFoundError", "owner/model: no revision 'v9' on the hub"),
    ],
)
def test_the_error_names_what_the_hub_does_not_have(monkeypatch, tmp_path, failure, told):
    import huggingface_hub
    from huggingface_hub import errors

    def fail(repository, **options):
        assert options["revision"] == "v9"
        error = getattr(errors, failure)
        raise error.__new__(error)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointNotFound, match=told):
        hub.resolve("owner/model", revision="v9")


# The client against a hub.


class Hub(BaseHTTPRequestHandler):
    """Of the hub's interface what fetching a snapshot asks for."""

    def log_message(self, *args):
        pass

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        name = path.rsplit("/", 1)[1]
        if not path.startswith(("/api/models/owner/model", "/owner/model/")):
            self.answer(404, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        elif "v9" in path:
            self.answer(404, b"{}", X_Error_Code="RevisionNotFound", X_Error_Message="Revision not found")
        elif "/tree/" in path:
            tree = [
                {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for file, data in self.server.files.items()
            ]
            self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
        elif path.startswith("/api/"):
            siblings = [{"rfilename": file} for file in self.server.files]
            info = {"id": "owner/model", "modelId": "owner/model", "sha": COMMIT, "siblings": siblings, "tags": []}
            self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        else:
            data = self.server.files[name]
            self.answer(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"')

    do_HEAD = do_GET  # noqa: N815 (the base class calls it so)


@pytest.fixture
def served():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.files = [], FILES
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


PROGRAM = """
import json, sys
from vedcore import CheckpointNotFound
from vedcore.storage.hub import resolve
for name, options in json.loads(sys.argv[1]):
    try:
        folder = resolve(name, **options)
        print(json.dumps({path.name: path.read_bytes().decode() for path in folder.iterdir()}))
    except CheckpointNotFound as error:
        print(json.dumps(str(error)))
"""


def resolve_all(home, server, asked, **environment):
    """What ``resolve`` gives in a fresh process: the content of the folder, or the message of the error."""
    return run(home, server, PROGRAM, asked, **environment)


def run(home, server, program, asked, **environment):
    """What a program that is given ``asked`` prints in a fresh process that knows ``server`` as the hub."""
    home.mkdir(exist_ok=True)
    keep = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name[:3] != "HF_"}
    variables = {
        **keep,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    command = [sys.executable, "-c", program, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=variables, cwd=home)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def content(*names):
    return {name: FILES[name].decode() for name in names}


def test_an_id_is_fetched_once_without_pickles_and_found_again_offline(served, tmp_path):
    safe = content("config.json", "model.safetensors", "vocab.txt", "spiece.model")
    home = tmp_path / "home"
    found = resolve_all(
        home,
        served,
        [
            ["owner/model", {}],
            ["owner/absent", {}],
            ["owner/model", {"revision": "v9"}],
            ["owner/other", {"offline": True}],
        ],
    )
    assert found[0] == safe
    assert "owner/absent: no such folder, and no such repository on the hub" in found[1]
    assert "owner/model: no revision 'v9' on the hub" in found[2]
    assert "owner/other: no such folder, and not fetched from the hub" in found[3]
    assert not any(path.endswith((".bin", ".py", ".md")) for path in served.asked)
    assert not any("owner/other" in path for path in served.asked)

    served.asked.clear()
    assert resolve_all(home, served, [["owner/model", {"offline": True}]]) == [safe]
    assert resolve_all(home, served, [["owner/model", {}]], HF_HUB_OFFLINE="1") == [safe]
    assert served.asked == []


def test_pickles_are_downloaded_only_if_they_are_allowed(served, tmp_path):
    (found,) = resolve_all(tmp_path / "home", served, [["owner/model", {"allow_pickle": True}]])
    assert found == content("config.json", "model.safetensors", "vocab.txt", "spiece.model", "pytorch_model.bin")


PARTS = """
import json, sys
import vedcore
for name, options in json.loads(sys.argv[1]):
    try:
        print(json.dumps(type(getattr(vedcore, name).from_pretrained("owner/model", **options)).__name__))
    except vedcore.VedcoreError as error:
        print(json.dumps(str(error)))
"""
SMALL = ("GenerationConfig", "ImageProcessor", "Processor", "Tokenizer", "VisionEncoderDecoderConfig")


@pytest.mark.parametrize("name", SMALL)
def test_the_other_files_of_an_id_are_downloaded_without_the_weights(served, tmp_path, name):
    served.files = {path.name: path.read_bytes() for path in LINE_READER.glob("*.json")} | {
        "model.safetensors": b"weights",
        "pytorch_model.bin": b"a pickle",
    }
    made, absent = run(tmp_path / "home", served, PARTS, [[name, {}], [name, {"revision": "v9"}]])
    assert made == name
    assert "owner/model: no revision 'v9' on the hub" in absent
    assert not any(path.endswith((".safetensors", ".bin")) for path in served.asked)


@pytest.mark.parametrize("kind", [getattr(vedcore, name) for name in SMALL])
@pytest.mark.parametrize("name", ["x" * 5000, None, 5, "a\0b"], ids=["too long", "None", "a number", "a zero byte"])
def test_an_impossible_name_is_not_found(kind, name):
    with pytest.raises(CheckpointNotFound, match="no such folder") as error:
        kind.from_pretrained(name)
    assert error.value.file == str(name)
