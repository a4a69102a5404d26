"""Ground rules of the repository that a machine can check."""

from __future__ import annotations

import ast
import os
import re
import resource
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import latentkit

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "latentkit"
MODULES = sorted(SOURCE.rglob("*.py"))
PAGES = sorted(ROOT.glob("*.md"))

# The public face. A name that is added here is a promise; a name that goes needs a line in the changelog.
PUBLIC = [
    "AnomalyDetector",
    "Autoencoder",
    "Compressor",
    "DenoisingAutoencoder",
    "GAN",
    "Generator",
    "HierarchicalVAE",
    "LatentkitError",
    "PyodAdapter",
    "SparseAutoencoder",
    "TableImputer",
    "VAE",
    "VAEGAN",
    "VQVAE",
    "__version__",
    "load",
]
README_COMMANDS = [
    "python3 -m pip install . && python3 -m latentkit demo",
    "python3 -m pip install '.[dev]' && python3 -m pytest",
]
HEAVY = {"PIL", "matplotlib", "numpy", "optuna", "pandas", "polars", "pyarrow", "scipy", "sklearn", "torch"}
MAX_FILE_BYTES = 1024 * 1024
MAX_PICTURE_BYTES = 300_000
MAX_START_SECONDS = 0.3


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip(reason="not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def seconds_of_processor(command: list[str]) -> float:
    """Return the user and system time of a command: unlike the time on the wall, a busy neighbour hardly changes it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def imported_by(*command: str) -> set[str]:
    """Return the top-level names of the modules that a Python command imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE)}


def assigned_names(tree: ast.Module) -> set[str]:
    assignments = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [t for node in assignments for t in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_public_names_are_the_promised_ones():
    assert sorted(latentkit.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(latentkit))
    for name in PUBLIC:
        assert getattr(latentkit, name) is not None


def test_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert latentkit.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_says_what_it_is_and_what_it_offers(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path} has no docstring"
    if path.name != "__main__.py":
        assert "__all__" in assigned_names(tree), f"{path} has no __all__"


def test_module_names_say_something():
    vague = {"utils", "util", "misc", "helpers", "helper", "common", "tools"}
    assert not [path for path in MODULES if vague & {path.stem, path.parent.name}]


def test_every_folder_of_modules_is_a_package():
    assert not [path.parent for path in MODULES if not (path.parent / "__init__.py").exists()]


def test_layers_are_optional_only_while_they_are_missing():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    optional = {name for layer in layers for name in re.findall(r"\((\w+)\)", layer)}
    assert not {name for name in optional if (SOURCE / name).exists() or (SOURCE / f"{name}.py").exists()}


def test_tests_mirror_the_source():
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert not [folder for folder in sorted(folders) if not (SOURCE / folder).is_dir()]


def test_importing_the_package_imports_nothing_heavy():
    assert not HEAVY & imported_by("-c", "import latentkit")


def test_help_imports_nothing_heavy():
    assert not HEAVY & imported_by("-m", "latentkit", "--help")


@pytest.mark.parametrize("command", [["-c", "import latentkit"], ["-m", "latentkit", "--help"]], ids=["import", "help"])
def test_starting_is_fast(command):
    fastest = min(seconds_of_processor([sys.executable, *command]) for _ in range(5))
    assert fastest < MAX_START_SECONDS


def test_no_tracked_file_is_large():
    sizes = {path: path.stat().st_size for path in tracked_files()}
    assert not {path: size for path, size in sizes.items() if size > MAX_FILE_BYTES}
    pictures = {path: size for path, size in sizes.items() if path.suffix in {".png", ".jpg", ".gif", ".svg", ".webp"}}
    assert not {path: size for path, size in pictures.items() if size > MAX_PICTURE_BYTES}


def test_readme_holds_the_two_commands_that_ci_runs():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert [line for line in lines if re.match(r"python3 -m pip install .+ && python3 -m ", line)] == README_COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)|\bsrc=\"([^\"]+)\"", page.read_text())
    local = [a or b for a, b in targets if not re.match(r"[a-z]+:", a or b)]
    assert not [target for target in local if not (ROOT / target).exists()]


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert targets == explained
    assert {"help", "setup", "lint", "types", "imports", "test", "test-all", "bench", "docs", "check"} <= targets


@pytest.mark.parametrize("path", [".ci/run", ".githooks/pre-commit"])
def test_scripts_can_be_run(path):
    assert os.access(ROOT / path, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / path)], check=True)


HEADINGS = [
    *("Idea", "Generative story", "Inference", "Objective"),
    *("Symbols", "Limits", "Tasks", "References"),
]


def test_every_family_has_a_page_with_the_same_headings() -> None:
    import latentkit.estimators  # noqa: F401 (registers them)
    from latentkit.estimators.registry import estimators

    for name in estimators:
        text = (ROOT / "docs" / "models" / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {estimators[name].__name__}\n"), name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS, name
        assert f"--model {name}`" in text
