"""dSprites, a complete grid of factors: mutual information gap of the beta-TC-VAE beside a plain VAE.

    python benchmarks/tables/disentanglement.py [--minutes 6] [--seeds 3]

The data folder's grid has 46,080 of the 737,280 sprites: 3 shapes x 6 scales x 10 orientations x 16 x 16 positions.
Ten latents, Bernoulli pixels. The networks see patches of 8 x 8 pixels, which is cheap, and are given as modules of the
user's own; they and the time are small beside those of the papers (300,000 steps), so the figures compare with each
other. The gap is that of all rows, with 20 bins; every seed is shown.

Published: 0.10 for the plain VAE and 0.45 for the beta-TC-VAE (selected runs, full data).
"""

from __future__ import annotations

import statistics
from typing import Any

from _row import arguments, bits, fit, images, store_row

SETTINGS: dict[str, dict[str, Any]] = {
    "beta_tc": {"objective": "beta_tc", "beta": 6.0},
    "elbo": {"objective": "elbo"},
}


def networks(channels: int = 32, width: int = 256) -> dict[str, Any]:
    """Encoder and decoder by patches of 8 x 8 pixels."""
    from torch import nn

    grid = 64 * channels
    encoder = nn.Sequential(
        nn.Conv2d(1, channels, 8, 8),
        nn.SiLU(),
        nn.Conv2d(channels, channels, 3, 1, 1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(grid, width),
        nn.SiLU(),
        nn.Linear(width, 20),
    )
    decoder = nn.Sequential(
        nn.Linear(10, width),
        nn.SiLU(),
        nn.Linear(width, grid),
        nn.SiLU(),
        nn.Unflatten(1, (channels, 8, 8)),
        nn.Conv2d(channels, channels, 3, 1, 1),
        nn.SiLU(),
        nn.ConvTranspose2d(channels, 1, 8, 8),
    )
    return {"encoder": encoder, "decoder": decoder}


def run() -> None:
    options = arguments(minutes=6.0, seeds=3, only="")
    import torch

    from latentkit import VAE
    from latentkit.evaluation import mutual_information_gap

    data = images("dsprites_subset")
    sprites, factors = bits(data["grid_packed"]).reshape(-1, 64, 64), data["grid_classes"]
    for name, settings in SETTINGS.items():
        if options.only not in name:
            continue
        gaps, by_factor, elbos, engine, epochs = [], [], [], "", []
        for seed in range(options.seeds):
            torch.manual_seed(seed)  # noqa: TID251 (a script of its own)
            vae = VAE(
                10,
                **networks(),
                learning_rate=2e-3,
                max_time=60 * options.minutes,
                validation_fraction=0.0,
                ex_post="none",
                random_state=seed,
                verbose=1,
                **settings,
            )
            vae, _ = fit(vae, sprites)
            gap = mutual_information_gap(vae.transform(sprites), factors)
            gaps.append(round(float(gap.score), 3))
            by_factor.append([round(float(part), 2) for part in gap.per_factor])
            elbos.append(round(float(vae.score(sprites[::20], n_importance=1)), 2))
            engine, epochs = vae.engine_.summary(), [*epochs, vae.n_iter_]
            print(name, seed, gaps[-1], elbos[-1], flush=True)
        figures = {
            "median_gap": statistics.median(gaps),
            "gaps": gaps,
            "elbo_every_20th_row": elbos,
            "minutes_each": options.minutes,
            "factors": ["shape", "scale", "orientation", "x", "y"],
            "gaps_of_factors": by_factor,
            "epochs": epochs,
            "engine": engine,
            "settings": settings,
        }
        store_row({name: figures}, merge=True)


if __name__ == "__main__":
    run()
