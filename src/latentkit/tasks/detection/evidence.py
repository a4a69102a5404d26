"""What a detector sees of rows: their features, and what a model makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.seeds import row_keys, row_noise
from latentkit.core.tokens import reached
from latentkit.distributions import kl_divergence
from latentkit.models import AutoencoderEnsemble
from latentkit.objectives import log_importance_weights, log_mean_exp
from latentkit.tasks.detection.features import squash

__all__ = ["CodesWitness", "EnsembleWitness", "Evidence", "ModelWitness", "TextWitness", "Witness"]

#: Features that the tokens of texts are counted in.
N_TEXT_FEATURES: Final = 2048

_TOKENS_AT_ONCE: Final = 1 << 13  # of texts that go through the model together
_LEAST_SCALE = 1e-3  # of a feature that hardly varies, beside that of an average one


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What is known of a batch of rows.

    Attributes:
        features: Numbers of one scale in which rows are compared, shape (batch, features); 0 where unknown.
        known: 1 where they are known, 0 where not, same shape.
        keys: Names of the rows by their content, int64, shape (batch,); see :func:`~latentkit.core.seeds.row_keys`.
        means: Posterior means, shape (members, batch, latent).
        log_vars: Logarithms of the posterior variances, same shape; -inf where posteriors are points.
        residuals: What of each modelled number the reconstruction through the mean does not explain, shape (members,
            batch, modelled); 0 where unknown. Of texts what a token costs more given those before it than by its
            frequency alone, nats.
        log_likelihood: log p(x given z) of the posterior mean, nats, shape (members, batch).
        kl: Divergence of the posterior from the prior, nats, shape (members, batch); 0 where there is none.
        bound: Number of draws to importance-sampled bound on log p(x), shape (members, batch).
        lengths: Of texts: tokens of each, its end included, shape (batch,); None of rows that are all as long.
        places: Of texts: the feature that the token at each place counts in, -1 for none, shape (batch, length); None
            where the columns of features are those of all rows.
        memo: What parts of a score found out that others need, too.
    """

    features: Tensor
    known: Tensor
    keys: Tensor
    means: Tensor
    log_vars: Tensor
    residuals: Tensor
    log_likelihood: Tensor
    kl: Tensor
    bound: Callable[[int], Tensor]
    lengths: Tensor | None = None
    places: Tensor | None = None
    memo: dict[str, Tensor] = field(default_factory=dict)

    @property
    def partly_known(self) -> Tensor | None:
        """:attr:`known` where something is unknown; None where all is known."""
        return None if bool(self.known.all()) else self.known


class Witness(Protocol):
    """A model that is asked about rows.

    Attributes:
        is_smooth: Whether what it says can be differentiated by the rows that it is shown.
        owners: The column of each feature, shape (features,).
        modelled_owners: The column of each modelled number, shape (modelled,).
    """

    is_smooth: bool
    owners: Tensor

    @property
    def modelled_owners(self) -> Tensor: ...

    def features(self, x: Tensor) -> Tensor:
        """Numbers of rows in which they are compared, shape (batch, features), NaN where unknown; no model is asked."""
        ...

    def __call__(self, x: Tensor, keys: Tensor | None = None) -> Evidence:
        """Evidence of rows, shape (batch, numbers); draws are those of `keys` where these are given."""
        ...


@final
class EnsembleWitness(nn.Module):
    """An ensemble of small autoencoders, which are shown the features themselves.

    Args:
        ensemble: Trained.
        owners: The column of each feature.
    """

    is_smooth = True
    owners: Tensor

    def __init__(self, ensemble: AutoencoderEnsemble, owners: Tensor) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.register_buffer("owners", owners)

    @property
    def modelled_owners(self) -> Tensor:
        """The column of each modelled number: of each feature."""
        return self.owners

    def features(self, x: Tensor) -> Tensor:
        """See :class:`Witness`."""
        return x

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Evidence:
        """See :class:`Witness`; NaN is unknown."""
        known = ~x.isnan()
        features, known = x.where(known, 0.0), known.to(x.dtype)
        names = row_keys(x.detach()) if keys is None else keys
        q = self.ensemble.encode(features, known)
        p = self.ensemble.decode(q.mean)
        rows = features.expand_as(p.mean)

        def bound(n_draws: int) -> Tensor:
            weights = []
            for draw in range(n_draws):
                noise = row_noise(names, 1, q.mean.numel() // len(x), start=draw, dtype=x.dtype)
                noise = noise.reshape(len(x), len(q.mean), -1).transpose(0, 1)
                z = q.sample(noise)
                # the constants of both normals cancel; what a member does not have is the prior in both
                log_ratio = (0.5 * (noise.square() + q.log_var - z.square())).sum(-1)
                weights.append((self.ensemble.decode(z).log_prob(rows) * known).sum(-1) + log_ratio)
            return torch.logsumexp(torch.stack(weights), 0) - math.log(n_draws)

        return Evidence(
            features=features,
            known=known,
            keys=names,
            means=q.mean,
            log_vars=q.log_var,
            residuals=(rows - p.mean) * known,
            log_likelihood=(p.log_prob(rows) * known).sum(-1),
            kl=q.kl().sum(-1),
            bound=bound,
        )


@final
class ModelWitness(nn.Module):
    r"""One model of rows of numbers or of images, shown what it was fitted on; features are its numbers, of one scale.

    Args:
        model: Fitted model of examples in model units, in evaluation mode.
        is_point: Whether its posteriors are points.
        event_shape: Shape of one example in model units.
        owners: The column of each number, shape (numbers,).
        centre: Of the numbers of training rows, shape (numbers,).
        spread: Their standard deviations; images have one.
    """

    is_smooth = True
    owners: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        model: Any,
        event_shape: tuple[int, ...],
        owners: Tensor,
        centre: Tensor,
        spread: Tensor,
        *,
        is_point: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.event_shape, self.is_point = model, event_shape, is_point
        self.register_buffer("owners", owners)
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread.clamp_min(_LEAST_SCALE * float(spread.mean().clamp_min(1e-12))))

    @property
    def modelled_owners(self) -> Tensor:
        """The column of each modelled number: of each feature."""
        return self.owners

    def features(self, x: Tensor) -> Tensor:
        """See :class:`Witness`."""
        return squash((x - self.centre) / self.spread)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Evidence:
        """See :class:`Witness`; every number is known."""
        names = row_keys(x.detach()) if keys is None else keys
        features = self.features(x)
        seen = _see(self.model, x.reshape(-1, *self.event_shape), names, is_point=self.is_point)
        residuals = (x - seen.mean.flatten(1))[None] / self.spread
        return seen.evidence(features, torch.ones_like(features), names, residuals)


