"""Feature maps: from examples to the numbers in which two sets are compared, each with a name and a description."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.errors import DataError, InvalidParameterError, UnreadableDataError
from latentkit.core.files import sha256
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import derive_seed, generator

__all__ = [
    "FeatureMap",
    "InceptionFeatures",
    "NetworkFeatures",
    "PrincipalComponentFeatures",
    "RandomFeatures",
    "RowFeatures",
    "fingerprint",
    "in_batches",
    "random_convolution_features",
]

_BATCH = 512
_PCA_ROWS = 10_000

# The network of the FID has these tensors; ImageNet's other Inception v3 has 1000 classes, the FID's of 2015 has 1008.
_INCEPTION = {"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "fc.weight": (1008, 2048)}


class FeatureMap(Protocol):
    """What turns examples into features.

    Attributes:
        frechet_name: Name of the Frechet distance on these features: "FID" for Inception's of 2015 alone.
        description: What the features are, in words that tell two maps apart.
    """

    @property
    def frechet_name(self) -> str:
        """Name of the Frechet distance on these features."""
        ...

    @property
    def description(self) -> str:
        """What the features are."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Features of x in model units, shape (n, *event) -> (n, features)."""
        ...


@final
@dataclass(frozen=True, slots=True)
class RowFeatures:
    """The features of a table, or the pixels, as they are."""

    frechet_name: str = "Frechet distance of rows"
    description: str = "the rows as they are"

    def __call__(self, x: Tensor) -> Tensor:
        """Flatten x to (n, features)."""
        return x.detach().flatten(1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFeatures:
    """Features of a small convolutional network with random weights, for images without labels.

    See :func:`random_convolution_features`.

    Attributes:
        n_features: Width, an even number.
        seed: Another seed is another network.
    """

    n_features: int = 64
    seed: int = 0

    @property
    def frechet_name(self) -> str:
        """Not FID and not FCD."""
        return "Frechet distance of random features"

    @property
    def description(self) -> str:
        """Width and seed."""
        return f"{self.n_features} features of a random convolutional network (seed {self.seed})"

    def __call__(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to (n, n_features)."""
        return random_convolution_features(x, n_features=self.n_features, seed=self.seed)


@final
class PrincipalComponentFeatures:
    r"""Coordinates along the principal components of the training rows.

    .. math:: f(x) = V^T (x - m)

    Args:
        x: Training rows in model units, shape (n, *event), at least 2. At most 10,000 of them, drawn by `seed`, are
            used.
        n_features: Components; fewer where the rows or their features are fewer.
        seed: Decides the rows, and the start of the randomised solver for wide rows.

    Raises:
        InvalidParameterError: If there are fewer than 2 rows or `n_features` is below 1.

    Example:
        >>> x = torch.randn(50, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> PrincipalComponentFeatures(x, n_features=3)(x).shape
        torch.Size([50, 3])
    """

    frechet_name = "Frechet distance of principal components"

    def __init__(self, x: Tensor, *, n_features: int = 64, seed: int = 0) -> None:
        from sklearn.decomposition import PCA

        check_integer("n_features", n_features, low=1)
        if x.ndim < 2 or x.shape[0] < 2:
            raise InvalidParameterError(f"principal components need at least 2 rows; got shape {tuple(x.shape)}.")
        order = torch.randperm(x.shape[0], generator=generator(seed, "pca-rows"))[:_PCA_ROWS]
        rows = x.detach()[order.to(x.device)].flatten(1).float().cpu().numpy()
        pca = PCA(min(n_features, *rows.shape), random_state=derive_seed(seed, "pca") % 2**32).fit(rows)
        self._mean, self._axes = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_).mT
        self.explained = float(pca.explained_variance_ratio_.sum())
        self._n_rows = rows.shape[0]

    @property
    def description(self) -> str:
        """Number of components, their share of the variance, rows used."""
        return (
            f"{self._axes.shape[1]} principal components of {self._n_rows:,} training rows "
            f"({self.explained:.0%} of their variance)"
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Map x of shape (n, *event) to (n, n_features).

        Raises:
            InvalidParameterError: If x has another number of features than the training rows.
        """
        rows = x.detach().flatten(1).float()
        if rows.shape[1] != self._mean.shape[0]:
            raise InvalidParameterError(
                f"the components are those of rows of {self._mean.shape[0]} features; got rows of {rows.shape[1]}."
            )
        return (rows - self._mean.to(rows)) @ self._axes.to(rows)


@final
class NetworkFeatures:
    """Features of a network of the user's own, with weights from a file that executes nothing.

    Args:
        network: Module from x (n, *event) in model units to (n, ...); its output is flattened. Run in evaluation mode.
        path: Weights, a safetensors file with the names and shapes of the network's state. None: as the module is.
        prepare: Applied to x before the network, such as a resize.
        name: What to call the network; by default its class.

    Raises:
        UnreadableDataError: If the file is missing, or no safetensors file.
        DataError: If the weights do not fit the network.

    Example:
        >>> features = NetworkFeatures(nn.Flatten())
        >>> features(torch.zeros(2, 1, 3, 3)).shape, features.frechet_name
        (torch.Size([2, 9]), 'Frechet distance of Flatten features')
    """

    def __init__(
        self,
        network: nn.Module,
        path: Path | str | None = None,
        *,
        prepare: Callable[[Tensor], Tensor] | None = None,
        name: str | None = None,
    ) -> None:
        self._network = network
        self._prepare = prepare
        self._name = name or type(network).__name__
        self._source = f"weights {fingerprint(network)}"
        if path is not None:
            _load_weights(network, path)
            self._source = f"weights {Path(path).name}, sha256 {sha256(path)[:12]}"
        network.eval()

    @property
    def frechet_name(self) -> str:
        """Named after the network."""
        return f"Frechet distance of {self._name} features"

    @property
    def description(self) -> str:
        """The network and the hash of its weights."""
        return f"features of {self._name} ({self._source})"

    def __call__(self, x: Tensor) -> Tensor:
        """Map x of shape (n, *event) to (n, features)."""
        return in_batches(self._network, x, prepare=self._prepare)


@final
class InceptionFeatures:
    """Features of Inception v3 with the weights of 2015, on which a Frechet distance is the FID.

    latentkit ships neither network nor weights. The module is the FID's variant of torchvision's ``inception_v3`` (as
    in pytorch-fid's ``fid_inception_v3``); the weights are its published state, converted to safetensors. Images are
    resized to 299 x 299 bilinearly without antialiasing and scaled to [-1, 1]; grey ones get three equal channels.

    Args:
        network: Module with a last layer `fc` of 2048 inputs and 1008 outputs; `fc` is replaced by the identity.
        path: Weights in safetensors.

    Raises:
        DataError: If the weights are not of that network, so that the name FID would be wrong.
        UnreadableDataError: If the file is missing, or no safetensors file.

    References:
        Heusel et al., 2017, arXiv:1706.08500. Parmar et al., 2022, On Aliased Resizing, arXiv:2104.11222.
    """

    frechet_name = "FID"

    def __init__(self, network: nn.Module, path: Path | str) -> None:
        weights = _read_weights(path)
        found = {name: tuple(weights[name].shape) if name in weights else None for name in _INCEPTION}
        if found != _INCEPTION:
            raise DataError(
                f"{path} does not hold the Inception weights of 2015: expected {_INCEPTION}, got {found}. "
                "Use NetworkFeatures for another network; its Frechet distance is then not called FID."
            )
        self._features = NetworkFeatures(network, path, prepare=_for_inception, name="Inception v3 (2015)")
        network.fc = nn.Identity()

    @property
    def description(self) -> str:
        """The hash of the weights."""
        return self._features.description

    def __call__(self, x: Tensor) -> Tensor:
        """Map images in [0, 1], shape (n, 1 or 3, height, width), to (n, 2048)."""
        return self._features(x)


def random_convolution_features(images: Tensor, *, n_features: int = 64, seed: int = 0) -> Tensor:
    """Features of images from a small convolutional network with fixed random weights.

    Three layers of 3 x 3 filters with stride 2, leaky rectifiers, then the mean and the maximum over the grid. Nothing
    is learnt or loaded, so the features exist for any images, without labels; they see edges and textures, not
    meaning. Equal arguments give equal features up to rounding.

    Args:
        images: Shape (n, channels, height, width), model units.
        n_features: Width of the result, an even number of at least 2.
        seed: Another seed is another network; distances from different seeds cannot be compared.

    Returns:
        Shape (n, n_features), float32.

    Raises:
        InvalidParameterError: If the images are not 4-D or `n_features` is odd or below 2.

    References:
        Saxe et al., 2011, On Random Weights and Unsupervised Feature Learning, ICML.
    """
    if images.ndim != 4:
        raise InvalidParameterError(
            f"images must have shape (n, channels, height, width); got {tuple(images.shape)}. "
            "Rows of a table need no feature map: give them to frechet_distance as they are."
        )
    check_integer("n_features", n_features, low=2)
    if n_features % 2:
        raise InvalidParameterError(f"n_features must be even (means and maxima of each filter); got {n_features}.")
    widths = (images.shape[1], 16, 32, n_features // 2)
    source = generator(seed, "random-convolution", *widths)
    filters = [
        (torch.randn(out, wide, 3, 3, generator=source) * (2.0 / (9 * wide)) ** 0.5).to(images.device)
        for wide, out in pairwise(widths)
    ]
    with torch.inference_mode():
        parts = []
        for start in range(0, images.shape[0], 512):
            grid = images[start : start + 512].float()
            for weight in filters:
                grid = functional.leaky_relu(functional.conv2d(grid, weight, stride=2, padding=1), 0.2)
            parts.append(torch.cat((grid.mean((2, 3)), grid.amax((2, 3))), dim=1))
        features = torch.cat(parts) if parts else torch.empty(0, n_features)
    return features.clone()


def in_batches(network: nn.Module, x: Tensor, *, prepare: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Output of a network in evaluation mode, row by row flattened, without gradients and in bounded memory.

    The rows are moved to the device and dtype of the network's weights.

    Raises:
        InvalidParameterError: If there is no row.
    """
    if not x.shape[0]:
        raise InvalidParameterError("features need at least 1 example; got none.")
    weight = next(network.parameters(), None)
    parts = []
    with torch.no_grad():
        for part in torch.split(x.detach(), _BATCH):
            part = part.to(weight) if weight is not None else part.float()
            parts.append(network(part if prepare is None else prepare(part)).flatten(1))
    return torch.cat(parts)


def fingerprint(network: nn.Module) -> str:
    """First 12 hexadecimal digits of the SHA-256 of a module's state: names, shapes and bytes.

    Example:
        >>> fingerprint(nn.Flatten())
        'e3b0c44298fc'
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def _read_weights(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        UnreadableDataError: If it is missing, or no safetensors file; the message tells how to convert one.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UnreadableDataError(
            f"cannot read {path} as safetensors: {error}. Other formats may run code when loaded; convert yours with "
            "safetensors.torch.save_file(torch.load(file, weights_only=True), path)."
        ) from error


def _load_weights(network: nn.Module, path: Path | str) -> None:
    """Load a safetensors file into a network; every name and shape must fit.

    Raises:
        UnreadableDataError: If the file cannot be read.
        DataError: If it does not fit.
    """
    weights = _read_weights(path)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"the weights in {path} do not fit {type(network).__name__}: {error}") from error


def _for_inception(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InvalidParameterError(
            f"Inception needs images of 1 or 3 channels, shape (n, channels, height, width); got {tuple(images.shape)}."
        )
    images = functional.interpolate(images.expand(-1, 3, -1, -1), (299, 299), mode="bilinear", align_corners=False)
    return images * 2.0 - 1.0
