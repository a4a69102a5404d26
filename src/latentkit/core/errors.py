"""The errors of latentkit, in one tree.

Every error that latentkit raises on purpose is one of these. Each also derives from the builtin that a caller would
catch anyway, so ``except ValueError`` works without knowing latentkit::

    LatentkitError
    ├── InvalidParameterError (ValueError)       an option has a value that it cannot have
    ├── DataError (ValueError)                   the data cannot be used as they are
    │   ├── UnreadableDataError                  a file or folder is missing, empty, truncated or of an unknown format
    │   ├── SchemaMismatchError                  the data do not have the shape or kind that the model was fitted on
    │   └── UnfitDataError                       a coder cannot take the data; an archive stores them another way
    ├── RunError (ValueError)                    a run folder cannot be used
    │   ├── DamagedRunError                      a file of the run is missing or its content does not check out
    │   ├── RunVersionError                      the run was written in a format that this version does not know
    │   └── StudyError                           a folder of a search cannot be gone on with: other data, other settings
    │       └── StudyVersionError                it was written in a format that this version does not know
    ├── ArchiveError (ValueError)                a compressed archive cannot be used
    │   └── DamagedArchiveError                  it is truncated, was altered, or never was one
    ├── UnsupportedOperationError (TypeError)    this model cannot do this task
    ├── DivergenceError (ArithmeticError)        training met NaN or infinity again and again
    ├── StorageError (OSError)                   writing failed (disk full, no permission); what was there is intact
    └── TrainingInterrupted (KeyboardInterrupt)  a signal stopped training after the state was saved

A message says what is wrong, what is allowed, what was given and what to do next.
"""

from __future__ import annotations

__all__ = [
    "ArchiveError",
    "DamagedArchiveError",
    "DamagedRunError",
    "DataError",
    "DivergenceError",
    "InvalidParameterError",
    "LatentkitError",
    "RunError",
    "RunVersionError",
    "SchemaMismatchError",
    "StorageError",
    "StudyError",
    "StudyVersionError",
    "TrainingInterrupted",
    "UnfitDataError",
    "UnreadableDataError",
    "UnsupportedOperationError",
]


class LatentkitError(Exception):
    """Root of every error that latentkit raises on purpose."""


class InvalidParameterError(LatentkitError, ValueError):
    """An option has a value that it cannot have."""


class DataError(LatentkitError, ValueError):
    """The data cannot be used as they are."""


class UnreadableDataError(DataError):
    """A file or folder is missing, empty, truncated or of an unknown format."""


class SchemaMismatchError(DataError):
    """The data do not have the shape or kind that the model was fitted on."""


class UnfitDataError(DataError):
    """A coder cannot take the data; an archive stores them another way."""


class RunError(LatentkitError, ValueError):
    """A run folder cannot be used."""


class DamagedRunError(RunError):
    """A file of the run is missing or its content does not check out."""


class RunVersionError(RunError):
    """The run was written in a format that this version does not know."""


class StudyError(RunError):
    """A folder of a search cannot be gone on with."""


class StudyVersionError(StudyError):
    """The search was written in a format that this version does not know."""


class ArchiveError(LatentkitError, ValueError):
    """A compressed archive cannot be used."""


class DamagedArchiveError(ArchiveError):
    """It is truncated, was altered, or never was one."""


class UnsupportedOperationError(LatentkitError, TypeError):
    """This model cannot do this task."""


class DivergenceError(LatentkitError, ArithmeticError):
    """Training met NaN or infinity again and again."""


class StorageError(LatentkitError, OSError):
    """Writing failed; what was on disk before is intact."""


class TrainingInterrupted(LatentkitError, KeyboardInterrupt):
    """A signal stopped training after the state was saved."""
