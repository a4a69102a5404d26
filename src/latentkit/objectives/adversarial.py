"""Objectives with a discriminator, the penalties that steady it, and the signs that it has won."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.parameters import check_integer, check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.core.registry import Registry
from latentkit.distributions import kl_divergence
from latentkit.distributions.precision import at_least_float32
from latentkit.objectives.phases import given

__all__ = ["AdversarialLoss", "GanObjective", "Rivalry", "VaeGanObjective", "adversarial_losses"]

#: Steps before a balance is judged, and the share that one step has in it.
YOUNG, SHARE = 200, 0.02
#: A discriminator whose loss is below this share of a guesser's has won.
SATURATED = 0.005
#: Samples whose variance is below this share of the data's have collapsed.
COLLAPSED = 0.01


@dataclass(frozen=True, slots=True)
class AdversarialLoss:
    """What discriminator and generator lose by log-odds D, each of shape (batch,).

    Attributes:
        data: The discriminator's, by D of data.
        samples: The discriminator's, by D of samples.
        generator: The generator's, by D of samples.
        guessing: The discriminator's loss, both parts together, where D is 0 for everything.
    """

    data: Callable[[Tensor], Tensor]
    samples: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    guessing: float


adversarial_losses: Registry[AdversarialLoss] = Registry("adversarial loss")
adversarial_losses.register("nonsaturating")(
    AdversarialLoss(
        data=lambda odds: functional.softplus(-odds),
        samples=functional.softplus,
        generator=lambda odds: functional.softplus(-odds),
        guessing=2.0 * math.log(2.0),
    )
)
adversarial_losses.register("hinge")(
    AdversarialLoss(
        data=lambda odds: functional.relu(1.0 - odds),
        samples=lambda odds: functional.relu(1.0 + odds),
        generator=lambda odds: -odds,
        guessing=2.0,
    )
)


class _Balance(nn.Module):
    """Running means of what tells whether the game between generator and discriminator still goes on."""

    loss: Tensor
    spread: Tensor
    n: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("loss", torch.zeros(()))
        self.register_buffer("spread", torch.zeros(()))
        self.register_buffer("n", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def observe(self, loss: Tensor, x: Tensor, samples: Tensor) -> None:
        """Hear of one step: the discriminator's loss as a share of a guesser's, data and samples."""
        if len(x) < 2:
            return
        total, made = (part.detach().float().flatten(1).var(0).sum() for part in (x, samples))
        share = (1.0 / (self.n + 1)).clamp_min(SHARE)
        self.loss.lerp_(loss.detach().to(self.loss), share)
        self.spread.lerp_(made / total.clamp_min(1e-12), share)
        self.n += 1

    def failure(self) -> str | None:
        """What has gone wrong, in words."""
        n, loss, spread = int(self.n), float(self.loss), float(self.spread)
        if n < YOUNG:
            return None
        if spread < COLLAPSED:
            return (
                f"the samples have collapsed: their variance is {100 * spread:.2g} % of the data's (a larger r1, or a "
                "smaller discriminator, gives the generator more to learn from)"
            )
        if loss < SATURATED:
            return (
                f"the discriminator has won: its loss is {100 * loss:.2g} % of a guesser's (a larger r1, "
                "spectral_norm=True or a smaller discriminator holds it back)"
            )
        return None


class Rivalry(nn.Module):
    r"""The discriminator's side, which every adversarial objective shares: its loss, its penalty, and the balance.

    .. math:: R_1 = \gamma / 2 \; E_{data} |\nabla_x D(x)|^2

    The penalty is computed in one step of `every` and weighs `every` times as much there.

    Args:
        loss: ``"nonsaturating"`` or ``"hinge"``.
        r1: Weight gamma of the penalty, at least 0; 0 for none.
        every: Steps from one penalty to the next, at least 1.

    Raises:
        InvalidParameterError: If there is no such loss, or a number is out of its range.

    References:
        Goodfellow et al., 2014, arXiv:1406.2661 (non-saturating); Lim and Ye, 2017, Geometric GAN, arXiv:1705.02894
        (hinge); Mescheder et al., 2018, Which Training Methods for GANs do actually Converge?, arXiv:1801.04406 (R1);
        Karras et al., 2020, Analyzing and Improving the Image Quality of StyleGAN, appendix B, arXiv:1912.04958 (lazy).
    """

    def __init__(self, *, loss: str = "nonsaturating", r1: float = 0.1, every: int = 16) -> None:
        super().__init__()
        self.name = loss
        self.loss = adversarial_losses[loss]
        self.r1 = check_real("r1", r1, low=0.0, hint="Use r1=0 for no penalty.")
        self.every = check_integer("r1_every", every, low=1)
        self.balance = _Balance()
        self._step = 0

    def begin(self, device: torch.device) -> None:
        """Forget what was observed, as before a training."""
        self.balance = _Balance().to(device)
        self._step = 0

    def failure(self) -> str | None:
        """What has gone wrong, in words; None while the game goes on."""
        return self.balance.failure()

    def discriminator_loss(
        self, discriminator: Any, x: Tensor, samples: list[Tensor], condition: Tensor | None = None
    ) -> Tensor:
        """Return the loss per example with the penalty, shape (batch,); `samples` are judged alike and averaged.

        Args:
            discriminator: See :class:`~latentkit.models.Discriminator`.
            x: Data, shape (batch, *event).
            samples: Batches of as many samples, without gradient.
            condition: What both were given.
        """
        penalised = self.r1 > 0 and self._step % self.every == 0
        x = x.detach().requires_grad_(penalised)
        odds = at_least_float32(discriminator(x, condition))
        made = [self.loss.samples(at_least_float32(discriminator(part, condition))) for part in samples]
        loss = self.loss.data(odds) + torch.stack(made).mean(0)
        self.balance.observe(loss.detach().mean() / self.loss.guessing, x, samples[-1])
        if penalised:
            (slope,) = torch.autograd.grad(odds.sum(), x, create_graph=True)
            loss = loss + 0.5 * self.r1 * self.every * slope.float().flatten(1).square().sum(1)
        self._step += 1
        return loss

    def get_extra_state(self) -> Tensor:
        """Steps taken, which say when the next penalty is due."""
        return torch.tensor(self._step)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the steps taken."""
        self._step = int(state)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"loss={self.name!r}, r1={self.r1}, every={self.every}"


