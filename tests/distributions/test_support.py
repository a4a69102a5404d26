"""Posteriors and priors that live on different spaces do not go together."""

from __future__ import annotations

import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import check_supports, posteriors, priors


def test_every_pair_goes_together_or_is_refused() -> None:
    for posterior in posteriors:
        for prior in priors:
            fits = priors[prior].support in (posteriors[posterior].support, "posterior")
            assert fits == ((posterior == "spherical") == (prior == "spherical") or prior == "vamp")
            if fits:
                check_supports(posterior, prior)
            else:
                with pytest.raises(InvalidParameterError, match="the divergence between them is infinite"):
                    check_supports(posterior, prior)


@pytest.mark.parametrize(
    ("posterior", "prior", "words"),
    [
        (
            "spherical",
            "flow",
            r"hypersphere, but prior='flow' is a density on all.* Use prior='spherical', or post.*'di",
        ),
        (
            "diagonal",
            "spherical",
            r"all of R.latent_dim, but prior='spherical' .*Use prior='normal', or .*='spherical'",
        ),
        ("diagnal", "normal", "unknown posterior 'diagnal'.* Did you mean 'diagonal'"),
        ("diagonal", "norml", "unknown prior 'norml'.* Did you mean 'normal'"),
    ],
)
def test_the_message_names_what_would_fit(posterior, prior, words) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        check_supports(posterior, prior)
