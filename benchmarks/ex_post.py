"""What priors fitted after training are worth: Frechet distance of samples from each, and from N(0, I).

    python benchmarks/ex_post.py [--epochs 15] [--seconds 30] [--only flow] [--rows 60000]

MNIST in grey levels, the perceptron 784-500-500-16 with a Bernoulli likelihood, trained once; then each prior is fitted
to the same posteriors: the mixture with 10, 50 and a chosen number of components, the others in `--seconds` each, with
and without the digits' classes. The distance is that of 10,000 samples to the test images on features of a classifier
of the digits that is trained in this run, so the figure is no FID and compares rows of this table only. The floor is
the distance between training and test images; what no prior can better are draws from the posteriors of training images
(`posterior_draws`). The held-out log-density is that of draws from the posteriors of the test images, nats.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings
from dataclasses import replace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, store

#: Prior and options of each row.
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "mixture_10": ("mixture", {"n_components": 10}),
    "mixture_50": ("mixture", {"n_components": 50}),
    "mixture_auto": ("mixture", {}),
    "flow": ("flow", {}),
    "flow_spline": ("flow", {"transform": "spline"}),
    "flow_matching": ("flow_matching", {}),
    "second_stage": ("second_stage", {}),
}


def log_density(prior: Any, z: Any) -> float | None:
    """Mean log-density of latent vectors, nats; None where a prior has none."""
    from latentkit.core.errors import UnsupportedOperationError

    try:
        return round(float(prior().log_prob(z).mean()), 3)
    except UnsupportedOperationError:
        return None


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15, help="of the autoencoder")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the training of a prior")
    parser.add_argument("--rows", type=int, default=60_000, help="training images that are used")
    parser.add_argument("--only", default="", help="run only the priors whose name contains this, and store nothing")
    options = parser.parse_args()
    import numpy as np
    import torch

    from latentkit import VAE
    from latentkit.core.seeds import generator
    from latentkit.evaluation import ClassifierFeatures, frechet_distance
    from latentkit.models import map_batches
    from latentkit.tasks import FitBudget, Latents, ex_post_priors

    with np.load(data_folder() / "images" / "mnist.npz") as file:
        train, labels, test = file["x_train"][: options.rows], file["y_train"][: options.rows], file["x_test"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae = VAE(
            16,
            encoder=(500, 500),
            decoder=(500, 500),
            likelihood="bernoulli",
            batch_size=128,
            max_epochs=options.epochs,
            ex_post="none",
            random_state=0,
            verbose=1,
        ).fit(train)

    def in_units(images: Any) -> Any:
        return vae.schema_.to_model(vae.schema_.encode(images))

    def posteriors(images: Any) -> tuple[Any, Any]:
        def moments(x: Any) -> Any:
            posterior = vae.model_.encode(x)
            return torch.cat((posterior.mean, posterior.log_var), dim=-1)

        return map_batches(moments, in_units(images), batch_size=1000).chunk(2, dim=-1)

    features = ClassifierFeatures(in_units(train), torch.from_numpy(labels).long())
    reference = features(in_units(test))

    def distance(images: Any) -> float:
        return round(float(frechet_distance(features(in_units(images)), reference)), 3)

    means, log_vars = posteriors(test)
    held_out = means + (0.5 * log_vars).exp() * torch.randn(means.shape, generator=generator(0, "held-out"))
    means, log_vars = posteriors(train)
    by_class = Latents(means=means, log_vars=log_vars, classes=torch.from_numpy(labels).long(), n_classes=10)
    noise = torch.randn(means.shape, generator=generator(0, "draws"))
    drawn = (means + (0.5 * log_vars).exp() * noise)[:10_000]
    figures: dict[str, Any] = {
        "epochs": vae.n_iter_,
        "features": features.description,
        "floor_train_against_test": distance(train[:10_000]),
        "test_reconstructions": distance(vae.reconstruct(test)),
        "posterior_draws": distance(vae.inverse_transform(drawn.numpy())),
        "samples_from_standard_normal": distance(vae.sample(10_000, prior="model")),
        "priors": {},
    }
    print(figures)
    for row, with_classes in itertools.product(ROWS, (False, True)):
        name, settings = ROWS[row]
        key = f"{row}{'_by_class' if with_classes else ''}"
        if options.only not in key:
            continue
        latents = by_class if with_classes else replace(by_class, classes=None, n_classes=0)
        start = time.perf_counter()
        budget = FitBudget(max_time=options.seconds, engine=vae.engine_)
        prior = ex_post_priors[name](**settings).fit(latents, budget).whole
        line: dict[str, Any] = {"seconds": round(time.perf_counter() - start, 1)}
        z = prior().sample(10_000, generator=generator(0, "sample"))
        line["frechet_distance"] = distance(vae.inverse_transform(z.numpy()))
        line["held_out_log_density"] = log_density(prior, held_out)
        if name == "mixture":
            line["components"] = len(prior.state_dict()["log_weights"])
        figures["priors"][key] = line
        print(key, line, flush=True)
    if "mixture_auto" in figures["priors"]:
        figures["samples_from_mixture"] = figures["priors"]["mixture_auto"]["frechet_distance"]
    if not options.only:
        store("ex_post", figures)


if __name__ == "__main__":
    run()
