"""The child process in which pdfium works on one document.

pdfium is a large C++ library that reads untrusted files. A crash, a hang or a file that wants all memory ends the child, not
this process; the next request starts another one. The child runs ``pdfium_child.py``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from vedcore.vision import Origin

SCRIPT = Path(__file__).with_name("pdfium_child.py")
CHILD_MEMORY = 3 * 2**30
"""Bytes of memory of the child, beside the document. A page of the most pixels takes 0.4 GiB, its images the rest."""
_LONGEST = 86_400.0
"""Seconds: no timer takes infinity."""
_MAX_HEAD = 2**20
_LIBRARY = ("pypdfium2", "pypdfium2_raw", "pypdfium2_cfg")


class Refused(Exception):
    """The child works, but cannot do what was asked. reason: a word of the child's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ChildFailed(Exception):
    """The child died or did not answer in time."""


class Child:
    """A child process for one document. It starts with the first request, and again after it has failed."""

    def __init__(self, source: str | os.PathLike[str] | bytes, origin: Origin, deadline: float) -> None:
        """deadline: seconds for a request. Raises ImageError if pypdfium2 is not installed."""
        if importlib.util.find_spec(_LIBRARY[0]) is None:
            raise origin.error("reading a PDF needs pypdfium2; install it with: pip install 'vedcore[pdf]'")
        self._data = source if isinstance(source, bytes) else b""
        self._opening = {
            "do": "open",
            "path": None if isinstance(source, bytes) else os.path.abspath(os.fsdecode(source)),
        }
        self._deadline = deadline
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., Any] | None = None

    def ask(self, request: dict[str, Any], data: bytes = b"", *, deadline: float | None = None) -> dict[str, Any]:
        """The child's answer to ``request``, followed by ``data``; bytes of the answer are in its field "data".

        Raises Refused, and ChildFailed after which the next request starts another child.
        """
        seconds = min(self._deadline if deadline is None else deadline, _LONGEST)
        with self._lock:
            if self._process is None:
                self._start()
                self._exchange(self._opening, self._data, min(self._deadline, _LONGEST))
            return self._exchange(request, data, seconds)

    def close(self) -> None:
        """End the process, if it runs. A later request starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        specs = [importlib.util.find_spec(name) for name in _LIBRARY]
        folders = dict.fromkeys(os.path.dirname(os.path.dirname(spec.origin)) for spec in specs if spec and spec.origin)
        # -I: no variable, no user's folder and no file next to the script changes what the child imports.
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(SCRIPT), str(CHILD_MEMORY), *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._end = weakref.finalize(self, _end, self._process)

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._process = self._end = None

    def _exchange(self, request: dict[str, Any], data: bytes, seconds: float) -> dict[str, Any]:
        process = self._process
        assert process is not None  # for mypy
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            answer = _talk(process, {**request, "bytes": len(data), "seconds": seconds}, data)
        except (OSError, ValueError, KeyError, TypeError) as cause:
            process.kill()
            code = process.wait()
            self._stop()
            raise ChildFailed(
                f"did not finish within {seconds:g} seconds" if late.is_set() else f"crashed (exit code {code})"
            ) from cause
        except BaseException:  # such as KeyboardInterrupt: the next answer would be that to this request
            self._stop()
            raise
        finally:
            timer.cancel()
        if late.is_set():  # the answer came just in time, and the child is gone
            self._stop()
        if "refused" in answer:
            if request["do"] == "open":
                self._stop()
            raise Refused(str(answer["refused"]))
        return answer


def _talk(process: subprocess.Popen[bytes], request: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Send a request, return the answer. Raises OSError, ValueError, KeyError or TypeError for none and for a broken one."""
    write, read = process.stdin, process.stdout
    assert write is not None and read is not None  # noqa: PT018 - for mypy
    write.write(json.dumps(request).encode() + b"\n" + data)
    write.flush()
    head = read.readline(_MAX_HEAD)
    answer = json.loads(head)
    count = answer["bytes"]
    body = read.read(max(count, 0))
    if len(body) != count:
        raise ValueError("the answer ends early")
    return {**answer, "data": body}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and wait for it, so that no process and no open pipe is left."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not sent cannot be sent
                pipe.close()
    process.wait()
