"""From latent vectors to data: sample, decode, reconstruct, denoise."""

from __future__ import annotations

from functools import singledispatch
from typing import Final, Literal, cast

import torch
from torch import Tensor

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.parameters import check_choice, check_integer, check_real
from latentkit.core.protocols import Distribution, LatentVariableModel
from latentkit.distributions import Drawing, Flow, GaussianMixture, ObservationDistribution, Tokens
from latentkit.models import CodeDistribution, Decoded, FlowMatched, GivenConditions, OverClasses, Rescaled

__all__ = ["Draw", "decode", "denoise", "guided", "reconstruct", "sample", "sample_latents", "tempered", "write"]

Draw = Literal["mean", "mode", "sample"]
_DRAWS: Final = ("mean", "mode", "sample")


def sample(
    model: LatentVariableModel,
    prior: Distribution,
    n: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    draw: Draw = "mean",
) -> Tensor:
    """New examples: latent vectors from the prior, decoded.

    Args:
        model: Fitted model.
        prior: Where latent vectors come from: the model's own prior, or one fitted afterwards.
        n: Number of examples; exactly as many are returned.
        temperature: Spread of the latent vectors, at least 0; see :func:`tempered`.
        generator: Source of randomness; equal states give equal samples. For work in chunks draw all latent vectors
            with :func:`sample_latents` and decode them in parts.
        draw: What to show of p(x given z): see :func:`decode`.

    Returns:
        Model units, shape (n, *event).

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.
    """
    z = sample_latents(prior, n, temperature=temperature, generator=generator)
    return decode(model, z, draw=draw, generator=generator)


