"""Features of a classifier trained in the run: the ones on which a Frechet distance is called FCD."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from latentkit.core.errors import InvalidParameterError, UnreadableDataError
from latentkit.core.files import atomic_path
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.evaluation.features import fingerprint, in_batches
from latentkit.evaluation.inputs import Numbers, check_integers
from latentkit.evaluation.recognizer import Recognizer, epochs_for, train_recognizer

__all__ = ["ClassifierFeatures"]

_HELD_OUT = 0.1
_FACTS = ("event_shape", "n_classes", "n_features", "n_epochs", "n_rows", "seed", "accuracy")


@final
class ClassifierFeatures:
    """Last hidden layer of a small classifier, trained here on labelled data.

    Images of at least 8 x 8 pixels get two strided convolutions (16 and 32 channels), anything else a perceptron of 128
    units; then a linear layer of `n_features`, which are the features, a rectifier and the classes. Inputs are
    standardised by the training rows; features are centred, and divided by one number that makes their mean variance
    over the training rows 1. Trained with Adam at a rate that falls to zero; a tenth of the rows is held out
    and gives `accuracy`. Two classifiers are two measures: figures may be compared where the fingerprint in
    `description` is the same, for which :meth:`save` and :meth:`load` are there.

    Args:
        x: Training rows in model units, shape (n, *event), at least 20.
        labels: Their classes, integers from 0, shape (n,); at least 2 classes.
        n_features: Width of the last hidden layer, at least 1.
        n_epochs: Passes over the rows; by default 2, more where that would be fewer than 500 steps of 128 rows.
        seed: Decides the initial weights, the held-out rows and the order; the caller's random state is left alone.

    Attributes:
        network: The classifier, in evaluation mode.
        accuracy: Share of the held-out rows that it classifies rightly, in [0, 1].

    Raises:
        InvalidParameterError: If the shapes do not fit, labels are no classes, or an option is out of range.

    References:
        The advice to use a classifier of the data's own is that of the FID's authors, for data unlike ImageNet.

    Example:
        >>> x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
        >>> features = ClassifierFeatures(x, (x[:, 0] > 0).long(), n_features=8, n_epochs=20)
        >>> features(x).shape, features.frechet_name, features.accuracy > 0.8
        (torch.Size([200, 8]), 'FCD', True)
    """

    frechet_name = "FCD"

    def __init__(
        self, x: Tensor, labels: Numbers, *, n_features: int = 64, n_epochs: int | None = None, seed: int = 0
    ) -> None:
        y = check_integers("labels", labels)
        if x.ndim < 2 or y.ndim != 1 or y.shape[0] != x.shape[0] or x.shape[0] < 20:
            raise InvalidParameterError(
                "a classifier needs at least 20 rows of shape (n, *event) and one label for each; "
                f"got shapes {tuple(x.shape)} and {tuple(y.shape)}."
            )
        n_classes = int(y.max()) + 1
        if int(y.min()) < 0 or len(torch.unique(y)) < 2:
            raise InvalidParameterError(
                f"labels must be numbers of classes from 0, of at least 2 classes; got {torch.unique(y).tolist()[:10]}."
            )
        check_integer("n_features", n_features, low=1)
        if n_epochs is None:
            n_epochs = epochs_for(x.shape[0])
        check_integer("n_epochs", n_epochs, low=1)
        self.event_shape, self.n_classes, self.n_features = tuple(x.shape[1:]), n_classes, n_features
        self.n_epochs, self.n_rows, self.seed = n_epochs, x.shape[0], seed
        order = torch.randperm(x.shape[0], generator=generator(seed, "classifier", "held-out"))
        held_out, rows = order.tensor_split([max(1, int(_HELD_OUT * x.shape[0]))])
        with isolated_rng(derive_seed(seed, "classifier"), x.device):
            network = Recognizer(self.event_shape, n_features, n_classes).to(x.device)
        network.standardise(x, rows)
        train_recognizer(network, x, y, rows, n_epochs=n_epochs, order=generator(seed, "classifier", "order"))
        self.network = network
        network.standardise_features(x, rows)
        predicted = in_batches(network, x[held_out.to(x.device)]).argmax(1).cpu()
        self.accuracy = float((predicted == y[held_out]).double().mean())
        if not all(bool(torch.isfinite(weight).all()) for weight in network.parameters()):
            raise InvalidParameterError("the classifier diverged: look for NaN or infinity in the rows.")

    @property
    def description(self) -> str:
        """Width, rows, seed, accuracy and the hash of the weights."""
        return (
            f"{self.n_features} features of a classifier of {self.n_classes} classes trained on {self.n_rows:,} rows "
            f"(seed {self.seed}, held-out accuracy {self.accuracy:.1%}, weights {self.fingerprint})"
        )

    @property
    def fingerprint(self) -> str:
        """First digits of the hash of the weights: figures of one fingerprint can be compared."""
        return fingerprint(self.network)

    def __call__(self, x: Tensor) -> Tensor:
        """Map x in model units, shape (n, *event), to (n, n_features).

        Raises:
            InvalidParameterError: If x has another shape than the training rows.
        """
        self._check(x)
        features = in_batches(self.network.body, x, prepare=self.network.prepare)
        return (features - self.network.feature_centre) / self.network.feature_scale

    def predict(self, x: Tensor) -> Tensor:
        """Return the most probable class of each row, shape (n,).

        Raises:
            InvalidParameterError: If x has another shape than the training rows.
        """
        self._check(x)
        return in_batches(self.network, x).argmax(1)

    def save(self, path: Path | str) -> None:
        """Write weights and facts to a safetensors file.

        Raises:
            StorageError: If it cannot be written.
        """
        facts = {name: getattr(self, name) for name in _FACTS}
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        with atomic_path(path) as temporary:
            save_file(state, temporary, metadata={"classifier_features": json.dumps(facts)})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what :meth:`save` wrote; nothing in the file is executed.

        Raises:
            UnreadableDataError: If it is missing, damaged, or was not written by :meth:`save`.
        """
        features = cls.__new__(cls)
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads(file.metadata()["classifier_features"])
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            for name in _FACTS:
                setattr(features, name, facts[name])
            features.event_shape = tuple(features.event_shape)
            # the weights drawn here are overwritten
            with isolated_rng(0):
                network = Recognizer(features.event_shape, features.n_features, features.n_classes)
            network.load_state_dict(state)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UnreadableDataError(
                f"cannot read {path} as a classifier's features: {error}. "
                "Give a file that ClassifierFeatures.save wrote."
            ) from error
        features.network = network.eval()
        return features

    def _check(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.event_shape:
            raise InvalidParameterError(
                f"the classifier was trained on rows of shape {self.event_shape}; got {tuple(x.shape[1:])}."
            )
