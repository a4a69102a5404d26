"""Do the members make the digit that they are asked for? Conditions, guidance, and edits without conditions.

    python benchmarks/attribute_control.py [--time 90s] [--only vae gan] [--rows 20000] [--samples 5000]

MNIST, every member given the digit and trained for the same time. A classifier of digits that is trained on the
training images tells what the samples are: agreement with the digit that was asked for, each as often as any other,
beside its ceiling (the classifier on test images) and chance. The classification accuracy score is the other way
round: a classifier trained on as many samples, on test images. Guidance weighs the condition in the prior over codes.
Edits move test images of other digits along the direction of a digit in the latent space of a VAE without
conditions, in steps of its spread. One JSON, one seed.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, store

#: Members that take a condition, by their names.
MEMBERS = ("vae", "hierarchical", "gan", "vaegan", "generator", "vqvae")
GUIDANCE = (1.0, 1.5, 2.0, 3.0)
STRENGTHS = (1.0, 2.0, 3.0, 4.0)


def tensor(images: Any) -> Any:
    """Images as the classifier sees them."""
    import torch

    return torch.from_numpy(images)[:, None].float() / 255.0


def judged(samples: Any, asked: Any, recognizer: Any, test: Any, true: Any, *, matched: Any = None) -> dict[str, Any]:
    """Agreement with its ceiling and chance, by digit, and the classification accuracy score.

    `matched` is a classifier trained on as many training images as there are samples; None leaves the score out.
    """
    from latentkit.evaluation import attribute_control, classification_accuracy_score

    given = {"recognizer": recognizer, "test": tensor(test), "test_values": true}
    control = attribute_control(tensor(samples), asked, **given)
    figures = {
        "agreement": round(control.agreement, 4),
        "standard_error": round(control.standard_error or 0.0, 4),
        "ceiling": round(control.ceiling, 4),
        "chance": round(control.chance, 4),
        "by_digit": [round(share, 3) for share in control.by_class.tolist()],
    }
    if matched is not None:
        figure = classification_accuracy_score(tensor(samples), asked, **{**given, "recognizer": matched})
        figures["classification_accuracy_score"] = round(figure.value, 4)
        figures["classification_accuracy_of_training_images"] = round(figure.floor, 4)
    return figures


def edits(vae: Any, train: Any, labels: Any, test: Any, true: Any, recognizer: Any) -> dict[str, Any]:
    """Agreement of edited test images of all other digits with the digit that they were edited towards."""
    import numpy as np

    directions = [vae.attribute_direction(train[:5000], labels[:5000] == digit) for digit in range(10)]
    figures = {}
    for strength in STRENGTHS:
        moved, asked = [], []
        for digit, direction in enumerate(directions):
            others = test[true != digit][digit::10][:200]
            moved.append(vae.edit(others, direction, strength=strength))
            asked.append(np.full(len(others), digit))
        found = judged(np.concatenate(moved), np.concatenate(asked), recognizer, test, true)
        figures[f"strength {strength:g}"] = found
        print("edit", strength, found, flush=True)
    return figures


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", default="90s", help="of each training")
    parser.add_argument("--only", nargs="+", default=[*MEMBERS, "edits"], help="members, and edits")
    parser.add_argument("--rows", type=int, default=20_000, help="training images")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--dry", action="store_true", help="store nothing")
    options = parser.parse_args()
    import numpy as np
    import torch

    from latentkit.estimators.registry import estimators
    from latentkit.evaluation import ClassifierFeatures

    warnings.simplefilter("ignore")
    with np.load(data_folder() / "images" / "mnist.npz") as file:
        train, labels = file["x_train"][: options.rows], file["y_train"][: options.rows].astype(np.int64)
        test, true = file["x_test"], file["y_test"].astype(np.int64)
    recognizer = ClassifierFeatures(tensor(train), torch.from_numpy(labels))
    matched = ClassifierFeatures(tensor(train[: options.samples]), torch.from_numpy(labels[: options.samples]))
    print(recognizer.description, flush=True)
    asked = np.arange(options.samples) % 10
    figures: dict[str, Any] = {"recognizer": recognizer.description, "rows": len(train), "time": options.time}
    for name in options.only:
        start = time.perf_counter()
        kind = estimators["vae" if name == "edits" else name]
        given = {} if name == "edits" else {"condition": labels}
        model: Any = kind(max_time=options.time, random_state=0).fit(train, **given)
        found: dict[str, Any] = {"epochs": model.n_iter_, "seconds": round(time.perf_counter() - start, 1)}
        if name == "edits":
            found |= edits(model, train, labels, test, true, recognizer)
        else:
            found |= judged(model.sample(len(asked), condition=asked), asked, recognizer, test, true, matched=matched)
        if name == "vqvae":
            for guidance in GUIDANCE[1:]:
                samples = model.sample(len(asked), condition=asked, guidance=guidance)
                found[f"guidance {guidance:g}"] = judged(samples, asked, recognizer, test, true, matched=matched)
        figures[name] = found
        print(name, found, flush=True)
    if not options.dry:
        store("attribute_control", figures, merge=len(options.only) < len(MEMBERS) + 1)


if __name__ == "__main__":
    run()
