"""Run folders: one fitted estimator and how it came about, in files that anyone can read.

::

    run/
      config.yaml           every setting: as asked for, and as resolved; no hidden default
      schema.json           how data become tensors and come back
      weights.safetensors   the model, the ex-post priors, further modules of the estimator
      coder.bin             the model in whole numbers, once it has compressed
      metrics.jsonl         one line per epoch
      environment.json      versions and machine
      README.md             model card
      report.html, plots/   pictures
      checkpoints/          the state of training, for --resume

Nothing in it is pickled, and nothing of it is executed when it is loaded.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latentkit.codec.coders import Coder, CoderState, coder_from_state
from latentkit.core.errors import (
    DamagedArchiveError,
    DamagedRunError,
    InvalidParameterError,
    RunError,
    RunVersionError,
    StorageError,
)
from latentkit.core.files import atomic_path, sha256, storage_errors, write_bytes, write_json, write_text
from latentkit.core.parameters import suggestion
from latentkit.core.registry import Registry
from latentkit.core.version import __version__
from latentkit.data import Dataset, schema_from_description
from latentkit.data.conditions import ConditionSchema
from latentkit.estimators.describing import (
    READABLE_FORMATS,
    RUN_FORMAT,
    describe,
    environment,
    from_yaml,
    model_card,
    to_yaml,
)
from latentkit.estimators.ex_post import ex_post_family
from latentkit.estimators.registry import estimators
from latentkit.models import specification_from_dict
from latentkit.tasks import ExPostPriors
from latentkit.tasks.ex_post import conditional_sections, restore_conditional_prior
from latentkit.training import Checkpoint, Engine, EpochRecord, PrivacySpent, TrainingPlan, read_checkpoint

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = [
    "RUN_FORMAT",
    "RunWriter",
    "keep_coder",
    "load",
    "loaders",
    "read_coder",
    "read_config",
    "read_metrics",
    "save",
    "write_coder",
]

CONFIG, SCHEMA, WEIGHTS, METRICS = "config.yaml", "schema.json", "weights.safetensors", "metrics.jsonl"
ENVIRONMENT = "environment.json"
CODER = "coder.bin"
#: Beginning of the sections of the weights that hold an estimator's further modules.
EXTRA = "extra."
#: Beginning of the name of the folder in which new files are written; one is left behind where a process was killed.
STAGE = ".writing."
#: Parts of a plan that are written elsewhere, or that belong to the machine.
_NOT_WRITTEN = ("kl_weight", "engine", "checkpoint_path", "seed", "privacy")


#: What reads folders that are no runs of one trained model, by what ``config.yaml`` calls them.
loaders: Registry[Callable[[Path], Any]] = Registry("folder")


class RunWriter:
    """Writes a run while it is trained.

    Args:
        folder: Where; made if absent.
        resume: Whether to go on from what is there.
        overwrite: Whether a run that is there may be replaced.
    Raises:
        RunError: If the folder holds something else, or a run that may not be replaced.
    """

    def __init__(self, folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.folder = folder
        self.resume = resume
        self.checkpoint_path = folder / "checkpoints" / "last.safetensors"
        self._config: dict[str, Any] = {}
        self._written = 0.0
        if resume:
            self._config = read_config(folder)
            if "data" not in self._config or "batch_size" not in self._config.get("training", {}):
                raise RunError(
                    f"{folder} has no training to resume: it was saved, not trained there. Fit without --resume."
                )
            if "fitted" in self._config and self.privacy() is not None:
                raise RunError(
                    f"{folder} is trained to the end, and what it may tell about its rows is spent: nothing is left to "
                    "go on with. Fit into another folder, with the epsilon that both together may spend in mind."
                )
        elif folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file, not a folder. Choose another place for the run.")
        elif (folder / CONFIG).exists():
            if not overwrite:
                raise RunError(
                    f"{folder} holds a run already. Go on with it (resume=True), replace it (overwrite=True), or "
                    "choose another folder."
                )
        elif folder.exists() and any(not _is_stage(p) for p in folder.iterdir()):
            raise RunError(f"{folder} holds other files. Choose an empty folder for the run.")

    def seed(self, estimator: BaseEstimator) -> int:
        """The seed of the training that is resumed."""
        return int(self._config["training"]["seed"])

    def engine(self) -> Engine:
        """The engine of the training that is resumed: other kernels would round differently."""
        stored = dict(self._config["training"]["engine"])
        engine = Engine(**{**stored, "measured": "remembered"})
        return engine

    def privacy(self) -> dict[str, Any] | None:
        """The privacy of the training that is resumed; None where it has none."""
        recorded: dict[str, Any] | None = self._config["training"].get("privacy")
        return recorded

    def checkpoint(self) -> Checkpoint | None:
        """The state to go on from; None where the training was killed before it had kept one."""
        return read_checkpoint(self.checkpoint_path) if self.checkpoint_path.exists() else None

    def begin(self, estimator: BaseEstimator, plan: TrainingPlan) -> None:
        """Write what is known before training: settings, schema, environment."""
        training = {
            **{name: to_yaml(value) for name, value in vars(plan).items() if name not in _NOT_WRITTEN},
            "privacy": None if plan.privacy is None else plan.privacy.to_dict(),
            "seed": estimator.seed_,
            "engine": plan.engine.to_dict(),
        }
        if self.resume:
            _check_same(self._config, estimator, estimator.data_)
        self._config = {**describe(estimator), "data": estimator.data_, "training": training}
        with staged(self.folder) as stage:
            write_json(stage / SCHEMA, estimator.schema_.describe())
            write_json(stage / ENVIRONMENT, environment())
            write_config(stage, self._config)
        if not self.resume:
            for name in (WEIGHTS, METRICS):
                (self.folder / name).unlink(missing_ok=True)
            self.checkpoint_path.unlink(missing_ok=True)

    def epoch(self, history: Sequence[EpochRecord]) -> None:
        """Write the metrics so far, at most once a second."""
        if time.monotonic() - self._written > 1.0:
            write_metrics(self.folder, [record.to_dict() for record in history])
            self._written = time.monotonic()

    def finish(self, estimator: BaseEstimator) -> None:
        """Write what training gave."""
        with staged(self.folder) as stage:
            write_fitted(stage, estimator, self._config)
        _remove_coder_of_another(self.folder, estimator)
        if estimator.privacy_ is not None:
            self.checkpoint_path.unlink(missing_ok=True)  # it holds what the noise was drawn from


def save(estimator: BaseEstimator, folder: str | os.PathLike[str], *, data: Dataset | None = None) -> Path:
    """Write a fitted estimator as a run folder and return its path.

    Args:
        estimator: A fitted estimator.
        folder: Where to.
        data: What the run tells that it was fitted on; None is what `fit` was given.

    Raises:
        StorageError: If it cannot be written; a run that was there keeps its weights until the new ones are whole.
    """
    target = Path(folder)
    writer = RunWriter(target, overwrite=True)
    config = {**describe(estimator), "training": {"seed": estimator.seed_, "engine": estimator.engine_.to_dict()}}
    told = estimator.data_ if data is None else describe_data(data)
    if told is not None:
        config["data"] = told
    with staged(target) as stage:
        write_json(stage / ENVIRONMENT, environment())
        write_fitted(stage, estimator, config)
    writer.checkpoint_path.unlink(missing_ok=True)  # of another training
    _remove_coder_of_another(target, estimator)
    return target


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """What a run tells of data: where they were, how many they are, and how they were read."""
    return {"source": dataset.source, "examples": dataset.n, "kind": dataset.kind, "reading": dict(dataset.reading)}


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a folder beside the files of a run; what is written there moves into the run when the block ends well.

    A full disk is met while the new files are written, and the run that is there stays whole; moving needs no space.
    The configuration, which vouches for the others, moves last.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=folder))
    try:
        yield stage
        with storage_errors(folder):
            for file in sorted(stage.iterdir(), key=lambda file: file.name == CONFIG):
                file.replace(folder / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def load(
    folder: str | os.PathLike[str],
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    device: str = "auto",
) -> Any:
    """Return the fitted estimator of a run folder.

    Args:
        folder: A run, as ``save`` or ``latentkit fit`` wrote it.
        encoder: Your own encoder module, where the model was fitted with one; its weights are replaced.
        decoder: Likewise.
        device: Where the model shall be.
    Raises:
        RunError: If there is no run in the folder.
        DamagedRunError: If a file is missing or does not have the content that was written.
        RunVersionError: If a later version wrote the run.
    """
    path = Path(folder)
    config = read_config(path)
    if config.get("estimator") in loaders:
        return loaders[config["estimator"]](path)
    own = {name: module for name, module in (("encoder", encoder), ("decoder", decoder)) if module is not None}
    return _load_run(path, config, own, device)


def _load_run(path: Path, config: Mapping[str, Any], own: Mapping[str, nn.Module], device: str) -> Any:
    from latentkit.training import pick_device

    if "fitted" not in config:
        raise RunError(f"{path} was not trained to the end. Go on with: latentkit fit DATA -o {path} --resume")
    try:
        for name in (WEIGHTS, SCHEMA):
            check_content(path / name, config["fitted"]["sha256"][name])
        kind = estimators[config["estimator"]]
        known = kind().get_params()
        parameters = {name: from_yaml(value) for name, value in config["parameters"].items() if name in known}
        specification = specification_from_dict(config["model"])
        choices = {role: choice["network"] for role, choice in specification.networks.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, RunError):
            raise
        raise damaged_config(path / CONFIG, error) from error
    for name in own:
        if choices.get(name) != "custom":
            raise InvalidParameterError(
                f"the {name} of this run is {choices.get(name, 'absent')!r} and its weights stand in the run; leave "
                f"{name}= out."
            )
    estimator = kind(**{**parameters, **own})
    schema = schema_from_description(json.loads((path / SCHEMA).read_text(encoding="utf-8")))
    try:
        model = specification.build(**own)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if "custom" in choices.values():
            raise  # a module of the user's own is missing or wrong
        raise damaged_config(path / CONFIG, error) from error
    estimator.specification_, estimator.schema_ = specification, schema
    estimator.latent_dim_ = specification.latent_dim
    try:
        tensors = load_file(path / WEIGHTS)
        _restore(estimator, config, tensors, model)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
        if own and isinstance(error, RuntimeError):
            raise InvalidParameterError(
                f"the weights of the run do not fit your {' and '.join(own)}; give the module with which it was "
                f"fitted. {error}"
            ) from error
        raise damaged_config(path / CONFIG, error) from error
    for module in (estimator.model_, *estimator.extra_modules_.values()):
        module.to(pick_device(device))
    estimator.history_ = read_metrics(path / METRICS)
    checksum = config["fitted"]["sha256"].get(CODER)
    estimator.coder_ = None if checksum is None else read_coder(path, checksum)
    return estimator


def _is_stage(path: Path) -> bool:
    return path.name.startswith(STAGE)


def check_content(file: Path, expected: str) -> None:
    """Refuse a file that is missing, or does not have the content that was written."""
    if not file.exists():
        raise DamagedRunError(f"{file} is missing. Restore it from a copy, or fit again.")
    if sha256(file) != expected:
        raise DamagedRunError(
            f"{file} is damaged: it does not have the content that was written. Restore it from a copy, or fit again."
        )


def damaged_config(file: Path, error: Exception) -> DamagedRunError:
    """The error of a configuration that makes no sense."""
    return DamagedRunError(
        f"{file} is damaged ({type(error).__name__}: {error}). Restore it from a copy, or fit again."
    )


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """Return the lines of ``metrics.jsonl``; none where it is absent."""
    if not file.exists():
        return []
    try:
        return [dict(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    except (TypeError, ValueError) as error:
        raise DamagedRunError(
            f"{file} is damaged ({error}). Restore it from a copy, or remove it: it holds the history of training only."
        ) from error


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a run's ``config.yaml``.

    Raises:
        RunError: If the folder is no run.
        RunVersionError: If a later version wrote it.
        DamagedRunError: If the file cannot be read.
    """
    path = Path(folder)
    file = path / CONFIG
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        raise RunError(
            f"there is no run at {path}.{suggestion(path.name, siblings)} Make one with: latentkit fit DATA -o {path}"
        )
    if not file.exists():
        raise RunError(f"{path} is not a run: it has no {CONFIG}. Make one with: latentkit fit DATA -o RUN")
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        number = config["format"]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DamagedRunError(f"{file} is damaged ({error}). Restore it from a copy, or fit again.") from error
    if number not in READABLE_FORMATS:
        raise RunVersionError(
            f"{path} has run format {number}; latentkit {__version__} reads formats {READABLE_FORMATS[0]} to "
            f"{READABLE_FORMATS[-1]}. "
            f"It was written by latentkit {config.get('latentkit', '?')}: install that version or a later one."
        )
    result: dict[str, Any] = config
    return result


