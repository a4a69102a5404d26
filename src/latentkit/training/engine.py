"""How to compute: threads, precision and kernels, chosen by measuring and remembered.

Which kernels win depends on the machine, on what else runs on it and on the size of the network: bfloat16 doubles the
rate of a wide network and halves that of a narrow one; a second thread helps large products and ruins small ones, or
all of them beside a busy neighbour. So the choice is measured in about a second at the start of a long training, kept
per machine and shape, and written into the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from latentkit.core.allocation import keep_freed_memory
from latentkit.core.errors import InvalidParameterError
from latentkit.core.files import write_json
from latentkit.core.parameters import check_choice
from latentkit.core.products import is_medium_exact, products_of

__all__ = ["Engine", "choose_engine", "engine_cache_path", "measure_engine", "pick_device", "steps_per_second"]

#: Seconds of training above which a second of measuring pays.
WORTH_MEASURING = 10.0

Precision: TypeAlias = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One way to compute.

    Attributes:
        device: A torch device, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: Of the products: ``"float32"``, or ``"bfloat16"`` under autocast (weights stay float32).
        matmul: ``"highest"`` or ``"medium"``; on a CPU without matrix units the latter sends float32 products to
            oneDNN, which still computes in float32.
        threads: Intra-operation CPU threads.
        compiled: Whether the training step goes through ``torch.compile``.
        measured: Whether the choice was measured, remembered or given.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    matmul: Literal["highest", "high", "medium"] = "highest"
    threads: int = 1
    compiled: bool = False
    measured: Literal["default", "measured", "remembered", "given"] = "default"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set threads and kernels inside the block, and restore them after it; freed memory is kept for reuse."""
        keep_freed_memory()
        threads = torch.get_num_threads()
        try:
            if threads != self.threads:
                torch.set_num_threads(self.threads)
            with products_of(self.matmul):
                yield
        finally:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)

    def autocast(self) -> AbstractContextManager[Any]:
        """The autocast scope of this precision."""
        if self.precision == "bfloat16":
            return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)
        return nullcontext()

    def summary(self) -> str:
        """One line for people."""
        kernels = ", oneDNN float32 products" if self.matmul != "highest" and self.device == "cpu" else ""
        threads = f", {self.threads} thread{'s' if self.threads != 1 else ''}" if self.device == "cpu" else ""
        compiled = ", compiled" if self.compiled else ""
        return f"{self.device}, {self.precision}{threads}{kernels}{compiled} ({self.measured})"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def pick_device(device: str) -> str:
    """Return the device to use: ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises:
        InvalidParameterError: If the device is unknown or absent on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise InvalidParameterError(f"device must be auto, cpu, cuda, cuda:N or mps; got {device!r}.") from error
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(kind, False):
        raise InvalidParameterError(f"device {device!r} is not available here. Use device='auto' or 'cpu'.")
    return device


def engine_cache_path() -> Path:
    """Where measured choices are kept: ``$LATENTKIT_CACHE`` or the user's cache folder."""
    root = os.environ.get("LATENTKIT_CACHE")
    base = Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentkit"
    return base / "engines.json"


def choose_engine(
    *,
    device: str,
    precision: str,
    compiled: bool,
    signature: str,
    make_step: Callable[[Engine], Callable[[], Tensor]],
    n_steps: float,
) -> Engine:
    """Return how to compute: from the cache, by measuring, or by default.

    Measuring takes about a second, so it is done where the training would take ten. What was decided is remembered
    either way, so that equal commands make equal choices.

    Args:
        device: As :func:`pick_device` returns it.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        compiled: Whether the step shall go through ``torch.compile``.
        signature: What the choice depends on besides the machine: network and batch shapes, length of the training.
        make_step: Returns a training step on scratch weights for an engine; calling it runs one step.
        n_steps: Steps that the training will take, about.
    Raises:
        InvalidParameterError: If `precision` is unknown.
    """
    check_choice("precision", precision, ("auto", *PRECISIONS))
    fixed = None if precision == "auto" else cast(Precision, precision)
    base = Engine(device=device, threads=torch.get_num_threads(), compiled=compiled, precision=fixed or "float32")
    key = hashlib.sha256("\n".join([_machine(), signature, device, precision, str(compiled)]).encode()).hexdigest()[:24]
    remembered = _recall(key)
    if remembered is not None:
        return remembered if remembered.measured == "default" else replace(remembered, measured="remembered")
    if n_steps / steps_per_second(base, make_step(base), seconds=0.0) < WORTH_MEASURING:
        engine = base
    else:
        engine = measure_engine(base, make_step, precisions=(fixed,) if fixed else PRECISIONS)
    _remember(key, engine)
    return engine


def measure_engine(
    base: Engine,
    make_step: Callable[[Engine], Callable[[], Tensor]],
    *,
    precisions: tuple[Precision, ...],
    seconds: float = 0.12,
) -> Engine:
    """Time training steps under a few engines and return the fastest.

    Threads are settled first, then the kernels of float32 products, then the precision: coordinate-wise, since all
    combinations would cost several seconds.
    """
    rates: dict[Engine, float] = {}

    def rate(engine: Engine) -> float:
        if engine not in rates:
            rates[engine] = steps_per_second(engine, make_step(engine), seconds=seconds)
        return rates[engine]

    best = replace(base, measured="measured", precision=precisions[0])
    if torch.device(base.device).type == "cpu":
        available = sorted({1, max(1, base.threads // 2), base.threads})
        # A tie goes to fewer threads: they suffer less from a busy neighbour.
        best = max(
            (replace(best, threads=n) for n in available), key=lambda e: rate(e) * (1.0 if e.threads > 1 else 1.05)
        )
        if best.precision == "float32" and is_medium_exact():
            best = max(best, replace(best, matmul="medium"), key=rate)
    if len(precisions) > 1 and _has_bfloat16(base.device):
        lower = replace(best, precision="bfloat16", matmul="highest")
        options = [best, lower]
        if lower.threads == 1 and base.threads > 1:
            options.append(replace(lower, threads=base.threads))
        best = max(options, key=rate)
    return best


def steps_per_second(engine: Engine, step: Callable[[], Tensor], *, seconds: float = 0.12) -> float:
    """Return how many of these steps an engine makes in a second, by the fastest of those that `seconds` allow."""
    with engine.applied():
        for _ in range(2):
            step()
        _synchronise(engine.device)
        best = float("inf")
        deadline = time.perf_counter() + seconds
        while True:
            start = time.perf_counter()
            step()
            _synchronise(engine.device)
            now = time.perf_counter()
            best = min(best, now - start)
            if now >= deadline:
                return 1.0 / best


def _synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _has_bfloat16(device: str) -> bool:
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if kind == "mps":
        return False
    flags = _cpu_flags()
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def _cpu_flags() -> frozenset[str]:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("flags", "features")):
                return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def _machine() -> str:
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return f"{platform.node()}|{model}|{os.cpu_count()}|{torch.get_num_threads()}|{torch.__version__}|{gpu}"


def _recall(key: str) -> Engine | None:
    try:
        stored = json.loads(engine_cache_path().read_text(encoding="utf-8"))[key]
        return Engine(**stored)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(key: str, engine: Engine) -> None:
    path = engine_cache_path()
    # A cache that cannot be written costs a second next time, nothing else.
    with suppress(OSError, ValueError):
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_json(path, {**stored, key: engine.to_dict()})


def count_parameters(model: nn.Module) -> int:
    """Number of trainable numbers in a model."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
