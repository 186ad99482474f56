"""Folders and JSON files: read strictly, written whole or not at all."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedcore.errors import CheckpointError, CheckpointNotFound, ConfigError, SaveError, VedcoreError
from vedcore.storage import files, staging
from vedcore.storage.files import inside, parse_json, read_json, write_json
from vedcore.storage.staging import staged

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


# JSON.


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"a": 1, "b": 2, "b": 3}', "key 'b' appears twice"),
        (b'{"outer": {"c": 1, "c": 1}}', "key 'c' appears twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": Infinity}', "Infinity is not JSON"),
        (b'{"a": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "number 1e999 is too large"),
        (b'{"a": -1e999}', "number -1e999 is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "nested deeper than 64"),
        (b'{"a": ' * 65 + b"1" + b"}" * 65, "nested deeper than 64"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not valid JSON"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"a": 1}'.encode("utf-16"), "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b"", "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b'{"a": 1,}', "not valid JSON"),
        (b'{"a": 1} {}', "not valid JSON"),
        (b"[1]", "expected a JSON object, found list"),
        (b"null", "expected a JSON object, found NoneType"),
        (b"3", "expected a JSON object, found int"),
    ],
    ids=lambda value: value[:18].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_json_that_two_readers_could_see_differently_is_refused_with_its_file(tmp_path, data, told):
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as error:
        read_json(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)
    assert error.value.file == str(path)


@pytest.mark.parametrize("name", ["config.json", "x" * 5000, "a\0b"], ids=["absent", "too long", "zero byte"])
def test_a_file_that_is_not_there_is_not_found_whatever_its_name(tmp_path, name):
    with pytest.raises(CheckpointNotFound, match="no such file"):
        read_json(tmp_path / name)


def test_a_key_that_stands_twice_among_very_many_is_named():
    keys = [f'"{number}": 0' for number in range(200_000)]  # where each is counted among all, this does not end
    with pytest.raises(ConfigError, match="x: key '199999' appears twice"):
        parse_json(f"{{{', '.join([*keys, keys[-1]])}}}".encode(), "x")


def test_json_at_the_limits_is_read():
    deep = b'{"a": ' + b"[" * 63 + b"]" * 63 + b"}"
    assert parse_json(deep, "x")["a"]
    assert parse_json(b'{"a": 1e308, "b": -0.0, "c": 123456789012345678901234567890, "d": true}', "x") == {
        "a": 1e308,
        "b": -0.0,
        "c": 123456789012345678901234567890,
        "d": True,
    }


def test_a_missing_json_file_and_a_folder_are_not_found(tmp_path):
    for path in (tmp_path / "config.json", tmp_path):
        with pytest.raises(CheckpointNotFound, match="no such file") as error:
            read_json(path)
        assert isinstance(error.value, FileNotFoundError)


def test_a_huge_json_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 8)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read"))
    path = tmp_path / "config.json"
    path.write_text('{"a": 12345}')
    with pytest.raises(ConfigError, match="12 bytes, more than the 8 allowed"):
        read_json(path)


def test_a_json_file_that_cannot_be_read_is_a_checkpoint_error(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    path.write_text("{}")

    def fail(path):
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(CheckpointError, match=r"config\.json: PermissionError"):
        read_json(path)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_written_is_read_back_equal(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "round.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_is_written_as_transformers_writes_it(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1.0, None], "a": "é"})
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "a": "\\u00e9",\n  "b": [\n    1.0,\n    null\n  ]\n}\n'


def test_a_lone_surrogate_of_a_file_is_written_back(tmp_path):
    value = parse_json(rb'{"a": "\ud800"}', "x")
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x"], ids=repr)
def test_what_json_cannot_hold_is_refused_by_name(tmp_path, value):
    with pytest.raises(ConfigError, match=r"a\.json"):
        write_json(tmp_path / "a.json", {"a": value})
    assert not (tmp_path / "a.json").exists()


# Names.


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "/etc/passwd",
        "/dev/zero",
        "..\\a",
        "C:\\a",
        "C:a",
        "\\\\host\\share",
        "a\0",
        "a/",
        "./a",
        None,
        3,
        ["a"],
    ],
    ids=repr,
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match="leaves the folder") as error:
        inside(tmp_path, name)
    assert repr(name) in str(error.value)


def test_what_is_not_a_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("fifo", "folder", "zero"):
        with pytest.raises(CheckpointError, match="not a regular file"):
            inside(tmp_path, name)


@pytest.mark.parametrize("name", ["a" * 5000, "\ud800"], ids=["long", "surrogate"])
def test_a_name_that_no_file_can_have_is_a_checkpoint_error_or_a_missing_file(tmp_path, name):
    try:
        found = inside(tmp_path, name)
    except CheckpointError:
        return
    assert not found.exists()


def test_a_bare_name_is_a_file_of_the_folder_whether_or_not_it_exists(tmp_path):
    (tmp_path / "blob").write_text("x")
    (tmp_path / "link").symlink_to("blob")
    for name in ("blob", "link", "absent", "a b.json", "..a"):
        assert inside(tmp_path, name) == tmp_path / name


# staged.


def contents(folder):
    """All that is under a folder: bytes, links, folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        else:
            found[name] = ("folder",) if path.is_dir() else (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


def old_folder(parent):
    target = parent / "model"
    (target / "notes" / "deep").mkdir(parents=True)
    (target / "config.json").write_text("old config")
    (target / "model-00001-of-00002.safetensors").write_text("old shard")
    (target / "model-00002-of-00002.safetensors").write_text("old shard")
    (target / "README.md").write_text("kept")
    (target / "README.md").chmod(0o640)
    (target / "notes" / "deep" / "a.txt").write_text("kept too")
    (target / "link").symlink_to("README.md")
    (target / "dangling").symlink_to("nowhere")
    (target / "folder link").symlink_to("notes")
    return target


def save(target, **options):
    with staged(target, replaces=("model*.safetensors",), **options) as stage:
        (stage / "config.json").write_text("new config")
        (stage / "model.safetensors").write_text("new weights")


def assert_new(target, before):
    kept = {name: entry for name, entry in before.items() if name[:6] not in ("config", "model-")}
    after = contents(target)
    assert {name: entry[0] for name, entry in after.items() if name not in kept} == {
        "config.json": b"new config",
        "model.safetensors": b"new weights",
    }
    assert {name: after[name] for name in kept} == kept


@pytest.fixture(params=["one step", "fallback"])
def exchange(request, monkeypatch):
    if request.param == "fallback":
        monkeypatch.setattr(staging, "_exchange_in_one_step", lambda stage, target: False)
    return request.param


def test_a_save_replaces_what_it_writes_and_old_shards_and_keeps_the_rest(tmp_path, exchange):
    target = old_folder(tmp_path)
    before = contents(target)
    save(target)
    assert_new(target, before)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_new_target_is_made_with_its_parents(tmp_path):
    save(tmp_path / "a" / "b" / "model")
    assert_new(tmp_path / "a" / "b" / "model", {})
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["model"]


def test_a_relative_target_stays_where_it_was_when_the_working_directory_moves(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with staged("model") as stage:
        (stage / "config.json").write_text("x")
        os.chdir("elsewhere")
    assert (tmp_path / "model" / "config.json").read_text() == "x"


def test_a_target_that_is_a_file_is_refused_and_left(tmp_path):
    target = tmp_path / "model"
    target.write_text("mine")
    with pytest.raises(SaveError, match="exists and is not a folder") as error:
        save(target)
    assert (error.value.file, error.value.expected, error.value.found) == (str(target), "a folder", "a file")
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_is_a_link_to_a_folder_stays_a_link(tmp_path, exchange):
    target = old_folder(tmp_path)
    before = contents(target)
    link = tmp_path / "latest"
    link.symlink_to("model")
    save(link)
    assert link.is_symlink()
    assert_new(target, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "model"]


def test_a_read_only_folder_is_refused_and_nothing_is_left_next_to_it(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with (
        pytest.raises(SaveError, match="model: not saved, for the folder may not be written to"),
        staged(tmp_path / "model"),
    ):
        pytest.fail("written")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("beneath", [".", "notes/deep"])
def test_the_working_directory_and_its_parents_are_not_replaced(tmp_path, monkeypatch, beneath):
    target = old_folder(tmp_path)
    before = contents(target)
    monkeypatch.chdir(target / beneath)
    with pytest.raises(SaveError, match=r"model: is the working directory or holds it.*name a folder inside it"):
        save(target)
    assert contents(target) == before
    save("inside")
    assert_new(Path.cwd() / "inside", {})


def test_a_folder_of_very_many_files_is_not_one_for_a_checkpoint(tmp_path, monkeypatch):
    target = old_folder(tmp_path)
    before = contents(target)
    monkeypatch.setattr(staging, "MAX_KEPT", 4)
    with pytest.raises(SaveError, match="more than 4 other files; name a folder of the checkpoint's own"):
        save(target)
    assert contents(target) == before


def test_files_that_others_write_into_the_folder_during_a_save_are_kept(tmp_path, exchange, monkeypatch):
    target, usual = old_folder(tmp_path), staging._exchange

    def meanwhile(stage, place):
        (place / "late.log").write_text("late")
        (place / "README.tmp").write_text("rewritten")
        (place / "README.tmp").replace(place / "README.md")
        (place / "model-00009-of-00009.safetensors").write_text("an old shard")
        return usual(stage, place)

    monkeypatch.setattr(staging, "_exchange", meanwhile)
    save(target)
    assert (target / "late.log").read_text() == "late"
    assert (target / "README.md").read_text() == "rewritten"
    assert (target / "config.json").read_text() == "new config"
    assert not list(target.glob("model-*"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("x"), ConfigError("x"), KeyboardInterrupt(), Stop()], ids=repr)
@pytest.mark.parametrize("new", [True, False])
def test_an_exception_while_writing_passes_and_leaves_the_folder_as_it_was(tmp_path, error, new):
    target = tmp_path / "model" if new else old_folder(tmp_path)
    before = contents(tmp_path)

    def half():
        with staged(target) as stage:
            (stage / "config.json").write_text("half")
            raise error

    with pytest.raises(type(error)):
        half()
    assert contents(tmp_path) == before


OPERATIONS = ("mkdir", "open", "fsync", "chmod", "rename", "link", "listdir", "scandir", "symlink")


class Faults:
    """The N-th operation on the disk fails; what cleans up afterwards does not count."""

    def __init__(self, monkeypatch, at, code):
        self.at, self.count, self.cleaning, self.name = at, 0, False, None
        for name in OPERATIONS:
            monkeypatch.setattr(os, name, self.wrap(name, getattr(os, name), code))
        remove = staging.shutil.rmtree

        def rmtree(*args, **kwargs):
            self.cleaning = True
            remove(*args, **kwargs)
            self.cleaning = False

        monkeypatch.setattr(staging.shutil, "rmtree", rmtree)

    def wrap(self, name, operation, code):
        def wrapped(*args, **kwargs):
            if not self.cleaning:
                self.count += 1
                if self.count == self.at:
                    self.name = name
                    raise OSError(code, os.strerror(code))
            return operation(*args, **kwargs)

        return wrapped


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("new", [True, False], ids=["new", "old"])
def test_a_fault_at_each_operation_in_turn_leaves_the_old_folder_or_the_new_one(tmp_path, exchange, code, new):
    seen, failed = set(), set()
    for at in range(1, 200):
        parent = tmp_path / str(at)
        parent.mkdir()
        target = parent / "model" if new else old_folder(parent)
        before = contents(target) if target.exists() else {}
        everything = contents(parent)
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, at, code)
            try:
                save(target)
                error = None
            except SaveError as raised:
                error = raised
        if error is None:
            assert_new(target, before)
            assert [path.name for path in parent.iterdir()] == ["model"]
        else:
            assert str(target) in str(error)
            assert contents(parent) == everything, f"{faults.name} failed, operation {at}"
            failed.add(faults.name)
        if faults.name is None:
            break
        seen.add(faults.name)
    else:
        pytest.fail("never without a fault")
    assert seen >= {"mkdir", "open", "fsync"}
    assert failed >= {"mkdir", "fsync"}


def test_a_fault_while_writing_is_a_save_error_that_names_the_folder(tmp_path):
    target = old_folder(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(SaveError, match="not saved, the folder is as it was") as error, staged(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(target) in str(error.value)
    assert isinstance(error.value, OSError)
    assert contents(tmp_path) == before


def test_kept_files_are_copied_where_no_link_can_be_made(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.EPERM, "no links here")

    target = old_folder(tmp_path)
    before = contents(target)
    monkeypatch.setattr(os, "link", fail)
    save(target)
    assert_new(target, before)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o002])
def test_files_and_folders_have_the_modes_that_the_umask_says(tmp_path, mask):
    previous = os.umask(mask)
    try:
        save(tmp_path / "model")
    finally:
        os.umask(previous)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()}
    assert set(modes.values()) == {0o666 & ~mask}
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o777 & ~mask


def test_the_mode_of_an_existing_folder_stays(tmp_path):
    target = old_folder(tmp_path)
    target.chmod(0o2750)
    save(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o2750


def test_a_system_without_the_call_falls_back(tmp_path, monkeypatch):
    monkeypatch.setattr(staging.sys, "platform", "darwin")
    assert not staging._exchange_in_one_step(tmp_path / "a", tmp_path / "b")
    monkeypatch.undo()
    monkeypatch.setattr(staging.ctypes, "CDLL", lambda *args, **kwargs: object())
    assert not staging._exchange_in_one_step(tmp_path / "a", tmp_path / "b")
    monkeypatch.undo()
    assert not staging._exchange_in_one_step(tmp_path / "absent", tmp_path / "absent too")


SAVER = """
import itertools, sys
from vedcore.storage.staging import staged
print("ready", flush=True)
for version in itertools.count(1):
    with staged(sys.argv[1], replaces=("model*",)) as stage:
        for name in ("config.json", f"model-{version % 2}.safetensors", "index.json"):
            (stage / name).write_text(str(version) * 2000)
"""


def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    if not staging._exchange_in_one_step(tmp_path / "a", tmp_path / "b"):
        pytest.skip("no exchange of folders in one step on this file system")
    target = tmp_path / "model"
    with staged(target) as stage:
        for name in ("config.json", "model-0.safetensors", "index.json"):
            (stage / name).write_text("0" * 2000)
    chance = random.Random(0)
    for _ in range(10):
        command = [sys.executable, "-c", SAVER, str(target)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) as process:
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        texts = {path.read_text() for path in target.iterdir()}
        assert len(texts) == 1, "a mix of two saves"
        version = texts.pop()
        assert sorted(path.name for path in target.iterdir()) == [
            "config.json",
            "index.json",
            f"model-{int(version[: len(version) // 2000]) % 2}.safetensors",
        ]


def test_a_link_of_a_save_is_not_followed_to_be_flushed(tmp_path):
    with staged(tmp_path / "model") as stage:
        (stage / "link").symlink_to("/no/such/file")
    assert os.readlink(tmp_path / "model" / "link") == "/no/such/file"


def test_a_save_that_fails_leaves_no_new_folder_on_the_way_to_its_own(tmp_path):
    def fail(folder):
        with pytest.raises(ConfigError), staged(folder) as stage:
            write_json(stage / "config.json", {"a": object()})

    fail(tmp_path / "runs/today/model")
    assert not list(tmp_path.iterdir())
    (tmp_path / "runs").mkdir()
    fail(tmp_path / "runs/today/model")
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]
    with staged(tmp_path / "runs/today/model") as stage:
        (stage / "config.json").write_text("{}")
    fail(tmp_path / "runs/today/other")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "model", "runs", "today"]


