"""Which posteriors and priors live on the same space."""

from __future__ import annotations

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions.posterior import posteriors
from latentkit.distributions.prior import priors

__all__ = ["check_supports"]

_SPACES = {"reals": "all of R^latent_dim", "sphere": "the unit hypersphere"}


def check_supports(posterior: str, prior: str) -> None:
    """Check that the prior has a density where the posterior's draws lie.

    Args:
        posterior: Name of the family of q(z given x).
        prior: Name of the family of p(z).

    Raises:
        InvalidParameterError: If it has not, or a name is unknown.

    Example:
        >>> check_supports("diagonal", "normal")
        >>> check_supports("spherical", "normal")
        Traceback (most recent call last):
            ...
        latentkit.core.errors.InvalidParameterError: posterior='spherical' draws from the unit hypersphere, but ...
    """
    drawn, known = posteriors[posterior].support, priors[prior].support
    if known in (drawn, "posterior"):
        return
    fitting_priors = [name for name in priors if priors[name].support == drawn]
    fitting_posteriors = [name for name in posteriors if posteriors[name].support == known]
    raise InvalidParameterError(
        f"posterior={posterior!r} draws from {_SPACES[drawn]}, but prior={prior!r} is a density on {_SPACES[known]}: "
        f"the divergence between them is infinite. Use prior={fitting_priors[0]!r}, or "
        f"posterior={fitting_posteriors[0]!r}."
    )
