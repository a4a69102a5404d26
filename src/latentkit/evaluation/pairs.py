"""How well a picture was rebuilt: figures of pairs of images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer, check_real
from latentkit.evaluation.inputs import Numbers, check_pair

__all__ = ["MS_SSIM_LEAST_SIDE", "ms_ssim", "psnr", "ssim"]

#: Exponents of the scales, the finest first, as published.
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11  # pixels
#: Sides of images below which the last scale of MS-SSIM has no place for a window.
MS_SSIM_LEAST_SIDE = _WINDOW << (len(_SCALES) - 1)
_BLOCK = 1 << 16  # pixels per pass: maps of 512 KiB in float64 stay in the cache


def psnr(images: Numbers, others: Numbers, *, data_range: float = 1.0) -> Tensor:
    r"""Peak signal-to-noise ratio of each pair.

    .. math:: 10 \log_{10} \frac{L^2}{\frac{1}{D} \sum_i (x_i - y_i)^2}

    In decibels, any real number, higher is better; infinity for equal images. A figure of each pair alone, without
    bias at small samples; papers average it over images (the mean of PSNRs, not the PSNR of the mean error).

    Args:
        images: Shape (n, *event).
        others: Same shape.
        data_range: L, largest minus smallest possible value: 1 for [0, 1], 255 for bytes.

    Returns:
        Decibels, float64, shape (n,).

    Raises:
        InvalidParameterError: If the shapes differ, a number is not finite, or `data_range` is not above 0.

    Example:
        >>> psnr(torch.zeros(1, 4), torch.full((1, 4), 0.1))
        tensor([20.0000], dtype=torch.float64)
    """
    check_real("data_range", data_range, low=0.0, inclusive=(False, True))
    x, y, _ = _pair(images, others)
    return 10.0 * (data_range**2 / (x - y).square().mean(1)).log10()


def ssim(
    images: Numbers, others: Numbers, *, data_range: float = 1.0, window_size: int = 11, sigma: float = 1.5
) -> Tensor:
    r"""Structural similarity of each pair of images.

    .. math::
        SSIM = mean \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
        {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}, \quad C_1 = (0.01 L)^2, C_2 = (0.03 L)^2

    with means, variances and covariance under a Gaussian window, at the places where the window lies within the image,
    averaged over places and, for colour, over channels. In [-1, 1], higher is better, 1 for equal images. A figure of
    each pair alone, without bias at small samples. Wang's published code is followed: weighted moments without the
    factor n / (n - 1), no padding, no downsampling.

    Args:
        images: Shape (n, channels, height, width) or (n, height, width).
        others: Same shape.
        data_range: L, largest minus smallest possible value: 1 for [0, 1], 255 for bytes.
        window_size: Side of the window, odd; 11 as published. Smaller images need a smaller one, and figures of
            different windows cannot be compared.
        sigma: Standard deviation of the window, in pixels.

    Returns:
        One figure per pair, float64, shape (n,).

    Raises:
        InvalidParameterError: If the shapes differ or are none of images, a number is not finite, the window does not
            fit, or an option is out of range.

    References:
        Wang et al., 2004, Image Quality Assessment: From Error Visibility to Structural Similarity.

    Example:
        >>> image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> ssim(image, image)
        tensor([1.], dtype=torch.float64)
    """
    check_real("data_range", data_range, low=0.0, inclusive=(False, True))
    check_real("sigma", sigma, low=0.0, inclusive=(False, True))
    check_integer("window_size", window_size, low=1)
    x, y = _planes(images, others)
    shape = x.shape
    if window_size % 2 == 0 or window_size > min(shape[-2:]):
        raise InvalidParameterError(
            f"window_size must be odd and at most the smaller side of the images, which are {shape[-2]} x {shape[-1]}; "
            f"got {window_size}."
        )
    window = _window(window_size, sigma, x)
    return torch.cat([torch.mul(*_similarity(a, b, window, data_range)).mean((1, 2, 3)) for a, b in _parts(x, y)])


def ms_ssim(images: Numbers, others: Numbers, *, data_range: float = 1.0) -> Tensor:
    r"""Structural similarity of each pair of images at five scales.

    .. math:: MS\text{-}SSIM = l_5^{w_5} \prod_{j=1}^{5} c_j^{w_j}, \qquad
              l = \frac{2 \mu_x \mu_y + C_1}{\mu_x^2 + \mu_y^2 + C_1}, \quad
              c = \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}

    with :math:`w = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)`; each scale halves the one before it by means of 2 x 2
    pixels, a last odd row or column left out. Factors are means over places, of l and c together at the last scale,
    for each channel; the figure is the mean over channels. In [0, 1], higher is better, 1 for equal images. Negative
    factors count as 0. Windows are those of :func:`ssim`, of 11 pixels.

    Args:
        images: Shape (n, channels, height, width) or (n, height, width), sides of at least 176.
        others: Same shape.
        data_range: L, largest minus smallest possible value: 1 for [0, 1], 255 for bytes.

    Returns:
        One figure per pair, float64, shape (n,).

    Raises:
        InvalidParameterError: If the shapes differ or are none of images so large, a number is not finite, or
            `data_range` is not above 0.

    References:
        Wang, Simoncelli and Bovik, 2003, Multiscale structural similarity for image quality assessment.

    Example:
        >>> image = torch.rand(1, 1, 176, 176, generator=torch.Generator().manual_seed(0))
        >>> ms_ssim(image, image)
        tensor([1.], dtype=torch.float64)
    """
    check_real("data_range", data_range, low=0.0, inclusive=(False, True))
    x, y = _planes(images, others)
    window = _window(_WINDOW, 1.5, x)
    if min(x.shape[-2:]) < MS_SSIM_LEAST_SIDE:
        raise InvalidParameterError(
            f"images must have sides of at least {MS_SSIM_LEAST_SIDE}, for five scales; got {x.shape[-2]} x "
            f"{x.shape[-1]}. Use ssim."
        )
    found = []
    for a, b in _parts(x, y):
        product = a.new_ones(a.shape[:2])
        for number, exponent in enumerate(_SCALES, 1):
            luminance, contrast = _similarity(a, b, window, data_range)
            factor = luminance * contrast if number == len(_SCALES) else contrast
            product = product * factor.mean((2, 3)).clamp_min(0.0) ** exponent
            a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
        found.append(product.mean(1))
    return torch.cat(found)


def _planes(images: Numbers, others: Numbers) -> tuple[Tensor, Tensor]:
    """Both, shape (n, channels, height, width)."""
    x, y, shape = _pair(images, others)
    if len(shape) not in (3, 4):
        raise InvalidParameterError(
            f"images must have shape (n, height, width) or (n, channels, height, width); got {shape}."
        )
    planes = shape[:1] + (-1,) + shape[-2:]
    return x.reshape(planes), y.reshape(planes)


def _window(size: int, sigma: float, like: Tensor) -> Tensor:
    offsets = torch.arange(size, dtype=torch.float64, device=like.device) - size // 2
    return torch.softmax(-0.5 * (offsets / sigma).square(), 0)


def _parts(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs, as many at once as stay in the cache."""
    step = max(1, _BLOCK // x[0].numel())
    yield from zip(torch.split(x, step), torch.split(y, step), strict=True)


def _similarity(x: Tensor, y: Tensor, window: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Maps of luminance and of contrast with structure, shape (n, channels, places, places)."""
    first, second = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y, xx, yy, xy = (_filtered(z, window) for z in (x, y, x * x, y * y, x * y))
    variance_x, variance_y = xx - mean_x.square(), yy - mean_y.square()
    luminance = (2.0 * mean_x * mean_y + first) / (mean_x.square() + mean_y.square() + first)
    return luminance, (2.0 * (xy - mean_x * mean_y) + second) / (variance_x + variance_y + second)


def _filtered(x: Tensor, window: Tensor) -> Tensor:
    """Weighted sums over the window along both sides: shifted sums are faster than a convolution of one channel."""
    for axis in (-2, -1):
        size = x.shape[axis] - len(window) + 1
        total = torch.zeros_like(x.narrow(axis, 0, size))
        for i, weight in enumerate(window.tolist()):
            total.add_(x.narrow(axis, i, size), alpha=weight)
        x = total
    return x


def _pair(images: Numbers, others: Numbers) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    shape = tuple(images.shape)
    if shape != tuple(others.shape) or len(shape) < 2:
        raise InvalidParameterError(f"pairs must have one shape (n, *event); got {shape} and {tuple(others.shape)}.")
    flat = (shape[0], -1) if shape[0] else (0, 1)
    x, y = check_pair(("images", images.reshape(flat)), ("others", others.reshape(flat)))
    return x, y, shape
