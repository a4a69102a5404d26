"""The tree of errors: one root, the builtins that a caller would catch, drawn where it is defined."""

from __future__ import annotations

import inspect

import pytest

import latentkit
from latentkit.core import errors
from latentkit.core.errors import LatentkitError

BUILTINS = {
    "InvalidParameterError": ValueError,
    "DataError": ValueError,
    "UnreadableDataError": ValueError,
    "SchemaMismatchError": ValueError,
    "UnfitDataError": ValueError,
    "RunError": ValueError,
    "DamagedRunError": ValueError,
    "RunVersionError": ValueError,
    "StudyError": ValueError,
    "StudyVersionError": ValueError,
    "ArchiveError": ValueError,
    "DamagedArchiveError": ValueError,
    "UnsupportedOperationError": TypeError,
    "DivergenceError": ArithmeticError,
    "StorageError": OSError,
    "TrainingInterrupted": KeyboardInterrupt,
}


def test_every_error_is_public_and_in_the_table() -> None:
    defined = {name for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert defined == set(errors.__all__) == {"LatentkitError", *BUILTINS}


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_an_error_is_caught_as_ours_and_as_the_builtin(name: str, builtin: type[BaseException]) -> None:
    kind = getattr(errors, name)
    for caught in (LatentkitError, builtin):
        with pytest.raises(caught, match="why"):
            raise kind("why")


@pytest.mark.parametrize("name", BUILTINS)
def test_the_drawing_shows_the_tree_as_it_is(name: str) -> None:
    lines = errors.__doc__.splitlines()
    index = next(i for i, line in enumerate(lines) if f"── {name}" in line)
    kind, line = getattr(errors, name), lines[index]
    parent = next(base for base in kind.__mro__[1:] if base.__module__ == errors.__name__)
    if line.index(name) > min(other.index("── ") + 3 for other in lines if "── " in other):
        above = [other for other in lines[:index] if "── " in other and other.index("── ") < line.index("── ")]
        assert above[-1].split("── ")[1].split()[0] == parent.__name__
    else:
        assert parent is LatentkitError
        assert f"({BUILTINS[name].__name__})" in line


def test_an_interruption_is_no_exception_that_a_broad_handler_swallows() -> None:
    assert issubclass(errors.TrainingInterrupted, KeyboardInterrupt)


def test_a_storage_error_has_the_number_of_the_system() -> None:
    error = errors.StorageError(28, "cannot write x")
    assert error.errno == 28
    assert error.strerror == "cannot write x"


def test_the_root_is_in_the_public_face() -> None:
    assert latentkit.LatentkitError is LatentkitError
