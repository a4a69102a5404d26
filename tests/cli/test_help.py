"""Help: quick, without heavy libraries, examples first, within 80 columns."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from latentkit.cli.application import COMMANDS

HEAVY = ("torch", "numpy", "sklearn", "pandas", "pyarrow", "matplotlib", "scipy", "PIL", "yaml")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    done = _python(f"import sys, latentkit.cli; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_help_imports_nothing_heavy() -> None:
    done = _python(
        "import sys; from latentkit.cli import main; code = main(['--help']); code += main(['fit', '--help']);"
        f"sys.exit(code or int(any(name in sys.modules for name in {HEAVY})))"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_help_answers_in_a_moment() -> None:
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "latentkit", "--help"], capture_output=True, timeout=60, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # The processor's time, best of three: neighbours on the machine do not count.
    assert min(seconds() for _ in range(3)) < 0.3


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_opens_with_its_examples(command: str, latentkit, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = latentkit(command, "--help")
    assert page.code == 0
    lines = page.out.splitlines()
    examples = [line for line in lines[1:6] if line.startswith(f"  latentkit {command}")]
    assert len(examples) >= 2
    assert lines.index(examples[0]) < next(i for i, line in enumerate(lines) if line.startswith("Usage:"))
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert page.err == ""


def test_the_program_lists_every_command_in_order(latentkit) -> None:
    page = latentkit("--help").out
    places = [page.index(f"\n  {command} ") for command in COMMANDS]
    assert places == sorted(places)
    assert latentkit().out == page


def test_version(latentkit) -> None:
    from latentkit import __version__

    assert latentkit("--version").out == f"latentkit {__version__}\n"


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "latentkit", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("latentkit ")


def test_it_is_quick_on_this_clock_too() -> None:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "latentkit", "--version"], capture_output=True, timeout=60, check=True)
    assert time.perf_counter() - start < 5.0
