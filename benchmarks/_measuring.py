"""What every benchmark shares: rounds of subprocesses in turn, the machine, and the file of results.

A benchmark compares contestants side by side: each round runs every contestant in a fresh process, one after the other,
so that a slow minute of a shared machine hits all of them. The figure is the median over the rounds, and ratios are
taken within a round.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def data_folder() -> Path:
    """The folder of real data: $LATENTKIT_DATA, or ../shared/data."""
    folder = Path(os.environ.get("LATENTKIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(f"no real data at {folder}; set LATENTKIT_DATA to the folder that holds them")
    return folder


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit that was measured, with a mark where files were changed."""
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return run.stdout.strip() or "unknown"


def store(name: str, figures: Mapping[str, Any], *, seed: int | None = 0, merge: bool = False) -> Path:
    """Write benchmarks/results/NAME.json with the figures, the commit, the machine and the seed.

    With `merge`, figures that were measured before and not now are kept.
    """
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if merge and path.exists():
        figures = {**json.loads(path.read_text())["figures"], **figures}
    content = {
        "benchmark": name,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": commit(),
        "seed": seed,
        "machine": machine(),
        "figures": figures,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")
    return path


def peak_memory_mb() -> float:
    """Peak resident memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def contest(script: str, contestants: Mapping[str, list[str]], *, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run `script --child ARGS` for every contestant in turn, `rounds` times; return what each printed as JSON."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, arguments in contestants.items():
            start = time.perf_counter()
            run = subprocess.run(
                [sys.executable, script, "--child", *arguments], capture_output=True, text=True, check=False
            )
            if run.returncode != 0:
                sys.exit(f"{name} failed:\n{run.stderr[-3000:]}")
            result = json.loads(run.stdout.strip().splitlines()[-1])
            results[name].append(result)
            short = {key: round(value, 1) for key, value in result.items() if isinstance(value, float)}
            print(f"round {number + 1}  {name:<28} {short}  ({time.perf_counter() - start:.0f} s)", flush=True)
    return results


def zpaq_bytes(content: bytes) -> int:
    """How long the archive is that the command zpaq makes of bytes, method 5."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "content").write_bytes(content)
        command = ["zpaq", "add", "archive.zpaq", "content", "-m5"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (Path(folder) / "archive.zpaq").stat().st_size


def median(results: list[dict[str, Any]], key: str) -> float:
    """Median of a figure over the rounds."""
    return statistics.median(result[key] for result in results)


def ratio(a: list[dict[str, Any]], b: list[dict[str, Any]], key: str) -> float:
    """Median over the rounds of a's figure divided by b's."""
    return statistics.median(x[key] / y[key] for x, y in zip(a, b, strict=True))


def main(child: Callable[[list[str]], Mapping[str, Any]] | None, parent: Callable[[argparse.Namespace], None]) -> None:
    """Run a benchmark, or one contestant of it in a process of its own."""
    if child is not None and "--child" in sys.argv:
        result = child(sys.argv[sys.argv.index("--child") + 1 :])
        print(json.dumps(result))
        return
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every contestant")
    parser.add_argument("--only", default="", help="run only the cases whose name contains this")
    parent(parser.parse_args())
