"""Do estimates of log p(x) hold the truth as often as they say, and how long does an evaluation take?

    python benchmarks/evaluation.py [--rounds 1000] [--minutes 2] [--only coverage counted mnist]

- coverage: 95 % intervals of the mean log p(x) of 60 rows of a linear-Gaussian model, whose evidence is known in closed
  form, in `--rounds` rounds of new rows and new draws: by importance samples (K = 100) from an encoder that is a little
  wrong, and by annealing (16 chains, 200 temperatures, from the prior) where the encoder is lost. Over the rows, the
  truth is their own evidence; over the population, minus the entropy of the model. Of the lost encoder, importance
  samples must say that they give a lower bound: `called_tight` is the share of rounds in which they do not.
- counted: a model of five binary features, whose probabilities are counted out: largest error of a probability's log.
- mnist: a 784-500-500-20 VAE of binary digits, `--minutes` of training; seconds of each group of figures on the 10,000
  test images on one core, log p(x) of 100 of them by more and more draws and by annealing, and on digits of the model
  itself how far the annealed bounds from both sides are apart.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from _measuring import ROOT, data_folder, store

sys.path.insert(0, str(ROOT))


def coverage(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from latentkit.evaluation import annealed_bound, importance_bound
    from tests.evaluation.linear_gaussian import LinearGaussian

    near, lost = ({"latent_dim": 2, "event_shape": (6,), **how} for how in ({"widen": 1.3, "shift": 0.1}, LOST))
    figures: dict[str, Any] = {"rounds": options.rounds}
    for name, settings in (("importance", near), ("annealed", lost), ("importance, lost encoder", lost)):
        model = LinearGaussian(**settings)
        covariance = model.weight @ model.weight.mT + model.stddev**2 * torch.eye(6, dtype=torch.float64)
        expected = -float(torch.distributions.MultivariateNormal(model.bias, covariance).entropy())
        counts = {"rows": 0, "population": 0, "called_tight": 0}
        # rows draw by their content alone, so that all rounds go through together
        x = model.draw(ROWS * options.rounds, seed=10_000)
        if name == "annealed":
            whole = annealed_bound(model, x, n_chains=16, n_steps=200, n_leapfrog=4)
        else:
            whole = importance_bound(model, x, 100)
        evidence = model.log_evidence(x)
        for rows in torch.arange(len(x)).split(ROWS):
            found = replace(
                whole,
                log_likelihood=whole.log_likelihood[rows],
                effective_sample_size=whole.effective_sample_size[rows],
            )
            counts["called_tight"] += found.is_tight
            for over, truth in (("rows", float(evidence[rows].mean())), ("population", expected)):
                low, high = found.interval(over=over)  # type: ignore[arg-type]
                counts[over] += low <= truth <= high
        figures[name] = {key: round(count / options.rounds, 4) for key, count in counts.items()}
        print(name, figures[name], flush=True)
    return figures


#: Rows of a round.
ROWS = 60
#: An encoder that is far off and far too sure.
LOST: dict[str, float] = {"widen": 0.3, "shift": 2.0}


def counted(options: argparse.Namespace) -> dict[str, Any]:
    from latentkit.evaluation import annealed_bound, importance_bound
    from tests.evaluation.small_discrete import SmallDiscrete

    model = SmallDiscrete()
    rows = model.all_rows()
    truth = model.log_evidence(rows)
    found = {
        "importance, K = 5000": importance_bound(model, rows, 5000),
        "annealed, 64 chains of 200": annealed_bound(model, rows, n_chains=64, n_steps=200),
    }
    return {
        name: {
            "largest_error": round(float((each.log_likelihood - truth).abs().max()), 4),
            "sum_of_probabilities": round(float(each.log_likelihood.exp().sum()), 4),
        }
        for name, each in found.items()
    }


def mnist(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from latentkit import VAE
    from latentkit.evaluation import bidirectional_bounds

    with np.load(data_folder() / "images" / "mnist.npz") as file:
        train, test = file["x_train"] > 127, file["x_test"] > 127
    sizes: dict[str, Any] = {"encoder": (500, 500), "decoder": (500, 500)}
    vae = VAE(20, **sizes, max_time=60 * options.minutes, random_state=0, verbose=1).fit(train)
    begun = time.perf_counter()
    found = vae.evaluate(test, train=train, random_state=0)
    figures: dict[str, Any] = {"epochs": vae.n_iter_, "evaluate_seconds": round(time.perf_counter() - begun, 1)}
    seconds: dict[str, float] = {}
    for figure in found.figures:
        seconds[figure.group] = seconds.get(figure.group, 0.0) + (figure.seconds or 0.0)
    figures["seconds_of"] = {name: round(each, 1) for name, each in seconds.items()}
    bound = found["log p(x)"]
    figures["default"] = {"rows": bound.n_rows, "K": bound.n_draws, **_likelihood(bound)}
    some: dict[str, Any] = {"max_rows": 100, "parts": ["likelihood"], "random_state": 0}
    for n in (64, 1000, 20_000):
        begun = time.perf_counter()
        each = vae.evaluate(test, n_importance=n, **some)["log p(x)"]
        figures[f"100 images, K = {n}"] = {**_likelihood(each), "seconds": round(time.perf_counter() - begun, 1)}
        print(n, figures[f"100 images, K = {n}"], flush=True)
    begun = time.perf_counter()
    each = vae.evaluate(test, estimator="ais", **some)["log p(x)"]
    figures["100 images, annealed"] = {**_likelihood(each), "seconds": round(time.perf_counter() - begun, 1)}
    print("annealed", figures["100 images, annealed"], flush=True)
    both = bidirectional_bounds(vae.model_, 50, start="posterior")
    figures["50 digits of the model"] = {
        "lower": round(both.lower.mean, 3),
        "upper": round(float(both.upper.mean()), 3),
        "gap": round(both.gap, 3),
    }
    return figures


def _likelihood(figure: Any) -> dict[str, Any]:
    low, high = figure.interval
    return {
        "nats": round(figure.value, 3),
        "interval": [round(low, 3), round(high, 3)],
        "effective_sample_size": round(figure.effective_sample_size, 2),
        "bound": figure.bound,
    }


def main() -> None:
    parts = {"coverage": coverage, "counted": counted, "mnist": mnist}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(parts), choices=list(parts))
    parser.add_argument("--rounds", type=int, default=1000, help="of new rows and draws")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training on MNIST")
    parser.add_argument("--dry", action="store_true", help="store nothing")
    options = parser.parse_args()
    for name in options.only:
        figures = parts[name](options)
        print(name, figures, flush=True)
        if not options.dry:
            store("evaluation", {name: figures}, merge=True)


if __name__ == "__main__":
    main()
