"""Where a run goes, and what of it is replaced."""

from __future__ import annotations

from pathlib import Path

from latentkit.core.errors import InvalidParameterError

__all__ = ["choose_place", "has_run", "remove_part"]


def has_run(folder: Path) -> bool:
    """Whether a training was begun in a folder."""
    return (folder / "config.yaml").exists()


def remove_part(folder: Path, kind: str) -> None:
    """Remove a folder, where ``config.yaml`` in it calls it that kind."""
    import shutil

    from latentkit.estimators.runs import CONFIG, read_config

    if (folder / CONFIG).exists() and read_config(folder).get("estimator") == kind:
        shutil.rmtree(folder)


def choose_place(run: Path | None, data: str, *, overwrite: bool) -> Path:
    """Return the folder of a new run: as asked for, or ``runs/NAME``, numbered where that is taken.

    Raises:
        InvalidParameterError: If there is a run already and it may not be replaced.
    """
    if run is not None:
        if has_run(run) and not overwrite:
            raise InvalidParameterError(
                f"{run} holds a run already. Go on with it (--resume), replace it (--overwrite), or choose another -o."
            )
        return run
    name = "stdin" if data == "-" else Path(data).expanduser().resolve().name.split(".")[0] or "run"
    place, number = Path("runs", name), 1
    while place.exists() and not overwrite:
        number += 1
        place = Path("runs", f"{name}-{number}")
    return place
