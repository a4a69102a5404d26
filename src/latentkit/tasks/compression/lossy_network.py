"""The network of lossy compression as it is trained: transforms, latents in whole numbers, what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.codec.lossy import LatentPass
from latentkit.codec.lossy.latents import LEAST_LEVEL, OCTAVE
from latentkit.nn.residual import ResidualConvolutions

__all__ = ["FINENESS", "HYPER_UNIT", "MEAN_UNIT", "SEEN_UNIT", "LossyNetwork", "LossySizes", "Trial"]

#: Finest steps between black and white. Networks see latents, and tell them, in units in which these are about 1:
FINENESS: Final = 32.0
#: For predictors, in finest steps,
SEEN_UNIT: Final = 8.0
#: for the means that they give,
MEAN_UNIT: Final = 4.0
#: and hyper-latents.
HYPER_UNIT: Final = 4.0
_LEAST_LOG_SCALE: Final = LEAST_LEVEL / OCTAVE  # log2 of the smallest standard deviation, in steps
_MOST_LOG_SCALE: Final = 8.0
_FIRST_LOG_SCALE: Final = 2.0  # in finest steps
_LEAST_PROBABILITY: Final = 1e-7
_FEATURES: Final = 32  # of a place, that hyper-latents tell
_HYPER_WIDTHS: Final = (64, 96)


@dataclass(frozen=True, slots=True)
class LossySizes:
    """How large the network is.

    Attributes:
        channels: Of an image: 1 or 3.
        latents: Channels of latents, at an eighth of the resolution.
        hyper_latents: Channels of what is told about them.
        hyper_stride: Latents of a hyper-latent, across and down.
        widths: Channels within, at a half, a fourth and an eighth of the resolution.
        context: Channels of the networks that predict latents.
        passes: In which order latents are coded; each latent is in one of them.
    """

    channels: int = 3
    latents: int = 96
    hyper_latents: int = 24
    hyper_stride: int = 4
    widths: tuple[int, int, int] = (24, 48, 96)
    context: int = 64
    passes: tuple[LatentPass, ...] = (
        LatentPass(0, 12, 0),
        LatentPass(0, 12, 1),
        LatentPass(12, 36),
        LatentPass(36, 96),
    )

    @classmethod
    def of(cls, channels: int) -> LossySizes:
        """Return the usual sizes for images of so many channels."""
        if channels > 1:
            return cls(channels=channels)
        passes = (LatentPass(0, 6, 0), LatentPass(0, 6, 1), LatentPass(6, 20), LatentPass(20, 48))
        return cls(channels=1, latents=48, hyper_latents=16, widths=(16, 32, 64), context=48, passes=passes)


@dataclass(frozen=True, slots=True)
class Trial:
    """What becomes of images, as training sees it.

    Attributes:
        reconstruction: Images again, in [0, 1] but for errors, shape (n, channels, height, width).
        bits: What coding each takes, shape (n,).
        hyper_bits: That of the hyper-latents alone, shape (n,).
    """

    reconstruction: Tensor
    bits: Tensor
    hyper_bits: Tensor


@final
class LossyNetwork(nn.Module):
    r"""Images to latents in whole numbers of steps and back, at any of several rates.

    .. math::
        y = f(x), \quad r = round((y - \mu) / s_q), \quad \hat y = r s_q + \mu, \quad \hat x = g(\hat y, q)

    Steps :math:`s_q` of each channel depend on the quality q, in units of the finest ones. Mean :math:`\mu` and
    standard deviation of a latent are predicted from hyper-latents and from the latents of passes before.

    Args:
        sizes: How large it is.
        n_anchors: Qualities with steps of their own; between them the logarithms of steps are interpolated.
        octaves: Over how many powers of two the steps reach, at the start.

    References:
        Balle et al., 2018, Variational image compression with a scale hyperprior, arXiv:1802.01436. Minnen et al.,
        2018, Joint autoregressive and hierarchical priors, arXiv:1809.02736 (means). He et al., 2021, Checkerboard
        context model, arXiv:2103.15306. Minnen and Singh, 2020, Channel-wise autoregressive entropy models,
        arXiv:2007.08739 (passes; rates by noise, errors by rounding). Cui et al., 2021, Asymmetric gained deep image
        compression, arXiv:2003.02012 (steps of a channel and a quality).
    """

    def __init__(self, sizes: LossySizes, *, n_anchors: int = 5, octaves: float = 4.0) -> None:
        super().__init__()
        self.sizes, self.n_anchors = sizes, n_anchors
        half, fourth, eighth = sizes.widths
        self.analysis = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * sizes.channels, half, 3, padding=1),
            ResidualConvolutions(half),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * half, fourth, 1),
            ResidualConvolutions(fourth),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * fourth, eighth, 1),
            ResidualConvolutions(eighth),
            nn.Conv2d(eighth, sizes.latents, 1),
        )
        # the mirror image, layer for layer, with a channel that tells the quality
        self.synthesis = nn.Sequential(
            nn.Conv2d(sizes.latents + 1, eighth, 1),
            ResidualConvolutions(eighth),
            nn.Conv2d(eighth, 4 * fourth, 1),
            nn.PixelShuffle(2),
            ResidualConvolutions(fourth),
            nn.Conv2d(fourth, 4 * half, 1),
            nn.PixelShuffle(2),
            ResidualConvolutions(half),
            nn.Conv2d(half, 4 * sizes.channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        narrow, wide = _HYPER_WIDTHS
        area = sizes.hyper_stride**2
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(sizes.latents + 1, narrow, 1),
            nn.ReLU(),
            nn.PixelUnshuffle(sizes.hyper_stride),
            nn.Conv2d(narrow * area, wide, 1),
            nn.ReLU(),
            nn.Conv2d(wide, sizes.hyper_latents, 1),
        )
        self.hyper_synthesis = nn.Sequential(
            nn.Conv2d(sizes.hyper_latents + 1, narrow, 1),
            nn.ReLU(),
            nn.Conv2d(narrow, _FEATURES * area, 1),
            nn.ReLU(),
            nn.PixelShuffle(sizes.hyper_stride),
        )
        self.predictors = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(_FEATURES + 1 + self.n_seen(number), sizes.context, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(sizes.context, sizes.context, 1),
                nn.ReLU(),
                nn.Conv2d(sizes.context, 2 * (each.last - each.first), 1),
            )
            for number, each in enumerate(sizes.passes)
        )
        self.log_steps = nn.Parameter(torch.linspace(octaves, 0.0, n_anchors)[:, None].repeat(1, sizes.latents))
        self.hyper_means = nn.Parameter(torch.zeros(n_anchors, sizes.hyper_latents))
        self.hyper_log_scales = nn.Parameter(torch.zeros(n_anchors, sizes.hyper_latents))

    def n_seen(self, number: int) -> int:
        """Return how many channels of latents a pass sees: those up to the last one before it."""
        return max((each.last for each in self.sizes.passes[:number]), default=0)

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Begin as a transform to principal components, resolution by resolution, and its inverse.

        Training then starts from what is about JPEG's transform, fitted to the images.

        Args:
            x: Images, as for :meth:`forward`.
        """
        h = x - 0.5
        for part, mirrored in zip(self.analysis, reversed(self.synthesis), strict=True):
            if isinstance(part, nn.Conv2d):
                assert isinstance(mirrored, nn.Conv2d)
                values, vectors = torch.linalg.eigh(torch.einsum("nchw,ndhw->cd", h, h).double())
                n_live = min(part.out_channels, int((values > 1e-9 * values[-1]).sum()))
                components = vectors.flip(1)[:, :n_live].to(h.dtype)
                _set_middle(part, components.T)
                _set_middle(mirrored, components)
            h = part(h)
        for predictor in self.predictors:
            assert isinstance(predictor, nn.Sequential)
            outputs = predictor[-1]
            assert isinstance(outputs, nn.Conv2d)
            assert outputs.bias is not None
            outputs.bias[outputs.out_channels // 2 :].fill_(_FIRST_LOG_SCALE)

    def latents(self, x: Tensor) -> Tensor:
        """Return latents of images in [0, 1], in finest steps."""
        found: Tensor = FINENESS * self.analysis(x - 0.5)
        return found

    def hyper_latents(self, y: Tensor, quality: Tensor) -> Tensor:
        """Return hyper-latents of latents, before they are rounded."""
        height, width = y.shape[2:]
        stride = self.sizes.hyper_stride
        whole = y / self._at(self.log_steps, quality).exp2() / SEEN_UNIT
        padded = functional.pad(whole, (0, -width % stride, 0, -height % stride))
        found: Tensor = HYPER_UNIT * self.hyper_analysis(torch.cat([padded, self._plane(quality, padded)], 1))
        return found

    def forward(self, x: Tensor, quality: Tensor) -> Trial:
        """Return what becomes of images.

        Args:
            x: In [0, 1], shape (n, channels, height, width), sides multiples of 8.
            quality: Of each, from 0 to anchors - 1, shape (n,).
        """
        y = self.latents(x)
        log_steps = self._at(self.log_steps, quality)
        z = self.hyper_latents(y, quality)
        offset = self._coded(z) - self._at(self.hyper_means, quality)
        hyper_bits = _bits(offset, self._at(self.hyper_log_scales, quality)).sum((1, 2, 3))
        height, width = y.shape[2:]
        features = self._features(_rounded(z), quality)[:, :, :height, :width]
        seen, bits = torch.zeros_like(y), hyper_bits
        for number, each in enumerate(self.sizes.passes):
            channels = slice(each.first, each.last)
            places = torch.from_numpy(each.places(height, width)).to(y)
            given = torch.cat([features, seen[:, : self.n_seen(number)] / SEEN_UNIT], 1)
            mean, log_scale = self.predictors[number](given).chunk(2, 1)
            mean, steps = MEAN_UNIT * mean, log_steps[:, channels].exp2()
            offset = (y[:, channels] - mean) / steps
            cost = _bits(self._coded(offset), log_scale - log_steps[:, channels])
            bits = bits + (cost * places).sum((1, 2, 3))
            found = seen[:, channels] + (_rounded(offset) * steps + mean) * places
            seen = torch.cat([seen[:, : each.first], found, seen[:, each.last :]], 1)
        reconstruction = self.synthesis(torch.cat([seen / FINENESS, self._plane(quality, seen)], 1)) + 0.5
        return Trial(reconstruction, bits, hyper_bits)

    def _features(self, z: Tensor, quality: Tensor) -> Tensor:
        """What hyper-latents tell about each place, with the quality."""
        found = self.hyper_synthesis(torch.cat([z / HYPER_UNIT, self._plane(quality, z)], 1))
        return torch.cat([found, self._plane(quality, found)], 1)

    def _at(self, table: Tensor, quality: Tensor) -> Tensor:
        """Rows of a table, interpolated at qualities, shape (n, channels, 1, 1)."""
        low = quality.floor().clamp(0, self.n_anchors - 2)
        share = (quality - low)[:, None]
        rows = table[low.long()] * (1 - share) + table[low.long() + 1] * share
        return rows[:, :, None, None]

    def _plane(self, quality: Tensor, like: Tensor) -> Tensor:
        """A channel that tells the quality, from 0 to 1."""
        shape = (like.shape[0], 1, *like.shape[2:])
        return (quality / (self.n_anchors - 1))[:, None, None, None].expand(shape).to(like.dtype)

    def _coded(self, x: Tensor) -> Tensor:
        """Numbers of which the cost is told: rounded, or with noise in place of it, for the gradient's sake."""
        return x + torch.rand_like(x) - 0.5 if self.training else x.round()


def _set_middle(layer: nn.Conv2d, main: Tensor) -> None:
    """Begin with a linear map at the place itself; what it leaves free is random, and other places count little."""
    middle = layer.kernel_size[0] // 2
    n_rows, n_columns = main.shape
    layer.weight[:n_rows].mul_(0.1)
    layer.weight[:n_rows, :n_columns, middle, middle] = main
    if layer.bias is not None:
        layer.bias.zero_()


def _rounded(x: Tensor) -> Tensor:
    """Whole numbers, with the gradient of x."""
    return x + (x.round() - x).detach()


def _bits(x: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of whole numbers near x: a normal distribution of mean 0, log2 of whose standard deviation is given."""
    inverse = torch.exp2(-log_scale.clamp(_LEAST_LOG_SCALE, _MOST_LOG_SCALE))
    size = x.abs()
    upper: Tensor = torch.special.ndtr((0.5 - size) * inverse)
    lower: Tensor = torch.special.ndtr((-0.5 - size) * inverse)
    return -(upper - lower).clamp_min(_LEAST_PROBABILITY).log() / math.log(2.0)
