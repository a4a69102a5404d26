"""Where a study lies: a folder whose journal several processes write at once, and which no killed process harms.

::

    study/
      study.json      what is searched, for what, in which data; the rows of each part
      journal.log     every trial, appended line by line (Optuna's journal)
      best/           the run of the best trial
      trials.csv      the trials as a table
      results.html    the trials as a page

A lock that a process holds is the kernel's: it goes when the process goes, however that came about.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.core.errors import StudyError, StudyVersionError
from latentkit.core.files import storage_errors, write_text
from latentkit.core.version import __version__

if TYPE_CHECKING:
    from filelock import FileLock
    from optuna.storages import BaseStorage

__all__ = ["STUDY_FORMAT", "StudyFolder", "read_study"]

#: Number of the format of a study.
STUDY_FORMAT = 1
STUDY, JOURNAL, BEST = "study.json", "journal.log", "best"
#: Beginning of the name of a folder in which the run of a trial waits to become the best one.
WAITING = ".best-"
#: Locks of the study and of the processes at work on it.
LOCKS = ".locks"
#: What two commands that go on with one study must agree on, and how to say it.
_AGREED = {
    "estimator": "family",
    "goal": "goal",
    "seed": "seed",
    "test_fraction": "share of test rows",
    "settings": "set of settings",
    "data": "set of data",
    "space": "space",
    "sampler": "sampler",
}


def read_study(folder: Path) -> dict[str, Any]:
    """Return the content of ``study.json``.

    Raises:
        StudyVersionError: If another version wrote it in a format that this one does not know.
        StudyError: If it cannot be read.
    """
    file = folder / STUDY
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        number = found["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{file} is missing or damaged ({error}). Choose another folder for the study.") from error
    if number != STUDY_FORMAT:
        raise StudyVersionError(
            f"{folder} has study format {number}; latentkit {__version__} goes on with format {STUDY_FORMAT}. It was "
            f"written by latentkit {found.get('latentkit', '?')}: use that version, or choose another folder."
        )
    return found


class StudyFolder:
    """A folder that holds a study, and this process's place in it.

    Args:
        path: Made if absent.
    Raises:
        StudyError: If it is a file, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.worker = uuid.uuid4().hex
        if path.exists() and not path.is_dir():
            raise StudyError(f"{path} is a file, not a folder. Choose another place for the study.")
        self._lock = self._named("study")
        if self._is_strange():
            # where there are locks, another process may be just beginning the study
            with self.alone() if (path / LOCKS).is_dir() else nullcontext():
                if self._is_strange():
                    raise StudyError(f"{path} holds other files, no study. Choose an empty folder.")
        with storage_errors(path):
            (path / LOCKS).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside the block no other process is in such a block of the same study."""
        with self._lock:
            yield

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside the block this process counts as alive for the others."""
        lock = self._named(self.worker)
        with lock:
            yield
        Path(lock.lock_file).unlink(missing_ok=True)

    def is_at_work(self, worker: str | None) -> bool:
        """Whether a process is alive: whether it holds its lock."""
        from filelock import Timeout

        if worker is None:
            return False
        if worker == self.worker:
            return True
        if not (self.path / LOCKS / f"{worker}.lock").exists():
            return False
        lock = self._named(worker)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
        return False

    def known(self) -> dict[str, Any] | None:
        """What is written of the study; None where there is none yet."""
        return read_study(self.path) if (self.path / STUDY).exists() else None

    def settle(self, description: Mapping[str, Any]) -> dict[str, Any]:
        """Write what is searched, or check that it is what is searched here already; return what is written there.

        Raises:
            StudyError: If the study is another one.
        """
        content = {"format": STUDY_FORMAT, "latentkit": __version__, **json.loads(json.dumps(description))}
        if not (self.path / STUDY).exists():
            write_text(self.path / STUDY, _compact(content))
            return content
        found = read_study(self.path)
        for name, word in _AGREED.items():
            if found.get(name) != content[name]:
                raise StudyError(f"{self.path} is a study with another {word}. {_difference(name, found, content)}")
        return found

    def storage(self) -> BaseStorage:
        """The journal, on whose lock no killed process sits."""
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        with storage_errors(self.path / JOURNAL):
            journal, lock = self.path / JOURNAL, self._named("journal")
            with lock:
                _cut_torn_line(journal)
            held: Any = _JournalLock(lock)
            return JournalStorage(JournalFileBackend(str(journal), lock_obj=held))

    @property
    def best(self) -> Path:
        """The run of the best trial."""
        return self.path / BEST

    def waiting(self, number: int) -> Path:
        """Where the run of a trial is written before it counts."""
        return self.path / f"{WAITING}{number}"

    def promote(self, best: int | None) -> None:
        """Put the run of the best trial in its place, if it waits, and remove all others that wait."""
        for place in self.path.glob(f"{WAITING}*"):
            if best is not None and place == self.waiting(best):
                old = self.path / f".old-{uuid.uuid4().hex}"
                if self.best.exists():
                    self.best.replace(old)
                place.replace(self.best)
                shutil.rmtree(old, ignore_errors=True)
            else:
                shutil.rmtree(place, ignore_errors=True)
        for place in self.path.glob(".old-*"):
            shutil.rmtree(place, ignore_errors=True)

    def _is_strange(self) -> bool:
        """Whether there are files, but no study."""
        if not self.path.exists() or (self.path / STUDY).exists():
            return False
        names = (file.name for file in self.path.iterdir())
        # a process that was killed in its first moment may have left a part of study.json
        return not all(name == LOCKS or name.startswith(f".{STUDY}.") for name in names)

    def _named(self, name: str) -> FileLock:
        from filelock import FileLock

        return FileLock(self.path / LOCKS / f"{name}.lock")


class _JournalLock:
    """A lock of the kernel's in the form that Optuna asks for."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _cut_torn_line(journal: Path) -> None:
    """Cut what a killed process has written of a line: a line that follows it would be read as a part of it."""
    if not journal.exists():
        return
    content = journal.read_bytes()
    if content and not content.endswith(b"\n"):
        with journal.open("rb+") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _difference(name: str, found: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    if name == "data":
        n_found, n_asked = (values[name].get("examples") for values in (found, asked))
        how = f"{n_found} examples, and these are {n_asked}" if n_found != n_asked else "as many examples, but others"
        return f"It has {how}. Give the data and the options of before, or choose another folder."
    before, now = found.get(name), asked[name]
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        before, now = ({key: values.get(key) for key in keys} for values in (before, now))
    return f"It has {before!r}; got {now!r}. Go on with the options of before, or choose another folder."


def _compact(content: Mapping[str, Any]) -> str:
    """JSON with a line for each entry: the numbers of many rows stand on one."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
