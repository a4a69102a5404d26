"""Time to start: ``latentkit --help`` and ``import latentkit``, against importing torch.

python benchmarks/startup.py [--rounds 3]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

from _measuring import main, store

COMMANDS = {
    "import latentkit": [sys.executable, "-c", "import latentkit"],
    "latentkit --help": [sys.executable, "-m", "latentkit", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
}


def parent(options: Any) -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(3 * options.rounds + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, latentkit, latentkit.cli; print('torch' in sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    figures = {name: {"median_seconds": round(statistics.median(values[1:]), 3)} for name, values in times.items()}
    print(figures)
    store("startup", {**figures, "torch_imported": loaded == "True"}, seed=None)


if __name__ == "__main__":
    main(None, parent)