def sample_latents(
    prior: Distribution,
    n: int,
    *,
    temperature: float = 1.0,
    guidance: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Latent vectors from the prior, shape (n, latent).

    Raises:
        InvalidParameterError: If `n`, `temperature` or `guidance` is below 0.
        UnsupportedOperationError: If the prior cannot be guided; see :func:`guided`.

    Example:
        >>> from latentkit.distributions import StandardNormal
        >>> sample_latents(StandardNormal(2), 3, temperature=0.0)
        tensor([[0., 0.],
                [0., 0.],
                [0., 0.]])
    """
    check_integer("n", n)
    return tempered(guided(prior, guidance), temperature).sample(n, generator=generator)


def guided(prior: Distribution, guidance: float) -> Distribution:
    r"""The prior of z given a condition, with the condition's weight scaled (classifier-free guidance).

    .. math:: \tilde p(z \mid y) \propto p(z \mid y)^w p(z)^{1-w}

    Above 1 samples are plainer cases of the condition and less varied, at 0 they do not heed it. It takes a prior that
    knows both p(z given y) and p(z), and in which the power of a density can be drawn from: that of codes, place by
    place.

    Args:
        prior: Distribution over the latent space, given a condition.
        guidance: Weight w, at least 0; 1 is the prior itself.

    Returns:
        Something to draw from; its log-density is the prior's where w = 1.

    Raises:
        InvalidParameterError: If `guidance` is below 0 or not finite, or there is no condition.
        UnsupportedOperationError: If the prior is none that can be drawn from so.

    References:
        Ho and Salimans, 2022, Classifier-Free Diffusion Guidance, arXiv:2207.12598.
    """
    check_real("guidance", guidance, low=0.0, hint="Use 1 for the condition as it is, above 1 for plainer cases of it.")
    return prior if guidance == 1.0 else _guided(prior, float(guidance))


@singledispatch
def _guided(prior: Distribution, guidance: float) -> Distribution:
    raise UnsupportedOperationError(
        f"guidance={guidance!r} weighs p(z given a condition) against p(z), draw by draw, as a prior over codes can. "
        "Here z is drawn in one piece, and nothing can be drawn from the power of its density. Leave guidance out "
        "(temperature makes samples plainer too), or use VQVAE."
    )


@_guided.register
def _(prior: CodeDistribution, guidance: float) -> Distribution:
    return prior.guided(guidance)


@singledispatch
def _tempered(prior: Distribution, temperature: float) -> Distribution:
    return _Contracted(prior, temperature)


@_tempered.register
def _(prior: GaussianMixture, temperature: float) -> Distribution:
    # log-weights and centres stay: contracting towards the overall mean would mix what the components keep apart
    return GaussianMixture(prior.log_weights, prior.means, prior.cholesky * temperature)


@_tempered.register
def _(prior: Rescaled, temperature: float) -> Distribution:
    return Rescaled(_tempered(prior.base, temperature), prior.centre, prior.scale)


@_tempered.register
def _(prior: GivenConditions, temperature: float) -> Distribution:
    return GivenConditions([_tempered(base, temperature) for base in prior.bases], prior.places, prior.centres)


@_tempered.register(CodeDistribution)
@_tempered.register(Decoded)
@_tempered.register(Flow)
@_tempered.register(FlowMatched)
@_tempered.register(OverClasses)
def _(prior: CodeDistribution | Decoded | Flow | FlowMatched | OverClasses, temperature: float) -> Distribution:
    return prior.tempered(temperature)


def tempered(prior: Distribution, temperature: float) -> Distribution:
    r"""The prior with its spread scaled.

    .. math:: z = m + T (u - m), \qquad u \sim p(z)

    with m the prior's mean. A Gaussian mixture scales within its components instead: every standard deviation is
    multiplied by T, centres and weights stay, so that T = 0 gives the centres in proportion to their weights. Flows,
    flow matching and a second stage scale the noise that they start from. The logits of codes are divided by T.
    Below 1 samples are more typical and less varied, above 1 the reverse.

    Args:
        prior: Any distribution over the latent space.
        temperature: T, at least 0; 1 is the prior itself.

    Returns:
        Something to draw from; its log-density is the prior's where T = 1.

    Raises:
        InvalidParameterError: If `temperature` is below 0 or not finite.
    """
    check_real("temperature", temperature, low=0.0, hint="Use 1 for the prior as it is, below 1 for typical samples.")
    return prior if temperature == 1.0 else _tempered(prior, float(temperature))


def decode(
    model: LatentVariableModel, z: Tensor, *, draw: Draw = "mean", generator: torch.Generator | None = None
) -> Tensor:
    """Data of latent vectors.

    Args:
        model: Fitted model.
        z: Latent vectors, shape (*batch, latent).
        draw: ``"mean"`` of p(x given z) (grey where pixels are uncertain), its ``"mode"``, or a ``"sample"`` of it
            (with the noise that the likelihood stands for).
        generator: Source of randomness of ``draw="sample"``.

    Returns:
        Model units, shape (*batch, *event), without gradient.

    Raises:
        InvalidParameterError: If `draw` is none of the three.
    """
    check_choice("draw", draw, _DRAWS)
    with torch.no_grad():
        distribution = cast("ObservationDistribution", model.decode(z))
        if draw == "sample":
            return distribution.sample(generator=generator)
        return distribution.mode if draw == "mode" else distribution.mean


def write(
    model: LatentVariableModel,
    z: Tensor,
    drawing: Drawing,
    *,
    n_beams: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Texts of latent vectors.

    Args:
        model: Model that was fitted to texts.
        z: Latent vectors, shape (*batch, latent).
        drawing: How each token is chosen.
        n_beams: Above 1, the most probable text that a search with so many beams finds, whatever `drawing` says.
        generator: Source of randomness.

    Returns:
        Tokens, shape (*batch, max_length), without gradient.
    """
    with torch.no_grad():
        texts = cast("Tokens", model.decode(z))
        return texts.likeliest(n_beams) if n_beams != 1 else texts.drawn(drawing, generator=generator)


def reconstruct(
    model: LatentVariableModel,
    x: Tensor,
    *,
    latent: Literal["mean", "sample"] = "mean",
    draw: Draw = "mean",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Data as the model sees them: encoded and decoded.

    Args:
        model: Fitted model.
        x: Model units, shape (batch, *event).
        latent: Decode the posterior's ``"mean"`` or a ``"sample"`` of it.
        draw: What to show of p(x given z): see :func:`decode`.
        generator: Source of randomness.

    Returns:
        Model units, shape (batch, *event).

    Raises:
        InvalidParameterError: If `latent` or `draw` has a value that it cannot have.
    """
    check_choice("latent", latent, ("mean", "sample"))
    with torch.no_grad():
        posterior = model.encode(x)
        z = posterior.mean if latent == "mean" else posterior.sample(generator=generator)
    return decode(model, z, draw=draw, generator=generator)


def denoise(
    model: LatentVariableModel, x: Tensor, *, n_draws: int = 0, generator: torch.Generator | None = None
) -> Tensor:
    """Clean data from noisy: the mean of x given z at, or averaged over, the posterior.

    .. math:: E[x' | x] = E_{z ~ q(z | x)}[ E[x' | z] ]

    Args:
        model: Model that was fitted on clean data, or on data whose noise is independent of what is wanted.
        x: Noisy data in model units, shape (batch, *event).
        n_draws: Draws of z to average over; 0 decodes the posterior mean alone, which is sharper.
        generator: Source of randomness of the draws.

    Returns:
        Model units, shape (batch, *event).

    Raises:
        InvalidParameterError: If `n_draws` is below 0.
    """
    check_integer("n_draws", n_draws)
    with torch.no_grad():
        posterior = model.encode(x)
        if n_draws == 0:
            return model.decode(posterior.mean).mean
        total = torch.zeros_like(x)
        for _ in range(n_draws):  # one at a time: memory does not grow with the number of draws
            total += model.decode(posterior.sample(generator=generator)).mean
        return total / n_draws


class _Contracted:
    """A distribution drawn closer to its mean, or further from it."""

    def __init__(self, base: Distribution, temperature: float) -> None:
        self._base, self._temperature = base, temperature

    @property
    def mean(self) -> Tensor:
        """That of the distribution itself."""
        return self._base.mean

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density by the change of variables."""
        mean = self.mean
        scale = torch.tensor(self._temperature, dtype=mean.dtype, device=mean.device)
        return self._base.log_prob(mean + (value - mean) / scale) - mean.shape[-1] * scale.log()

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws of the distribution, contracted."""
        mean = self.mean
        return mean + self._temperature * (self._base.sample(n, generator=generator) - mean)
