"""Small variational autoencoders of the same rows, trained and asked in one batched pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from latentkit.nn import MemberPerceptron

__all__ = ["AutoencoderEnsemble", "MemberNormal"]


@final
@dataclass(frozen=True, slots=True)
class MemberNormal:
    """An independent normal distribution of each number, for each member.

    Attributes:
        mean: Shape (members, batch, numbers).
        log_var: Logarithm of the variance, same shape.
    """

    mean: Tensor
    log_var: Tensor

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of each number but for the constant log(2 pi) / 2, shape (members, batch, numbers)."""
        return -0.5 * ((value - self.mean).square() * (-self.log_var).exp() + self.log_var)

    def kl(self) -> Tensor:
        """Divergence from the standard normal of each number, nats, shape (members, batch, numbers)."""
        return 0.5 * (self.mean.square() + self.log_var.exp() - 1.0 - self.log_var)

    def sample(self, noise: Tensor) -> Tensor:
        """Reparameterised draws, for standard normal numbers of the same shape."""
        return self.mean + (0.5 * self.log_var).exp() * noise


@final
class AutoencoderEnsemble(nn.Module):
    r"""Variational autoencoders that differ in their weights, their latent sizes and in what they are shown.

    .. math:: q_m(z \mid x, s) = N(\mu_m(x \odot s, s), \sigma_m^2(x \odot s, s)), \qquad
              p_m(x \mid z) = \prod_j N(x_j; f_{mj}(z), g_{mj}^2(z))

    The encoders see which numbers of a row are shown, s, so that rows may have unknown numbers. Variances of the
    decoders depend on z: a row that is far from what its code explains is told by how far that is *for such rows*.

    Args:
        n_features: Numbers in a row.
        latent_dims: Latent dimensions of each member.
        width: Of the hidden layers.

    References:
        Kingma and Welling, 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114; Detlefsen et al., 2019, Reliable
        Training and Estimation of Variance Networks, arXiv:1906.03260 (decoders with variances).

    Example:
        >>> ensemble = AutoencoderEnsemble(5, (2, 3))
        >>> p = ensemble.decode(ensemble.encode(torch.zeros(2, 10, 5)).mean)
        >>> p.mean.shape
        torch.Size([2, 10, 5])
    """

    _kept: Tensor

    def __init__(self, n_features: int, latent_dims: Sequence[int], *, width: int = 64) -> None:
        super().__init__()
        n, most = len(latent_dims), max(latent_dims)
        self.n_features, self.n_members = n_features, n
        self.encoder = MemberPerceptron(n, 2 * n_features, 2 * most, n_linear=most, width=width)
        self.decoder = MemberPerceptron(n, most, 2 * n_features, n_linear=n_features, width=width)
        self.log_scale = nn.Parameter(torch.zeros(n, 1, n_features))
        kept = torch.arange(most) < torch.tensor(list(latent_dims))[:, None]
        self.register_buffer("_kept", kept[:, None].float(), persistent=False)

    def encode(self, x: Tensor, shown: Tensor | None = None) -> MemberNormal:
        """Return q(z given x) of each member.

        Args:
            x: Rows, shape (batch, features), or (members, batch, features).
            shown: 1 where a number is shown, 0 where not, same shape; None for all.
        """
        shown = torch.ones_like(x) if shown is None else shown
        seen = torch.cat([x * shown, shown], dim=-1).expand(self.n_members, -1, -1)
        mean, log_var = self.encoder(seen).chunk(2, dim=-1)
        # dimensions that a member does not have stay at the prior, and cost nothing
        return MemberNormal(mean * self._kept, log_var.clamp(-8.0, 3.0) * self._kept)

    def decode(self, z: Tensor) -> MemberNormal:
        """Return p(x given z) of each member, for z of shape (members, batch, latent)."""
        mean, log_scale = self.decoder(z * self._kept).chunk(2, dim=-1)
        return MemberNormal(mean, 2.0 * (self.log_scale + log_scale).clamp(-4.0, 3.0))

    @property
    def kept(self) -> Tensor:
        """1 for the latent dimensions that a member has, 0 for the others, shape (members, 1, latent)."""
        return self._kept
