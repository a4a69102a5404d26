"""``latentkit info``: what a run is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentkit.cli.application import command
from latentkit.cli.options import Json, Run
from latentkit.cli.printing import Printer

__all__ = ["info"]


@command("info", "latentkit info run", "latentkit info run --json | jq .objective_value")
def info(run: Run, as_json: Json = False) -> None:
    """Show what a run is: data, model, what training reached, engine, classes."""
    printer = Printer(as_json=as_json)
    from latentkit.estimators import load
    from latentkit.estimators.describing import columns_in_words
    from latentkit.estimators.registry import estimators
    from latentkit.estimators.runs import read_config
    from latentkit.training import PrivacySpent

    config = read_config(run)
    fitted = config.get("fitted")
    # Loading checks every file of the run.
    estimator = estimators[config["estimator"]](**config["parameters"]) if fitted is None else load(run)
    n_parameters = None if fitted is None else sum(parameter.numel() for parameter in estimator.model_.parameters())
    values = {**_values(run, config, estimator), "parameters": n_parameters}
    if fitted is not None and estimator.schema_.kind == "table":
        values["columns"] = columns_in_words(estimator.schema_)
    if fitted is not None and estimator.schema_.kind == "text":
        values["vocabulary"] = dict(estimator.schema_.summary())["vocabulary"]
    printer.line(f"{run}", style="bold")
    shown = {**values, "privacy": PrivacySpent(**values["privacy"]).summary() if values["privacy"] else None}
    if "vocabulary" in values:
        shown["event"] = f"up to {values['event'][0]:,} tokens"
    printer.pairs([(name, _text(value)) for name, value in shown.items() if value not in (None, [], {})])
    if fitted is None:
        printer.commands("not trained to the end; go on with", [f"latentkit fit --resume -o {run}"])
    printer.document({**values, "fitted": fitted is not None, "settings": config["parameters"]})


def _values(run: Path, config: Mapping[str, Any], estimator: Any) -> dict[str, Any]:
    from latentkit.models import specification_from_dict

    model, data, training = config["model"], config.get("data", {}), config.get("training", {})
    specification = specification_from_dict(model)
    fitted = config.get("fitted") or {}
    history = _history(run)
    best = history[min(fitted.get("best_epoch", len(history)), len(history)) - 1] if history else {}
    return {
        "data": data.get("source"),
        "examples": data.get("examples"),
        "event": model["event_shape"],
        "model": config["estimator"],
        **{role: _network(choice) for role, choice in specification.networks.items()},
        "latent_dim": model["latent_dim"],
        **specification.parts,
        "objective": config["parameters"].get("objective"),
        "objective_is": estimator._value_name,  # noqa: SLF001 (of our own)
        "objective_value": best.get("validation") if best.get("validation") is not None else best.get("objective"),
        "measured_on": None if not best else "held-out rows" if best.get("validation") is not None else "training rows",
        "epochs": fitted.get("epochs", len(history)),
        "best_epoch": fitted.get("best_epoch"),
        "stopped": fitted.get("stopped"),
        "seconds": history[-1]["seconds"] if history else None,
        "privacy": fitted.get("privacy"),
        "engine": training.get("engine"),
        "classes": fitted.get("classes", []),
        "events": fitted.get("events", []),
        "latentkit": config["latentkit"],
    }


def _history(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _network(choice: Mapping[str, Any]) -> str:
    sizes = choice.get("widths") or choice.get("channels") or ()
    return f"{choice['network']} {'-'.join(map(str, sizes))}".strip()


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return (" x " if all(isinstance(item, int) for item in value) else ", ").join(map(str, value))
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