class _Adversarial(nn.Module):
    """An objective that is played against a discriminator."""

    def __init__(self, rivalry: Rivalry) -> None:
        super().__init__()
        self.rivalry = rivalry

    def failure(self) -> str | None:
        """What has gone wrong in training, in words; None while the game goes on."""
        return self.rivalry.failure()

    def _discriminate(self, model: Any, batch: Batch, samples: list[Tensor]) -> Terms:
        """The discriminator's terms, given samples without gradient."""
        loss = self.rivalry.discriminator_loss(model.discriminator, batch.x, samples, batch.condition)
        return _terms(-loss)

    def _persuade(self, model: Any, batch: Batch, samples: Tensor) -> Tensor:
        """How well samples pass for data, shape (batch,): what a generator climbs."""
        with _frozen(model.discriminator):
            odds: Tensor = model.discriminator(samples, batch.condition)
        return -self.rivalry.loss.generator(at_least_float32(odds))


@final
class GanObjective(_Adversarial):
    r"""The game of generator and discriminator.

    .. math:: \max_D E_{data}[-l_d(D(x))] + E_z[-l_s(D(G(z)))] - R_1, \qquad \max_G E_z[-l_g(D(G(z)))]

    Neither value is a likelihood, and neither says how good samples are: they say who is ahead. The non-saturating
    generator is at -log 2 where the discriminator can but guess. `log_likelihood` and `kl` of the terms are 0: there
    are none.

    Args:
        loss: ``"nonsaturating"``, l_d = softplus(-D), l_s = softplus(D), l_g = softplus(-D); or ``"hinge"``,
            l_d = max(0, 1 - D), l_s = max(0, 1 + D), l_g = -D.
        r1: Weight of the gradient penalty, see :class:`Rivalry`.
        r1_every: Steps from one penalty to the next.

    Example:
        >>> GanObjective(loss="hinge")
        GanObjective(
          (rivalry): Rivalry(
            loss='hinge', r1=0.1, every=16
            (balance): _Balance()
          )
        )
    """

    def __init__(self, *, loss: str = "nonsaturating", r1: float = 0.1, r1_every: int = 16) -> None:
        super().__init__(Rivalry(loss=loss, r1=r1, every=r1_every))

    def forward(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """The generator's value of as many samples as the batch has rows; `kl_weight` weighs nothing here."""
        return _terms(self._persuade(model, batch, _sampled(model, batch)))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """Two: the discriminator climbs on data and samples, then the generator on new samples."""
        gan: Any = model
        self.rivalry.begin(next(gan.parameters()).device)

        def discriminate(batch: Batch, kl_weight: float) -> Terms:
            with torch.no_grad():
                samples = _sampled(model, batch)
            return self._discriminate(model, batch, [samples])

        return [
            Phase(_trainable(gan.discriminator), discriminate),
            Phase(_trainable(gan.generator), lambda batch, kl_weight: self(model, batch, kl_weight=kl_weight)),
        ]


@final
class VaeGanObjective(_Adversarial):
    r"""An autoencoder that a discriminator judges, and measures by the features f that it judges by.

    .. math:: S = -\frac{1}{2 v} |f(x) - f(\hat x)|^2, \qquad \hat x = E[x \mid z], \; z \sim q(z \mid x)

    with v the mean variance of a feature over the batch's data, so that the scale of the features, which is the
    discriminator's to choose, does not matter. Three phases on every batch, each with draws of its own:

    .. math:: D: \max E_{data}[-l_d(D(x))] - 1/2 \, [E l_s(D(\hat x)) + E l_s(D(G(z_p)))] - R_1, \quad z_p \sim p(z)
    .. math:: decoder: \max \gamma S - 1/2 \, [E l_g(D(\hat x)) + E l_g(D(G(z_p)))] + [\log p(x \mid z)]_v
    .. math:: encoder: \max S - w \beta KL(q(z \mid x), p(z))

    where the term in brackets trains the likelihood's own parameters v alone (a learnt variance), so that the bound on
    log p(x) is as good as these reconstructions allow. The value is that of the encoder; `log_likelihood` is that of
    the data under p(x given z), which nothing else climbs.

    Args:
        gamma: Weight of the similarity against the discriminator's judgement, for the decoder; at least 0.
        beta: Weight of the divergence, at least 0.
        loss: See :class:`GanObjective`.
        r1: Weight of the gradient penalty, see :class:`Rivalry`.
        r1_every: Steps from one penalty to the next.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Larsen et al., 2016, Autoencoding beyond pixels using a learned similarity metric, arXiv:1512.09300.
    """

    def __init__(
        self,
        *,
        gamma: float = 0.1,
        beta: float = 1.0,
        loss: str = "nonsaturating",
        r1: float = 0.1,
        r1_every: int = 16,
    ) -> None:
        super().__init__(Rivalry(loss=loss, r1=r1, every=r1_every))
        self.gamma = check_real("gamma", gamma, low=0.0)
        self.beta = check_real("beta", beta, low=0.0, hint="Use beta=0 to drop the KL term.")

    def forward(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """The encoder's value for each example of `batch`."""
        vaegan: Any = model
        seen = given(model, batch)
        posterior, prior = seen.encode(batch.x), seen.prior()
        z = posterior.rsample()
        with _frozen(vaegan.autoencoder.decoder), _frozen(vaegan.autoencoder.likelihood):
            decoded = seen.decode(z)
        kl = kl_divergence(posterior, prior, z=z)
        fit = self._similarity(vaegan, batch, decoded.mean)
        with torch.no_grad():
            log_likelihood = decoded.log_prob(batch.x)
        return Terms(objective=fit - self.beta * kl_weight * kl, log_likelihood=log_likelihood, kl=kl)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """Three: discriminator, decoder and likelihood, encoder with posterior and prior."""
        vaegan: Any = model
        self.rivalry.begin(next(vaegan.parameters()).device)
        autoencoder = vaegan.autoencoder
        decoder = [*_trainable(autoencoder.decoder), *_trainable(autoencoder.likelihood)]
        known = {id(parameter) for parameter in decoder}
        encoder = [parameter for parameter in _trainable(autoencoder) if id(parameter) not in known]

        def discriminate(batch: Batch, kl_weight: float) -> Terms:
            with torch.no_grad():
                seen = given(model, batch)
                rebuilt = seen.decode(seen.encode(batch.x).rsample()).mean
                samples = _sampled(model, batch)
            return self._discriminate(vaegan, batch, [rebuilt, samples])

        return [
            Phase(_trainable(vaegan.discriminator), discriminate),
            Phase(decoder, lambda batch, kl_weight: self._decode(vaegan, batch)),
            Phase(encoder, lambda batch, kl_weight: self(model, batch, kl_weight=kl_weight)),
        ]

    def _decode(self, model: Any, batch: Batch) -> Terms:
        seen = given(model, batch)
        with torch.no_grad():
            z = seen.encode(batch.x).rsample()
        decoded = seen.decode(z)
        value = self.gamma * self._similarity(model, batch, decoded.mean)
        for samples in (decoded.mean, _sampled(model, batch)):
            value = value + 0.5 * self._persuade(model, batch, samples)
        if _trainable(model.autoencoder.likelihood):
            with _frozen(model.autoencoder.decoder):
                value = value + seen.decode(z).log_prob(batch.x)
        return _terms(value)

    def _similarity(self, model: Any, batch: Batch, rebuilt: Tensor) -> Tensor:
        """S, nats, shape (batch,)."""
        with _frozen(model.discriminator):
            wanted = model.discriminator.features(batch.x, batch.condition).detach()
            found = model.discriminator.features(rebuilt, batch.condition)
        wanted = at_least_float32(wanted)
        # in a batch of equal examples, nothing varies
        variance = wanted.var(0, correction=0).mean().clamp_min(1e-3 * wanted.square().mean()).clamp_min(1e-12)
        return -0.5 * (at_least_float32(found) - wanted).square().sum(-1) / variance


def _sampled(model: LatentVariableModel, batch: Batch) -> Tensor:
    """Samples of the model, as many as the batch has rows and given what they were given."""
    z = model.prior().sample(len(batch.x))
    return given(model, batch).decode(z).mean


def _terms(value: Tensor) -> Terms:
    """Terms of something that is no likelihood."""
    nothing = torch.zeros_like(value)
    return Terms(objective=value, log_likelihood=nothing, kl=nothing)


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Use a module without gradients to its parameters, which would be computed for nothing."""
    parameters = _trainable(module)
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
