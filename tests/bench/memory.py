"""The peak memory of one case, in a process that runs nothing else.

    python -m tests.bench.memory MODULE LIBRARY CASE FOLDER

The process calls ``run_once(library, case, folder)`` of the module and prints its peak memory in MB.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

from tests.bench.checkpoints import ROOT


def peak(module: str, library: str, case: str, folder: Path) -> float:
    """Peak memory in MB of a new process that loads the checkpoint in ``folder`` and runs the case once."""
    command = [sys.executable, "-m", "tests.bench.memory", module, library, case, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{case}: measuring the memory of {library} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def peak_of_this_process() -> float:
    """The largest resident size in MB. getrusage would start with the size of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main(module: str, library: str, case: str, folder: str) -> None:
    """Run the case once and print the peak."""
    importlib.import_module(module).run_once(library, case, Path(folder))
    print(peak_of_this_process())


if __name__ == "__main__":
    main(*sys.argv[1:])
