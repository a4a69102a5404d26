"""Decoders of latent vectors that come from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from latentkit.core.errors import UnsupportedOperationError
from latentkit.models import GeneratorSpecification, specification_from_dict


def specification(**options: Any) -> GeneratorSpecification:
    torch.manual_seed(0)
    return GeneratorSpecification(
        **{
            "event_shape": (6,),
            "latent_dim": 3,
            "decoder": {"network": "mlp", "widths": [8]},
            "latent_mean": [0.0] * 3,
            "latent_stddev": [1.0] * 3,
            **options,
        }
    )


def test_learning_starts_from_whitened_principal_components() -> None:
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 3.0, 2.0, 0.3, 0.2, 0.1])
    model = specification().build()
    model.initialise_output(x)
    start = model.start(x).numpy()
    expected = PCA(3, whiten=True).fit_transform(x.numpy())
    np.testing.assert_allclose(np.abs(start), np.abs(expected), atol=0.02)
    np.testing.assert_allclose(start.std(0), 1.0, atol=1e-3)


@pytest.mark.parametrize("x", [torch.zeros(10, 6), torch.randn(2, 6), torch.arange(10.0)[:, None].expand(10, 6)])
def test_directions_that_the_data_do_not_have_start_at_zero(x: torch.Tensor) -> None:
    model = specification().build()
    model.initialise_output(x)
    start = model.start(x)
    assert torch.isfinite(start).all()
    assert int((start.abs().amax(0) > 1e-6).sum()) <= int(torch.linalg.matrix_rank(x - x.mean(0)))


def test_given_vectors_are_standardised_in_front_of_the_decoder() -> None:
    mean, stddev = [100.0, 0.0, -5.0], [10.0, 1.0, 0.1]
    plain, scaled = specification().build(), specification(latent_mean=mean, latent_stddev=stddev).build()
    scaled.load_state_dict(plain.state_dict())
    z = torch.randn(4, 3)
    wide = z * torch.tensor(stddev) + torch.tensor(mean)
    torch.testing.assert_close(scaled.decode(wide).mean, plain.decode(z).mean, atol=1e-4, rtol=1e-4)
    prior = scaled.prior()
    assert prior.mean.tolist() == mean
    draws = prior.sample(5000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws.std(0), torch.tensor(stddev), rtol=0.05, atol=0)


def test_it_has_no_encoder_and_takes_a_condition_only_where_it_has_a_place() -> None:
    with pytest.raises(UnsupportedOperationError, match="no encoder.*Autoencoder"):
        specification().build().encode(torch.zeros(2, 6))
    with pytest.raises(UnsupportedOperationError, match="fitted without conditions"):
        specification().build().given(torch.zeros(1, 2))
    model, z = specification(condition_dim=2).build(), torch.zeros(2, 3)
    one, other = model.given(torch.tensor([[1.0, 0.0]])), model.given(torch.tensor([[0.0, 1.0]]))
    assert not torch.allclose(one.decode(z).mean, other.decode(z).mean)


def test_a_specification_survives_its_dictionary() -> None:
    given = specification(latent_mean=[1.5, 2.5, 3.5])
    assert specification_from_dict(given.to_dict()) == given
