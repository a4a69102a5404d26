"""MNIST in grey: Frechet distance of samples on the features of a digit classifier (FCD), beside reconstructions.

    python benchmarks/tables/sample_quality.py [--only NAME] [--minutes 5]

``good`` is what ``latentkit fit --preset good`` trains by default; its samples come from the mixture that is fitted
after training, or from N(0, I). The others are members with a prior that is learnt. The classifier is trained in this
run on the training images, so figures compare within this file only. The floor is the distance of as many training
images from the test images; 10,000 of each.
"""

from __future__ import annotations

from typing import Any

from _row import arguments, fit, images, store_row

MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "good": ("VAE", {}),
    "flow": ("VAE", {"prior": "flow", "ex_post": "none"}),
    "hierarchical": ("HierarchicalVAE", {}),
    "vqvae": ("VQVAE", {}),
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
    for name, (kind, settings) in MEMBERS.items():
        if options.only not in name:
            continue
        trained = {**PRESETS["good"], "max_time": 60 * options.minutes, **settings}
        estimator = getattr(latentkit, kind)(random_state=options.seed, verbose=1, **trained)
        estimator, seconds = fit(estimator, data["x_train"])
        figures = {
            "floor": floor,
            "reconstructions": distance(estimator.reconstruct(data["x_test"])),
            "samples": distance(estimator.sample(10_000, random_state=0)),
            "training_seconds": seconds,
            "epochs": estimator.n_iter_,
            "engine": estimator.engine_.summary(),
            "features": features.description,
            "settings": trained,
        }
        if kind != "VQVAE":
            figures["samples_of_the_trained_prior"] = distance(estimator.sample(10_000, random_state=0, prior="model"))
        store_row({name: figures}, seed=options.seed, merge=True)


if __name__ == "__main__":
    run()
