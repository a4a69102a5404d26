"""Telling how training goes: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["ProgressBar", "PlainLines", "Reporter", "Silent", "Status", "make_reporter"]


@dataclass(frozen=True, slots=True)
class Status:
    """Where training stands.

    Attributes:
        epoch: Epoch, from 1.
        max_epochs: Epochs planned; None where a time budget decides.
        progress: Share of training done, in [0, 1].
        elapsed: Seconds since the start, of all attempts together.
        objective: Mean objective over the last steps, nats.
        validation: Validation objective of the last epoch, nats; None without one.
        kl: Mean KL over the last steps, nats.
        samples_per_second: Rate over the last steps.
    """

    epoch: int
    max_epochs: int | None
    progress: float
    elapsed: float
    objective: float
    validation: float | None
    kl: float
    samples_per_second: float

    @property
    def remaining(self) -> float:
        """Estimated seconds to the end."""
        return self.elapsed * (1 - self.progress) / self.progress if self.progress > 0 else float("inf")

    def text(self) -> str:
        """The figures in one line."""
        validation = "" if self.validation is None else f"  valid {self.validation:.4g}"
        of = "" if self.max_epochs is None else f"/{self.max_epochs}"
        divergence = f"  kl {self.kl:.3g}" if self.kl else ""  # codes that are points have none
        return (
            f"epoch {self.epoch}{of}  objective {self.objective:.4g}{divergence}{validation}"
            f"  {_rate(self.samples_per_second)}"
        )


class Reporter(Protocol):
    """Hears how training goes."""

    def start(self, text: str) -> None: ...

    def update(self, status: Status) -> None: ...

    def epoch(self, status: Status) -> None: ...

    def event(self, text: str) -> None: ...

    def close(self) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """Says nothing."""

    def start(self, text: str) -> None: ...

    def update(self, status: Status) -> None: ...

    def epoch(self, status: Status) -> None: ...

    def event(self, text: str) -> None: ...

    def close(self) -> None: ...

    def note(self, text: str) -> None: ...


class PlainLines:
    """A line on standard error for an epoch, at most one in `interval` seconds: for logs and pipes."""

    def __init__(self, interval: float = 2.0) -> None:
        self.interval = interval
        self._last = 0.0
        self._pending: Status | None = None

    def start(self, text: str) -> None:
        """Say what begins."""
        _say(text)

    def update(self, status: Status) -> None:
        """Nothing within an epoch, unless epochs are long."""
        if time.monotonic() - self._last > 30:
            self._print(status)

    def epoch(self, status: Status) -> None:
        """A line, unless one was printed a moment ago."""
        self._pending = status
        if time.monotonic() - self._last >= self.interval:
            self._print(status)

    def event(self, text: str) -> None:
        """Say what happened."""
        _say(text)

    def close(self) -> None:
        """Print the last epoch if it was held back."""
        if self._pending is not None:
            self._print(self._pending)

    def note(self, text: str) -> None:
        """Say what comes after training."""
        _say(text)

    def _print(self, status: Status) -> None:
        _say(f"{status.text()}  {_clock(status.elapsed)} elapsed, {_clock(status.remaining)} left")
        self._last, self._pending = time.monotonic(), None


class ProgressBar:
    """A bar with the loss terms, the rate and the time left, on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            BarColumn(bar_width=24, complete_style="magenta", finished_style="magenta"),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[left]}"),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._final: Status | None = None

    def start(self, text: str) -> None:
        """Say what begins and show the bar."""
        self._console.print(text, style="dim", markup=False)
        self._task = self._bar.add_task("starting", total=1.0, left="")
        self._bar.start()

    def update(self, status: Status) -> None:
        """Move the bar."""
        self._final = status
        if self._task is not None:
            left = f"{_clock(status.remaining)} left"
            self._bar.update(self._task, completed=status.progress, description=status.text(), left=left)

    def epoch(self, status: Status) -> None:
        """Move the bar."""
        self.update(status)

    def event(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, style="yellow", markup=False)

    def close(self) -> None:
        """Remove the bar and leave its last line."""
        self._bar.stop()
        if self._final is not None:
            self._console.print(f"{self._final.text()}  in {_clock(self._final.elapsed)}", markup=False)

    def note(self, text: str) -> None:
        """Say what comes after training."""
        self._console.print(text, style="dim", markup=False)


def make_reporter(verbose: int | bool) -> Reporter:
    """Return a reporter: silent, a bar where standard error is a terminal, plain lines elsewhere."""
    if not verbose:
        return Silent()
    # NO_COLOR and CI mean: no control codes, please.
    if sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        return ProgressBar()
    return PlainLines()


def _rate(samples_per_second: float) -> str:
    if samples_per_second >= 10_000:
        return f"{samples_per_second / 1000:.0f}k/s"
    return f"{samples_per_second / 1000:.1f}k/s" if samples_per_second >= 1000 else f"{samples_per_second:.0f}/s"


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
