"""What went wrong, in a line and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from latentkit.core.errors import (
    ArchiveError,
    DataError,
    InvalidParameterError,
    LatentkitError,
    RunError,
    UnsupportedOperationError,
)
from latentkit.core.parameters import suggestion

__all__ = ["BAD_DATA", "FAILED", "INTERRUPTED", "WRONG_USAGE", "UsageError", "describe", "usage_message"]

FAILED, WRONG_USAGE, BAD_DATA, INTERRUPTED = 1, 2, 3, 130

#: The root of the parser's errors. Typer brings its own copy of click or uses the installed one, by its version.
UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def describe(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the message of an error."""
    if isinstance(error, (InvalidParameterError, UnsupportedOperationError)):
        return WRONG_USAGE, _text(error)
    if isinstance(error, (ArchiveError, DataError, RunError)):
        return BAD_DATA, _text(error)
    if isinstance(error, (LatentkitError, OSError)):
        return FAILED, _text(error)
    if isinstance(error, MemoryError):
        return FAILED, "out of memory. Use a smaller --set batch_size=..., smaller images (--size), or fewer rows"
    return FAILED, f"unexpected {type(error).__name__}: {error}. Run it again with --debug for the traceback"


def usage_message(error: Any, arguments: Sequence[str]) -> str:
    """Return the message of a wrong command line: what is wrong, the nearest right word, where help is."""
    ctx = getattr(error, "ctx", None)
    path = "latentkit" if ctx is None else ctx.command_path
    option = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and option is not None and ctx is not None:
        text = f"no such option: {option}.{_nearest_option(option, ctx)}"
    else:
        text = error.format_message()
        text = text[:1].lower() + text[1:]
    text = text.rstrip()
    return f"{text}{'' if text.endswith(('.', '?')) else '.'} See: {path} --help"


def _nearest_option(option: str, ctx: Any) -> str:
    options = [name for parameter in ctx.command.get_params(ctx) for name in parameter.opts if name.startswith("--")]
    near = suggestion(option, options)
    if near or ctx.command.name != "fit":
        return near
    from latentkit.cli.settings import nearest_setting, setting_names

    key = nearest_setting(option.lstrip("-").replace("-", "_"), setting_names("vae"))
    return f" Did you mean --set {key}=VALUE?" if key else ""


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        # Ours hold the whole message there; the system's hold the reason, with the file beside it.
        name = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{name}"
    return str(error.args[0]) if error.args and isinstance(error, KeyError) else str(error)
