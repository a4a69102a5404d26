"""Checkpoints: the whole state of a training, in one file, written atomically and without pickle.

Tensors lie in a safetensors file under names such as ``model/encoder.0.weight``; everything else is JSON in that
file's header. One file in one step: a process killed at any moment leaves either the old checkpoint or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from latentkit.core.errors import DamagedRunError, RunVersionError
from latentkit.core.files import atomic_path

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]

VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """What training needs to go on as if it had never stopped.

    Attributes:
        tensors: By section, then by name.
        values: JSON values.
    """

    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


def write_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    Raises:
        StorageError: If the disk is full; the previous checkpoint is then intact.
    """
    flat: dict[str, Tensor] = {}
    for section, tensors in checkpoint.tensors.items():
        for name, tensor in tensors.items():
            flat[f"{section}/{name}"] = tensor.detach().cpu().contiguous().clone()
    header = {"format": "latentkit-checkpoint", "version": str(VERSION), "values": json.dumps(checkpoint.values)}
    with atomic_path(path) as temporary:
        try:
            save_file(flat, temporary, metadata=header)
        except SafetensorError as error:
            raise OSError(28 if "No space" in str(error) else 5, str(error)) from error


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DamagedRunError: If the file is missing or is not a whole checkpoint.
        RunVersionError: If a later version wrote it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: Mapping[str, str] = file.metadata() or {}
            if header.get("format") != "latentkit-checkpoint":
                raise DamagedRunError(f"{path} is not a checkpoint of latentkit. Train again without --resume.")
            if int(header.get("version", "0")) != VERSION:
                raise RunVersionError(
                    f"{path} has checkpoint format {header.get('version')}; this version reads {VERSION}. "
                    "Resume with the version that wrote it."
                )
            tensors: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                section, name = key.split("/", 1)
                tensors.setdefault(section, {})[name] = file.get_tensor(key)
            return Checkpoint(tensors, json.loads(header["values"]))
    except FileNotFoundError as error:
        raise DamagedRunError(f"there is no checkpoint at {path}. Train again without --resume.") from error
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        if isinstance(error, (DamagedRunError, RunVersionError)):
            raise
        raise DamagedRunError(f"the checkpoint {path} is damaged ({error}). Train again without --resume.") from error
