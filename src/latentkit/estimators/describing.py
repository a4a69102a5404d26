"""What a run says about itself: settings, environment and a card for people."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from latentkit.core.version import __version__
from latentkit.estimators.ex_post import ex_post_name, in_words
from latentkit.estimators.registry import name_of
from latentkit.training import PrivacySpent

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = [
    "READABLE_FORMATS",
    "RUN_FORMAT",
    "columns_in_words",
    "describe",
    "environment",
    "from_yaml",
    "model_card",
    "to_yaml",
    "with_article",
]

#: Number of the run format, and those that can be read; a reader refuses the numbers it does not know.
RUN_FORMAT = 2
READABLE_FORMATS = (1, 2)
#: Packages whose versions may change a result.
PACKAGES = ("latentkit", "torch", "numpy", "scikit-learn", "safetensors", "pillow", "pyarrow")


def describe(estimator: BaseEstimator) -> dict[str, Any]:
    """The settings of an estimator, as asked for and as resolved, as YAML values."""
    return {
        "format": RUN_FORMAT,
        "latentkit": __version__,
        "estimator": name_of(type(estimator)),
        "parameters": {
            # A generator cannot be written; the seed that it gave can.
            name: estimator.seed_ if name == "random_state" and hasattr(value, "randint") else to_yaml(value)
            for name, value in estimator.get_params(deep=False).items()
        },
        "model": to_yaml(estimator.specification_.to_dict()),
        "condition": None if estimator.condition_schema_ is None else estimator.condition_schema_.describe(),
    }


def environment() -> dict[str, Any]:
    """Versions and machine, without names of people or hosts."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": versions,
    }


def model_card(estimator: BaseEstimator, config: Mapping[str, Any], fitted: Mapping[str, Any]) -> str:
    """A model card for people, in Markdown."""
    specification = estimator.specification_
    last = estimator.history_[fitted["best_epoch"] - 1] if estimator.history_ else None
    data = config.get("data", {})
    shape = " x ".join(str(size) for size in specification.event_shape)
    is_table = estimator.schema_.kind == "table"
    columns = f"- Columns: {columns_in_words(estimator.schema_)}\n" if is_table else ""
    shape += " columns" if is_table else ""
    shape = f"up to {shape} tokens" if estimator.schema_.kind == "text" else shape
    validation = "" if last is None or last["validation"] is None else f", {last['validation']:.2f} on held-out rows"
    name, unit = estimator._value_name, estimator._value_unit  # noqa: SLF001 (of our own)
    value = f"- {name[0].upper()}{name[1:]}"
    figure = "" if last is None else f"{last['objective']:.2f} {unit}".rstrip()
    bound = "" if last is None else f"{value}: {figure} in training{validation}\n"
    has_prior = estimator.ex_post_prior_ is not None
    afterwards = f", with a {in_words(ex_post_name(estimator))} fitted afterwards" if has_prior else ""
    parts = "; ".join(f"{role}: {name}" for role, name in specification.parts.items()).capitalize()
    choices = specification.networks.items()
    networks = "; ".join(f"{role}: {_network_text(choice)}" for role, choice in choices).capitalize()
    named = config["parameters"].get("objective")
    objective = "" if named is None else f"Objective: {named}; "
    classes = f"- Classes: {', '.join(fitted['classes'])}\n" if fitted["classes"] else ""
    return (
        f"# A{with_article(type(estimator).__name__)[1:]} of latentkit\n\n"
        f"- Data: {data.get('examples', '?')} examples of {shape}, read from {data.get('source', 'memory')}\n"
        f"{columns}- Latent dimensions: {specification.latent_dim}\n"
        f"- {parts}{afterwards}\n"
        f"- {networks}\n"
        f"- {objective}{fitted['epochs']} epochs, best {fitted['best_epoch']}, "
        f"stopped by {fitted['stopped']}\n"
        f"{bound}{classes}{_privacy_in_words(estimator.privacy_)}\n"
        '```python\nfrom latentkit import load\n\nmodel = load(".")\nmodel.sample(16)\n```\n\n'
        "All settings stand in `config.yaml`; versions in `environment.json`.\n"
    )


def _privacy_in_words(privacy: PrivacySpent | None) -> str:
    """What a card says of differential privacy: what is covered, how, and what is not."""
    if privacy is None:
        return ""
    return (
        f"- Differential privacy: {privacy.summary()}\n\n"
        "The weights, and rows drawn from them, are differentially private with respect to adding or removing one row "
        f"of training: {privacy.n_steps:,} steps of DP-SGD that each took a row with probability "
        f"{privacy.sample_rate:.3g}, clipped the gradient of each to {privacy.max_grad_norm:g} and added noise of "
        f"{privacy.noise_multiplier:.4g} times that; accounted by Renyi differential privacy (Opacus). **Not** covered "
        "are `schema.json` (names, categories, bins and ranges of the columns, in which rows are written), the number "
        "of rows, `metrics.jsonl`, and a report, which shows real rows.\n"
    )


def columns_in_words(schema: Any) -> str:
    """Return how many columns of each kind a table has, and which of them the model does not see."""
    seen = Counter(column.kind for column in schema.columns if not column.is_left_out)
    left_out = ", ".join(f"{column.name} ({column.kind})" for column in schema.columns if column.is_left_out)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(seen.items()))
    return f"{kinds}{f'; left out: {left_out}' if left_out else ''}"


def with_article(name: str) -> str:
    """Return a name with its article.

    Example:
        >>> with_article("Autoencoder"), with_article("VAE")
        ('an Autoencoder', 'a VAE')
    """
    return f"{'an' if name[0] in 'AEIO' else 'a'} {name}"


def to_yaml(value: Any) -> Any:
    """A setting as a YAML value; a module of the user's own as its name."""
    if isinstance(value, nn.Module):
        return f"custom: {type(value).__name__}"
    if type(value) in (str, bool, int, float, type(None)):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_yaml(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_yaml(item) for item in value]
    if hasattr(value, "item"):
        return value.item()  # a number of numpy
    return str(value)


def from_yaml(value: Any) -> Any:
    """A YAML value as a setting: lists become tuples."""
    if isinstance(value, Mapping):
        return {key: from_yaml(item) for key, item in value.items()}
    return tuple(from_yaml(item) for item in value) if isinstance(value, list) else value


def _network_text(choice: Mapping[str, Any]) -> str:
    sizes = choice.get("widths") or choice.get("channels")
    return f"{choice['network']}{' ' + '-'.join(map(str, sizes)) if sizes else ''}"