@final
class CodesWitness(nn.Module):
    r"""One model of tables of mixed kinds, shown codes; rows are compared in the features of their values.

    Rows are the codes of the model and, behind them, the features. The residual of a code is the number of standard
    deviations that would be as improbable, :math:`\sqrt{-2 \log p(x_j)}`, given z and all codes before it.

    Args:
        model: Fitted model, in evaluation mode.
        is_point: Whether its posteriors are points.
        code_owners: The column of each code.
        owners: The column of each feature.
    """

    is_smooth = False
    owners: Tensor
    modelled_owners: Tensor

    def __init__(self, model: Any, code_owners: Tensor, owners: Tensor, *, is_point: bool = False) -> None:
        super().__init__()
        self.model, self.is_point = model, is_point
        self.register_buffer("modelled_owners", code_owners)
        self.register_buffer("owners", owners)

    def features(self, x: Tensor) -> Tensor:
        """See :class:`Witness`."""
        return x[:, len(self.modelled_owners) :]

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Evidence:
        """See :class:`Witness`; NaN is unknown."""
        names = row_keys(x) if keys is None else keys
        codes, features = x[:, : len(self.modelled_owners)], self.features(x)
        known = ~features.isnan()
        seen = _see(self.model, codes, names, is_point=self.is_point)
        log_probs = seen.distribution.log_prob_columns(codes)
        residuals = (-2.0 * log_probs.clamp_max(0.0)).sqrt().where(~codes.isnan(), 0.0)[None]
        return seen.evidence(features.where(known, 0.0), known.to(features.dtype), names, residuals)


