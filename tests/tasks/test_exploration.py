from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.tasks import attribute_direction, decode, edit, interpolate, latent_path, traverse
from tests.evaluation.linear_gaussian import LinearGaussian


@hypothesis.given(seed=st.integers(0, 10**6), dim=st.integers(2, 8), steps=st.integers(2, 12))
def test_spherical_path_turns_evenly_and_changes_norm_linearly(seed: int, dim: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 3, dim, dtype=torch.float64, generator=generator).unbind(0)
    path = latent_path(a, b, steps=steps)
    assert path.shape == (steps, 3, dim)
    assert torch.equal(path[0], a)
    assert torch.equal(path[-1], b)
    t = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    torch.testing.assert_close(path.norm(dim=-1), torch.lerp(a.norm(dim=-1), b.norm(dim=-1), t))
    units = path / path.norm(dim=-1, keepdim=True)
    angles = torch.arccos((units[1:] * units[:-1]).sum(-1).clamp(-1, 1))
    total = torch.arccos((units[0] * units[-1]).sum(-1))
    torch.testing.assert_close(angles, (total / (steps - 1)).expand_as(angles), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spherical_path_between_parallel_opposite_and_zero_vectors(dtype: torch.dtype) -> None:
    a = torch.tensor([[1.0, 2.0, 0.5], [1.0, 2.0, 0.5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]], dtype=dtype)
    b = torch.tensor([[2.0, 4.0, 1.0], [-1.0, -2.0, -0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0, 0]], dtype=dtype)
    path = latent_path(a, b, steps=5)
    assert torch.isfinite(path).all()
    torch.testing.assert_close(path[:, [0, 2, 3, 4]], latent_path(a, b, steps=5, path="linear")[:, [0, 2, 3, 4]])
    # opposite: half a turn on the sphere, not through the middle of it
    torch.testing.assert_close(path[:, 1].norm(dim=-1), a[1].norm().expand(5))
    torch.testing.assert_close((path[2, 1] * a[1]).sum(), torch.zeros((), dtype=dtype), atol=1e-5, rtol=0)


def test_path_in_one_dimension() -> None:
    path = latent_path(torch.tensor([1.0]), torch.tensor([3.0]), steps=3)
    torch.testing.assert_close(path, torch.tensor([[1.0], [2.0], [3.0]]))
    assert torch.isfinite(latent_path(torch.tensor([1.0]), torch.tensor([-3.0]), steps=3)).all()


def test_interpolation_decodes_the_path() -> None:
    model = LinearGaussian((1, 2, 2))
    a, b = torch.randn(2, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind(0)
    frames = interpolate(model, a, b, steps=3, path="linear")
    assert frames.shape == (3, 4, 1, 2, 2)
    torch.testing.assert_close(frames[1], decode(model, (a + b) / 2))
    torch.testing.assert_close(interpolate(model, a, b)[0], decode(model, a))


def test_traversal_sets_one_dimension() -> None:
    model = LinearGaussian(latent_dim=3)
    z = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frames = traverse(model, z, 1, values=[-1.0, 2.0])
    assert frames.shape == (2, 4, 5)
    moved = z.clone()
    moved[:, 1] = 2.0
    torch.testing.assert_close(frames[1], decode(model, moved))
    assert traverse(model, z[0], -1).shape == (7, 5)
    torch.testing.assert_close(traverse(model, z, -2, values=[-1.0]), frames[:1])


def test_edit_moves_by_strength_whatever_the_length_of_the_direction() -> None:
    model = LinearGaussian()
    z = torch.zeros(3, 2, dtype=torch.float64)
    edited = edit(model, z, torch.tensor([0.0, 5.0]), 2.0)
    torch.testing.assert_close(edited, decode(model, torch.tensor([0.0, 2.0]).double().expand(3, 2)))


def planted(n: int = 600, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n, dim, generator=generator) * torch.linspace(0.6, 1.6, dim)
    z[:, -1] *= 1e-3  # a dimension that carries nothing
    direction = torch.randn(dim, generator=generator)
    direction[-1] = 0
    return z, direction / direction.norm()


def test_binary_attribute_recovers_the_planted_direction() -> None:
    z, direction = planted()
    noise = 0.3 * torch.randn(600, generator=torch.Generator().manual_seed(1))
    for y in ((z @ direction + noise) > 0.4, torch.where((z @ direction + noise) > 0.4, 7.0, -2.0)):
        found = attribute_direction(z, y)
        assert found.kind == "binary"
        assert found.metric == "accuracy"
        assert float(found.direction @ direction) > 0.98
        assert float(found.direction.norm()) == pytest.approx(1, abs=1e-5)
        assert 0.85 < found.score < 0.97
        assert found.baseline == pytest.approx(float((y != y.max()).float().mean()))
        assert found.spread == pytest.approx(float((z @ found.direction).std()), rel=0.01)
        assert found.n == 600
        assert found.direction.dtype == z.dtype


def test_numeric_attribute_recovers_the_planted_direction() -> None:
    z, direction = planted()
    noise = torch.randn(600, generator=torch.Generator().manual_seed(1))
    found = attribute_direction(z, -3 * z @ direction + noise + 100)
    assert found.kind == "numeric"
    assert found.metric == "R2"
    assert float(found.direction @ direction) < -0.99
    assert found.score == pytest.approx(0.9, abs=0.03)  # 9 of 10 parts of the variance
    assert found.baseline == 0


def test_score_of_an_attribute_unrelated_to_z_is_that_of_chance() -> None:
    z, _ = planted(400, 30)
    generator = torch.Generator().manual_seed(5)
    binary = attribute_direction(z, torch.rand(400, generator=generator) < 0.5)
    assert abs(binary.score - 0.5) < 0.1
    numeric = attribute_direction(z, torch.randn(400, generator=generator))
    assert numeric.score < 0.05


def test_direction_from_the_smallest_data() -> None:
    z = torch.tensor([[0.0], [0.1], [1.0], [1.1]])
    found = attribute_direction(z, torch.tensor([0, 0, 1, 1]))
    assert found.direction.tolist() == [1.0]
    assert found.score == 1.0
    assert attribute_direction(z, torch.tensor([4.0, 3.0, 2.0, 1.0])).direction.tolist() == [-1.0]


def test_wrong_options_are_named() -> None:
    model = LinearGaussian()
    z = torch.zeros(3, 2, dtype=torch.float64)
    with pytest.raises(InvalidParameterError, match="steps must be an integer of at least 2"):
        latent_path(z, z, steps=1)
    with pytest.raises(InvalidParameterError, match="path must be one of: spherical, linear"):
        latent_path(z, z, path="curved")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="both ends must have one shape"):
        latent_path(z, z[:2])
    with pytest.raises(InvalidParameterError, match=r"dim must be an integer from -2 to 1; got 2. The model has 2"):
        traverse(model, z, 2)
    with pytest.raises(InvalidParameterError, match="values must be a sequence"):
        traverse(model, z, 0, values=[])
    with pytest.raises(InvalidParameterError, match="strength"):
        edit(model, z, torch.ones(2), float("nan"))
    with pytest.raises(InvalidParameterError, match="one number per latent dimension"):
        edit(model, z, torch.ones(3), 1.0)
    with pytest.raises(InvalidParameterError, match="length above zero"):
        edit(model, z, torch.zeros(2), 1.0)


@pytest.mark.parametrize(
    ("z", "y", "message"),
    [
        (torch.zeros(5, 2), torch.zeros(4), "z must have shape"),
        (torch.rand(3, 2), torch.arange(3), "at least 4 labelled rows; got 3"),
        (torch.full((5, 2), torch.nan), torch.arange(5), "must be finite"),
        (torch.rand(5, 2), torch.ones(5), "the attribute is 1 in every row"),
        (torch.rand(5, 2), torch.tensor([0, 0, 0, 0, 3]), "3 occurs once"),
        (torch.ones(5, 2), torch.arange(5), "every latent vector is the same"),
    ],
)
def test_attributes_that_cannot_be_learnt_are_named(z: torch.Tensor, y: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        attribute_direction(z, y)
