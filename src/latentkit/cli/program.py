"""Running the program: arguments in, an exit code out, one line where something is wrong."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

import typer

from latentkit.cli.application import app
from latentkit.cli.failures import FAILED, INTERRUPTED, WRONG_USAGE, UsageError, describe, usage_message
from latentkit.cli.help import Interrupted

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
    Returns:
        0 done, 1 failed, 2 wrong usage, 3 bad data, 130 interrupted.
    """
    arguments, debug = _without_debug(list(sys.argv[1:] if argv is None else argv))
    with _terminated_like_interrupted(), _warnings_in_a_line():
        try:
            result: Any = app(arguments, prog_name="latentkit", standalone_mode=False)
            sys.stdout.flush()
            return result if isinstance(result, int) else 0
        except BrokenPipeError:  # the reader of our output has seen enough
            _silence_stdout()
            return FAILED
        except UsageError as error:
            _complain(usage_message(error, arguments))
            return WRONG_USAGE
        except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
            _complain(str(error) or "interrupted")
            return INTERRUPTED
        except Exception as error:
            if debug:
                traceback.print_exc()
            code, message = describe(error)
            _complain(message)
            return code


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """The option --debug may stand anywhere."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"] + arguments[end:]
    debug = len(kept) < len(arguments) or os.environ.get("LATENTKIT_DEBUG", "") not in ("", "0")
    return kept, debug


def _complain(message: str) -> None:
    from rich.console import Console

    line = " ".join(message.split())
    Console(stderr=True, highlight=False).print(f"latentkit: {line}", style="red", markup=False, soft_wrap=True)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM unwinds like SIGINT, so that no half-written file is left behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt("terminated")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        sys.stderr.write(f"latentkit: warning: {' '.join(str(message).split())}\n")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _silence_stdout() -> None:
    # Python flushes stdout at exit and would complain about the broken pipe once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
