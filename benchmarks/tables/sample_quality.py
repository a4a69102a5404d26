"""MNIST in grey: Frechet distance of samples on the features of a digit classifier (FCD), beside reconstructions.

    python benchmarks/tables/sample_quality.py [--only NAME] [--minutes 5]

``good`` is what ``latentkit fit --preset good`` trains by default; its samples come from the mixture that is fitted
after training, or from N(0, I). ``compact`` is a perceptron with few latents, whose mixture is made of those of the
digits; the others are members with a prior that is learnt. Labels touch what is fitted after training alone. The
classifier is trained in this run on the training images, so figures compare within this file only. The floor is the
distance of as many training images from the test images; 10,000 of each. Recipes were chosen on training images.
"""

from __future__ import annotations

from typing import Any

from _row import arguments, fit, images, store_row

#: Estimator, its settings beside those of the preset, and whether it is given the digits' labels.
MEMBERS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "good": ("VAE", {}, False),
    "compact": (
        "VAE",
        {
            "latent_dim": 10,
            "encoder": (500, 500),
            "decoder": (500, 500),
            "activation": "silu",
            "likelihood": "bernoulli",
            "batch_size": 256,
            "learning_rate": 2e-3,
        },
        True,
    ),
    "flow": ("VAE", {"prior": "flow", "ex_post": "none"}, False),
    "hierarchical": ("HierarchicalVAE", {}, False),
    "vqvae": ("VQVAE", {}, False),
}


def run() -> None:
    options = arguments(only="", minutes=5.0, seed=0)
    import torch

    import latentkit
    from latentkit.cli.settings import PRESETS
    from latentkit.evaluation import ClassifierFeatures, frechet_distance

    data = images("mnist")

    def pixels(x: Any) -> Any:
        return torch.from_numpy(x).reshape(-1, 1, 28, 28).float() / 255

    features = ClassifierFeatures(pixels(data["x_train"]), data["y_train"], seed=options.seed)
    reference = features(pixels(data["x_test"]))

    def distance(x: Any) -> float:
        return round(float(frechet_distance(features(pixels(x)), reference)), 3)

    floor = distance(data["x_train"][:10_000])
    for name, (kind, settings, with_labels) in MEMBERS.items():
        if options.only not in name:
            continue
        trained = {**PRESETS["good"], "max_time": 60 * options.minutes, **settings}
        estimator = getattr(latentkit, kind)(random_state=options.seed, verbose=1, **trained)
        estimator, seconds = fit(estimator, data["x_train"], y=data["y_train"] if with_labels else None)
        figures = {
            "floor": floor,
            "reconstructions": distance(estimator.reconstruct(data["x_test"])),
            "samples": distance(estimator.sample(10_000, random_state=0)),
            "training_seconds": seconds,
            "epochs": estimator.n_iter_,
            "engine": estimator.engine_.summary(),
            "features": features.description,
            "settings": trained,
            "labels": with_labels,
        }
        if kind != "VQVAE":
            figures["samples_of_the_trained_prior"] = distance(estimator.sample(10_000, random_state=0, prior="model"))
        store_row({name: figures}, seed=options.seed, merge=True)


if __name__ == "__main__":
    run()
