"""Settings that make no sense together fail at construction or in fit, with the reason and what to set instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentkit.core.errors import LatentkitError
from tests.estimators.cases import classes, pixels, rows
from tests.estimators.members import MEMBERS

POINT = {"posterior": "point", "objective": "reconstruction"}

#: Member, settings, and the reason and the advice of the message.
NONSENSE: list[tuple[str, dict[str, Any], str, str]] = [
    ("gan", {"posterior": "flow"}, "GAN has no parameter 'posterior'; got posterior='flow'", "VAE, VAEGAN have it"),
    ("gan", {"prior": "vamp"}, "GAN has no parameter 'prior'", "VAE, VAEGAN have it"),
    ("gan", {"ex_post": "mixture"}, "GAN has no parameter 'ex_post'", "have it. Leave it out"),
    ("generator", {"encoder": (8,)}, "Generator has no parameter 'encoder'", "VAE.* have it"),
    ("vae", {"latent_dims": 3}, "VAE has no parameter 'latent_dims'", "Did you mean 'latent_dim'"),
    ("autoencoder", {"beta": 2.0}, "Autoencoder has no parameter 'beta'", "VAE, VAEGAN have it|VAE.* have it"),
    ("gan", {"likelihood": "gaussian"}, "a GAN has no likelihood", "use VAEGAN or VAE"),
    ("gan", {"patience": 5}, "patience=5 waits for an improvement", "set max_epochs or max_time"),
    ("vaegan", {"schedule": "plateau"}, "schedule='plateau' waits for an improvement", "set max_epochs or max_time"),
    ("gan", {"validation_fraction": 0.1}, "has nothing to judge by", "Use 0"),
    ("generator", {"patience": 5}, "patience=5 needs z", "give z"),
    ("generator", {"validation_fraction": 0.1}, "needs z", "Use 0, or give z"),
    ("vae", {"objective": "reconstruction"}, "posterior='diagonal' would keep a spread", "posterior='point' .or Auto"),
    ("vae", {"objective": "reconstruction", "posterior": "flow"}, "posterior='flow' would keep", "objective='elbo'"),
    ("vae", {"posterior": "point"}, "is a point: it has no density", "use posterior='diagonal'"),
    ("vae", {**POINT, "prior": "vamp"}, "nothing would train prior='vamp'", "ex_post='mixture'"),
    ("vae", {**POINT, "kl_warm_up": 0.5}, "has no KL term", "Leave them out"),
    ("vae", {**POINT, "beta": 2.0}, "has no beta", "Use objective='elbo'"),
    ("vae", {"prior": "spherical"}, "divergence between them is infinite", "Use prior='normal'"),
    ("vae", {"posterior": "spherical"}, "divergence between them is infinite", "Use prior='spherical'"),
    ("vae", {"posterior": "flow", "objective": "dip"}, "known for Gaussians", "Use the 'diagonal' or 'full'"),
    ("vae", {"objective": "iwae", "free_bits": 1.0}, "has no free_bits", "Use objective='elbo'"),
    ("vae", {"beta": 0.0, "free_bits": 1.0}, "beta=0 drops the KL term", "Leave one of them out"),
    ("vae", {"free_bits": 1.0, "objective_options": {"capacity": 5.0}}, "both say how large", "Leave one"),
    ("vae", {"objective": "beta_tc", "batch_size": 1}, "leaves nothing to compare", "Use a batch_size of some dozens"),
    ("sparse", {"sparsity": "kl", "top_k": "auto", "batch_size": 1}, "leaves nothing to compare", "batch_size of some"),
    ("vae", {"prior": "vamp", "prior_options": {"n_components": 100}}, "more components than the 43", "components': 4"),
    ("vae", {"normalization": "batch", "batch_size": 1}, "at least 2 rows", "normalization='layer'"),
    ("vae", {"ex_post": "none", "ex_post_options": {"n_components": 3}}, "fits no prior", "Use ex_post='mixture'"),
    ("vae", {"beta": -1.0}, "'beta' .* range .0.0, inf", "Got -1.0"),
    ("autoencoder", {"penalty": "l2", "penalty_weight": -1.0}, "'penalty_weight' .* range .0.0, inf", "Got -1.0"),
    ("autoencoder", {"penalty": "spectral", "normalization": "batch"}, "rescale what penalty='spectral'", "Leave it"),
    ("sparse", {"top_k": 9}, "from 1 to 8; got 9", "A code has 8 numbers"),
    ("denoising", {"corruption": "masking", "corruption_level": 1.0}, "nothing of an example", "Use a share below 1"),
    ("hierarchical", {"objective": "factor"}, "objective must be one of: elbo, iwae", "got 'factor'"),
    ("hierarchical", {"objective": "piwae"}, "objective must be one of: elbo", "Did you mean 'iwae'"),
    ("vqvae", {"n_codes": 4096}, "larger than the data", "Use n_codes=8, or more data"),
    ("vqvae", {"prior_width": 18}, "prior_width must be a multiple of 4", "Use prior_width=20"),
    ("vqvae", {"quantizer": "gumbel", "commitment": 0.1}, "has no place with quantizer='gumbel'", "quantizer='ema'"),
    ("vqvae", {"latent_dim": 5}, "multiple of code_dim=4", "Use latent_dim=4"),
]


@pytest.mark.parametrize(
    ("name", "settings", "reason", "advice"),
    NONSENSE,
    ids=[f"{name}-{'-'.join(f'{key}={value}' for key, value in settings.items())}" for name, settings, *_ in NONSENSE],
)
def test_nonsense_is_refused_with_a_reason_and_advice(
    name: str, settings: dict[str, Any], reason: str, advice: str
) -> None:
    with pytest.raises(LatentkitError, match=f"(?s){reason}.*({advice})"):
        MEMBERS[name].make(name, **{"max_epochs": 1, **settings}).fit(rows())


def test_an_unknown_parameter_is_the_error_that_python_raises_for_it() -> None:
    with pytest.raises(TypeError, match="no parameter 'posterior'"):
        MEMBERS["gan"].make("gan", posterior="flow")
    with pytest.raises(ValueError, match="no parameter 'posterior'"):
        MEMBERS["gan"].make("gan", posterior="flow")


def test_a_grid_of_latents_and_a_mixture_are_refused() -> None:
    with pytest.raises(LatentkitError, match="at most; this ladder has .* Use ex_post='none'"):
        MEMBERS["hierarchical"].make(
            "hierarchical", latent_dim=8, decoder="conv", channels=(6, 4), latent_layout="grid"
        ).fit(pixels(20, 16, 16))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("vae", {"condition": "zebra"}, "'zebra' is no class .* it knows: cat, dog"),
        ("vae", {"label": "cat"}, "fitted without labels"),
        ("vae", {"guidance": 2.0}, "needs a condition to be guided by"),
        ("vae", {"temperature": -1.0}, r"temperature must be a float in \[0, inf\)"),
        ("gan", {"prior": "mixture"}, "a GAN draws z from the prior that it was trained with.* Leave prior out"),
        ("vqvae", {"prior": "mixture"}, "codes have no prior=.mixture."),
        ("autoencoder", {"prior": "model"}, "no prior of training"),
    ],
)
def test_samples_that_cannot_be_are_refused(name: str, options: dict[str, Any], reason: str) -> None:
    model = MEMBERS[name].make(name, max_epochs=1).fit(rows(), condition=classes())
    with pytest.raises(LatentkitError, match=reason):
        model.sample(2, **options)


def test_latent_vectors_of_another_width_are_refused() -> None:
    model = MEMBERS["generator"].make("generator", latent_dim="auto", max_epochs=1).fit(rows(), z=rows()[:, :2])
    with pytest.raises(LatentkitError, match=r"shape \(n, 2\); got shape \(3, 4\)"):
        model.inverse_transform(np.zeros((3, 4)))