def check_place(folder: Path, kind: str, thing: str) -> None:
    """Refuse a folder that holds something else than what is to be replaced.

    Args:
        folder: Where something is to be written.
        kind: What ``config.yaml`` calls it.
        thing: What people call it.
    Raises:
        RunError: If it is a file, or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file, not a folder. Choose another place for the {thing}.")
    if folder.exists() and any(folder.iterdir()):
        held = read_config(folder).get("estimator") if (folder / CONFIG).exists() else "other files"
        if held != kind:
            raise RunError(f"{folder} holds {held}, no {thing}. Choose an empty folder.")


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write ``config.yaml``."""
    text = yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False, allow_unicode=True, width=110)
    write_text(folder / CONFIG, text)


def write_metrics(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write ``metrics.jsonl``, one line per epoch."""
    write_text(folder / METRICS, "".join(json.dumps(record) + "\n" for record in history))


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by their names as safetensors.

    Raises:
        StorageError: If it cannot be written.
    """
    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(file) as temporary:
        try:
            save_file(flat, temporary)
        except SafetensorError as error:
            raise StorageError(5, f"cannot write {file}: {error}") from error


def write_fitted(folder: Path, estimator: BaseEstimator, config: dict[str, Any]) -> None:
    """Write weights, metrics, model card, and last the configuration that vouches for them."""
    tensors = {f"model/{name}": tensor for name, tensor in estimator.model_.state_dict().items()}
    for name, module in _ex_post_sections(estimator).items():
        tensors.update({f"{name}/{key}": tensor for key, tensor in module.state_dict().items()})
    for name, module in estimator.extra_modules_.items():
        tensors.update({f"{EXTRA}{name}/{key}": tensor for key, tensor in module.state_dict().items()})
    write_json(folder / SCHEMA, estimator.schema_.describe())
    write_tensors(folder / WEIGHTS, tensors)
    write_metrics(folder, estimator.history_)
    names = getattr(estimator, "feature_names_in_", None)
    fitted = {
        "epochs": estimator.n_iter_,
        "best_epoch": estimator.best_epoch_,
        "stopped": estimator.stopped_,
        "events": list(estimator.events_),
        "n_features_in": int(estimator.n_features_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        "classes": list(estimator.classes_),
        "privacy": None if estimator.privacy_ is None else estimator.privacy_.to_dict(),
        "sha256": {name: sha256(folder / name) for name in (WEIGHTS, SCHEMA)},
    }
    if estimator.coder_ is not None:
        write_coder(folder, estimator.coder_)
        fitted["sha256"][CODER] = sha256(folder / CODER)
    write_text(folder / "README.md", model_card(estimator, config, fitted))
    write_config(folder, {**config, "fitted": fitted})


def _remove_coder_of_another(folder: Path, estimator: BaseEstimator) -> None:
    if estimator.coder_ is None:
        (folder / CODER).unlink(missing_ok=True)


def write_coder(folder: Path, coder: Coder) -> None:
    """Write a coder into a folder."""
    write_bytes(folder / CODER, coder.state().to_bytes())


def read_coder(folder: Path, checksum: str) -> Coder:
    """Return the coder that was written into a folder.

    Raises:
        DamagedRunError: If it is missing, is another, or none that this version knows.
    """
    file = folder / CODER
    check_content(file, checksum)
    try:
        return coder_from_state(CoderState.from_bytes(file.read_bytes()))
    except DamagedArchiveError as error:
        raise DamagedRunError(f"{file} is damaged: {error} Restore it from a copy, or fit again.") from error


def keep_coder(folder: str | os.PathLike[str], coder: Coder) -> None:
    """Put a coder that was made later into the run of its model.

    Raises:
        StorageError: If it cannot be written; the run stays as it was.
    """
    path = Path(folder)
    config = read_config(path)
    with staged(path) as stage:
        write_coder(stage, coder)
        config["fitted"]["sha256"][CODER] = sha256(stage / CODER)
        write_config(stage, config)


def _restore(
    estimator: BaseEstimator, config: Mapping[str, Any], tensors: Mapping[str, Tensor], model: nn.Module
) -> None:
    fitted = config["fitted"]
    sections: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        section, name = key.split("/", 1)
        sections.setdefault(section, {})[name] = tensor
    model.load_state_dict(sections["model"])
    estimator.model_ = model.eval()
    estimator.data_ = config.get("data")
    estimator.seed_ = int(config["training"]["seed"])
    estimator.engine_ = Engine(**config["training"]["engine"])
    estimator.n_iter_, estimator.best_epoch_ = fitted["epochs"], fitted["best_epoch"]
    estimator.stopped_, estimator.events_ = fitted["stopped"], list(fitted["events"])
    privacy = fitted.get("privacy")  # runs of versions without it have none
    estimator.privacy_ = None if privacy is None else PrivacySpent(**privacy)
    estimator.n_features_in_ = fitted["n_features_in"]
    if fitted["feature_names_in"] is not None:
        import numpy as np

        estimator.feature_names_in_ = np.asarray(fitted["feature_names_in"], dtype=object)
    estimator.classes_ = tuple(fitted["classes"])
    condition = config.get("condition")
    estimator.condition_schema_ = None if condition is None else ConditionSchema.from_description(condition)
    estimator.condition_ = None
    _restore_ex_post(estimator, sections)
    estimator.extra_modules_ = estimator._extra_modules()  # noqa: SLF001 (a run restores what fit made)
    for name, module in estimator.extra_modules_.items():
        module.load_state_dict(sections[f"{EXTRA}{name}"])
        module.eval()


def _ex_post_sections(estimator: BaseEstimator) -> dict[str, nn.Module]:
    """The modules of the ex-post prior by the names of their sections; none where there is no such prior."""
    if estimator.ex_post_prior_ is None:
        return {}
    family = ex_post_family(estimator)
    assert family is not None, "a prior was fitted"
    sections = family.sections(ExPostPriors(whole=estimator.ex_post_prior_, classes=estimator.class_priors_))
    given = estimator.condition_prior_
    return sections if given is None else {**sections, **conditional_sections(family, given)}


def _restore_ex_post(estimator: BaseEstimator, sections: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Give an estimator its ex-post priors back; families without the parameter have none."""
    family = ex_post_family(estimator) if "ex_post" in estimator.get_params() else None
    estimator.ex_post_prior_, estimator.class_priors_, estimator.condition_prior_ = None, [], None
    if family is not None:
        n_classes = len(estimator.classes_)
        priors = family.restore(sections, latent_dim=estimator.latent_dim_, n_classes=n_classes)
        estimator.ex_post_prior_, estimator.class_priors_ = priors.whole, list(priors.classes)
        estimator.condition_prior_ = restore_conditional_prior(family, sections, whole=priors.whole)


def _check_same(config: Mapping[str, Any], estimator: BaseEstimator, data: Mapping[str, Any]) -> None:
    """A training can only be resumed with the model and data that it was started with."""
    now = to_yaml(estimator.specification_.to_dict())
    for name, value in config["model"].items():
        if now.get(name) != value:
            raise InvalidParameterError(
                f"--resume goes on with the model of the run, whose {name} is {value!r}; these settings give "
                f"{now.get(name)!r}. Resume with the same settings and data, or fit into another folder."
            )
    schema = estimator.condition_schema_
    if config.get("condition") != (None if schema is None else to_yaml(schema.describe())):
        raise InvalidParameterError(
            "--resume goes on with the conditions of the run, and these are others. Resume with the same ones, or fit "
            "into another folder."
        )
    if config["data"]["examples"] != data["examples"]:
        raise InvalidParameterError(
            f"--resume goes on with the data of the run, which had {config['data']['examples']} examples; these have "
            f"{data['examples']}. Resume with the same data, or fit into another folder."
        )