@final
class TextWitness(nn.Module):
    r"""One model of texts, shown their tokens; texts are compared by the tokens that they have.

    .. math:: f(x) = \frac{g(x)}{\lVert g(x) \rVert}, \qquad g_j(x) = \sum_{t :\, h(x_t) = j} -\log s(x_t)

    over the places t in front of the end, with s the share of the texts of training that have a token, and h(x) = x
    modulo 2,048, so that a vocabulary of up to as many tokens has a feature for each. The residual of a token is what
    it costs more than by its frequency alone, a likelihood ratio: rare words are not odd where they belong.

    .. math:: r_t = \log u(x_t) - \log p(x_t \mid x_{<t}, \mu(x)), \qquad u(v) = \frac{s(v)}{\sum_w s(w)}

    Equal texts are looked at once, and those of about one length together.

    Args:
        model: Fitted model, in evaluation mode.
        max_length: Places of a text.
        shares: s, above 0, shape (n_tokens,).

    References:
        Sparck Jones, 1972, A Statistical Interpretation of Term Specificity (weights). Weinberger et al., 2009, Feature
        Hashing for Large Scale Multitask Learning, arXiv:0902.2206. Ren et al., 2019, Likelihood Ratios for
        Out-of-Distribution Detection, arXiv:1906.02845 (residuals).
    """

    is_smooth = False
    owners: Tensor
    weights: Tensor
    log_frequencies: Tensor

    def __init__(self, model: Any, max_length: int, shares: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("owners", torch.arange(max_length))
        self.register_buffer("weights", -shares.log())
        self.register_buffer("log_frequencies", (shares / shares.sum()).log())

    @property
    def modelled_owners(self) -> Tensor:
        """The place of each token."""
        return self.owners

    def features(self, x: Tensor) -> Tensor:
        """See :class:`Witness`."""
        tokens = x.long()
        weights = self.weights[tokens].masked_fill(tokens == 0, 0.0)
        counts = weights.new_zeros(len(x), min(N_TEXT_FEATURES, len(self.weights)))
        counts.scatter_add_(1, tokens % counts.shape[1], weights)
        return functional.normalize(counts, dim=1)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Evidence:
        """See :class:`Witness`; token 0 ends a text."""
        names = row_keys(x) if keys is None else keys
        pairs = torch.stack([names, row_keys(x)], dim=1)
        _, inverse = pairs.unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
        numbers = torch.arange(len(x))
        first = numbers.new_full((int(inverse.max()) + 1,), len(x)).scatter_reduce_(0, inverse, numbers, "amin")
        lengths = reached(x).sum(1)
        order = first[lengths[first].argsort(stable=True)]
        groups = [
            _Texts(self.model, x[rows, : int(lengths[rows].max())].long(), names[rows]) for rows in _cut(order, lengths)
        ]
        back = torch.empty_like(order)
        back[inverse[order]] = torch.arange(len(order))
        place = back[inverse]  # of each row among those that were looked at
        features = self.features(x)

        tokens, width = x.long(), x.shape[1]
        log_probs = torch.cat(
            [functional.pad(group.log_probs, (0, width - group.log_probs.shape[1])) for group in groups]
        )[place]
        return Evidence(
            features=features,
            known=torch.ones_like(features),
            keys=names,
            means=torch.cat([group.means for group in groups])[place][None],
            log_vars=torch.cat([group.log_vars for group in groups])[place][None],
            residuals=((self.log_frequencies[tokens] - log_probs) * reached(x))[None],
            log_likelihood=log_probs.sum(1)[None],
            kl=torch.cat([group.kl for group in groups])[place][None],
            bound=lambda n_draws: torch.cat([group.bound(n_draws) for group in groups])[place][None],
            lengths=lengths,
            places=(tokens % features.shape[1]).masked_fill(tokens == 0, -1),
        )


def _cut(order: Tensor, lengths: Tensor) -> list[Tensor]:
    """Texts, by ascending length, in groups that go through a model together."""
    groups, start = [], 0
    while start < len(order):
        size = max(1, _TOKENS_AT_ONCE // int(lengths[order[start]]))
        size = max(1, _TOKENS_AT_ONCE // int(lengths[order[min(len(order), start + size) - 1]]))
        groups.append(order[start : start + size])
        start += size
    return groups


@final
class _Texts:
    """What a model makes of texts of about one length."""

    def __init__(self, model: Any, x: Tensor, keys: Tensor) -> None:
        q = model.encode(x)
        self.means: Tensor = q.mean
        self.log_vars: Tensor = 2.0 * q.stddev.log()
        self.log_probs: Tensor = model.decode(q.mean).log_prob_tokens(x)
        noise = row_noise(keys, 1, q.mean.shape[-1], dtype=q.mean.dtype)
        self.kl = kl_divergence(q, model.prior(), z=q.rsample(1, noise=noise))
        self._model, self._x, self._keys = model, x, keys

    def bound(self, n_draws: int) -> Tensor:
        """Importance-sampled bound on log p(x), shape (batch,)."""
        noise = row_noise(self._keys, n_draws, self.means.shape[-1], dtype=self.means.dtype)
        found: Tensor = log_mean_exp(log_importance_weights(self._model, self._x, n_draws, noise=noise))
        return found


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What a model makes of rows; one member."""

    distribution: Any
    latents: Tensor
    log_vars: Tensor
    log_likelihood: Tensor
    kl: Tensor
    bound: Callable[[int], Tensor]

    @property
    def mean(self) -> Tensor:
        mean: Tensor = self.distribution.mean
        return mean

    def evidence(self, features: Tensor, known: Tensor, keys: Tensor, residuals: Tensor) -> Evidence:
        """It as evidence, with what the model does not know."""
        return Evidence(
            features=features,
            known=known,
            keys=keys,
            means=self.latents,
            log_vars=self.log_vars,
            residuals=residuals,
            log_likelihood=self.log_likelihood,
            kl=self.kl,
            bound=self.bound,
        )


def _see(model: Any, x: Tensor, keys: Tensor, *, is_point: bool) -> _Seen:
    q = model.encode(x)
    z = q.mean
    p = model.decode(z)
    fit = p.log_prob(x)
    if is_point:
        nothing = torch.zeros_like(fit)
        return _Seen(p, z[None], torch.full_like(z, -math.inf)[None], fit[None], nothing[None], lambda n: fit[None])
    noise = row_noise(keys, 1, z.shape[-1], dtype=z.dtype)
    kl = kl_divergence(q, model.prior(), z=q.rsample(1, noise=noise))

    def bound(n_draws: int) -> Tensor:
        noise = row_noise(keys, n_draws, z.shape[-1], dtype=z.dtype)
        return log_mean_exp(log_importance_weights(model, x, n_draws, noise=noise))[None]

    return _Seen(p, z[None], 2.0 * q.stddev.log()[None], fit[None], kl[None], bound)
