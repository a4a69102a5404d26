"""Dynamically binarised MNIST, the networks of the IWAE paper with one latent layer: test NLL with K = 5000.

    python benchmarks/tables/dynamic_iwae.py [--row vae|iwae5|iwae50] [--minutes M] [--valid]

Networks 784-200-200-50 and back with tanh. Pixels are drawn anew at every use in training, once in testing.
Matrices are trained by Muon, whose steps go further here than Adam's; the gradients are those that stick to the landing
(ELBO) or are doubly reparametrised (importance-weighted bounds). The row of 50 draws begins with 5, whose steps are
cheaper. The minutes are those of all fits of a row. --valid learns from the first 50,000 images and scores 1,000 of the
last 10,000 training images, and stores nothing.

Published (Burda et al., 2016, 3,280 epochs): VAE 86.76, IWAE with 5 draws 85.54, with 50 draws 84.78.
"""

from __future__ import annotations

from typing import Any

from _row import arguments, fit, images, negative_log_likelihood, store_row

NETWORKS: dict[str, Any] = {
    "latent_dim": 50,
    "encoder": (200, 200),
    "decoder": (200, 200),
    "activation": "tanh",
    "augmentation": "binarize",
}
TRAINING: dict[str, Any] = {
    "batch_size": 500,
    "optimizer": "muon",
    "optimizer_options": {"adjust_lr_fn": "match_rms_adamw"},
    "learning_rate": 1e-2,
    "weight_averaging": 0.999,
    "validation_fraction": 0.0,
    "ex_post": "none",
}
#: Of each row: the minutes in all, and its fits in turn, each with its share of them.
ROWS: dict[str, tuple[float, list[tuple[float, dict[str, Any]]]]] = {
    "vae": (10.0, [(1.0, {"objective": "stl"})]),
    "iwae5": (20.0, [(1.0, {"objective": "dreg", "n_importance": 5})]),
    "iwae50": (
        60.0,
        [
            (0.6, {"objective": "dreg", "n_importance": 5}),
            (0.4, {"objective": "dreg", "n_importance": 50, "learning_rate": 2e-3}),
        ],
    ),
}


def run() -> None:
    options = arguments(row="", minutes=0.0, seed=0, valid=False)
    import numpy as np

    data = images("mnist")
    train = data["x_train"].reshape(60_000, 784)
    scored = train[50_000::10] if options.valid else data["x_test"].reshape(10_000, 784)
    drawn = np.where(np.random.default_rng(1).random(scored.shape) < scored / 255, 255, 0).astype(np.uint8)
    for row, (minutes, stages) in ROWS.items():
        if options.row not in ("", row):
            continue
        seconds = 60 * (options.minutes or minutes)
        vae, taken, epochs = trained(stages, train[:50_000] if options.valid else train, seconds, options.seed)
        if options.valid:
            print(row, seconds, epochs, negative_log_likelihood(vae, drawn, n_importance=1000), flush=True)
            continue
        figures = {
            "test": negative_log_likelihood(vae, drawn, n_importance=5000),
            "training_seconds": taken,
            "epochs": epochs,
            "engine": vae.engine_.summary(),
            "stages": [{"share": share, **settings} for share, settings in stages],
            "recipe": {**NETWORKS, **TRAINING},
        }
        store_row({row: figures}, seed=options.seed, merge=True)


def trained(
    stages: list[tuple[float, dict[str, Any]]], train: Any, seconds: float, seed: int
) -> tuple[Any, float, list[int]]:
    """The VAE after all fits, the seconds that they took, and the epochs of each."""
    from latentkit import VAE

    vae, taken, epochs = VAE(random_state=seed, verbose=1, **NETWORKS, **TRAINING), 0.0, []
    for share, settings in stages:
        vae.set_params(max_time=seconds * share, warm_start=bool(epochs), **settings)
        vae, spent = fit(vae, train)
        taken += spent
        epochs.append(vae.n_iter_)
    return vae, round(taken, 1), epochs


if __name__ == "__main__":
    run()