def test_every_error_of_this_file_is_a_vedcore_error():
    assert {ConfigError, CheckpointError, CheckpointNotFound, SaveError} <= set(VedcoreError.__subclasses__()) | set(
        CheckpointError.__subclasses__()
    )


def test_the_next_save_removes_what_a_killed_save_has_left(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    target = tmp_path / "model"
    target.mkdir()
    (tmp_path / f".model.tmp-{dead.pid}-0123abcd").mkdir()
    (tmp_path / f".model.tmp-{dead.pid}-0123abcd" / "half").write_text("x")
    mine = tmp_path / f".model.tmp-{os.getpid()}-0123abcd"
    mine.mkdir()
    others = [".model.tmp-notes", ".model.tmp-99999999999999999999-x"]  # no process ever had that number
    for other in others:
        (tmp_path / other).mkdir()
    with staged(target) as stage:
        (stage / "config.json").write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, *others, "model"])


def test_a_folder_that_a_killed_save_had_set_aside_goes_back(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    aside = tmp_path / f".model.tmp-{dead.pid}-0123abcd-old"
    aside.mkdir()
    (aside / "tokenizer.json").write_text("{}")
    with staged(tmp_path / "model") as stage:
        (stage / "config.json").write_text("{}")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "tokenizer.json"]
    assert not aside.exists()
