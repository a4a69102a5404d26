from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from latentkit.core.errors import DataError, InvalidParameterError, UnreadableDataError
from latentkit.core.seeds import isolated_rng
from latentkit.evaluation import (
    ClassifierFeatures,
    FeatureMap,
    InceptionFeatures,
    NetworkFeatures,
    PrincipalComponentFeatures,
    RandomFeatures,
    RowFeatures,
    frechet_distance,
    random_convolution_features,
)
from latentkit.evaluation.features import fingerprint


def images(n: int = 60, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 10, 12, generator=torch.Generator().manual_seed(seed))


def small_network(seed: int) -> nn.Module:
    with isolated_rng(seed):
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(240, 4))


MAPS = {
    "rows": RowFeatures,
    "random": lambda: RandomFeatures(n_features=16),
    "pca": lambda: PrincipalComponentFeatures(images(), n_features=6),
    "network": lambda: NetworkFeatures(small_network(0)),
    "classifier": lambda: ClassifierFeatures(images(), torch.arange(60) % 3, n_features=5, n_epochs=1),
}


@pytest.mark.parametrize("make", MAPS.values(), ids=MAPS)
def test_a_map_is_repeatable_row_by_row_and_leaves_the_random_state_alone(make) -> None:
    state = torch.random.get_rng_state()
    features: FeatureMap = make()
    x = images(600, seed=1)
    found = features(x)
    assert found.shape[0] == 600
    assert found.ndim == 2
    assert not found.requires_grad
    assert torch.equal(found, make()(x))
    torch.testing.assert_close(features(x[598:]), found[598:])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert features.description == make().description


def test_names_are_what_the_distance_is() -> None:
    assert {name: make().frechet_name for name, make in MAPS.items()} == {
        "rows": "Frechet distance of rows",
        "random": "Frechet distance of random features",
        "pca": "Frechet distance of principal components",
        "network": "Frechet distance of Sequential features",
        "classifier": "FCD",
    }
    assert RandomFeatures(seed=3).description == "64 features of a random convolutional network (seed 3)"
    assert RowFeatures().description == "the rows as they are"


def test_principal_components_keep_the_distances_that_there_are() -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=source) @ torch.randn(2, 9, generator=source) + 3.0
    features = PrincipalComponentFeatures(x, n_features=2)
    torch.testing.assert_close(torch.cdist(features(x), features(x)), torch.cdist(x, x), atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(features(x).mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    assert features.description == "2 principal components of 50 training rows (100% of their variance)"
    assert PrincipalComponentFeatures(x)(x).shape == (50, 9)
    with pytest.raises(InvalidParameterError, match="at least 2 rows"):
        PrincipalComponentFeatures(x[:1])
    with pytest.raises(InvalidParameterError, match="n_features"):
        PrincipalComponentFeatures(x, n_features=0)
    with pytest.raises(InvalidParameterError, match="rows of 9 features; got rows of 8"):
        features(x[:, :8])


def test_weights_come_from_a_file_that_executes_nothing(tmp_path: Path) -> None:
    trained, path = small_network(1), tmp_path / "w.safetensors"
    save_file(trained.state_dict(), path)
    features = NetworkFeatures(small_network(0), path, name="own net", prepare=lambda x: x * 2)
    torch.testing.assert_close(features(images(5)), trained.eval()(images(5) * 2).detach())
    assert features.frechet_name == "Frechet distance of own net features"
    assert "weights w.safetensors, sha256 " in features.description
    assert NetworkFeatures(trained).description == f"features of Sequential (weights {fingerprint(trained)})"
    assert fingerprint(trained) != fingerprint(small_network(0))
    with pytest.raises(InvalidParameterError, match="at least 1 example"):
        features(images()[:0])


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataError, match="weights_only=True"):
        NetworkFeatures(small_network(0), tmp_path / "missing.safetensors")
    torch.save(small_network(0).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UnreadableDataError, match="may run code"):
        NetworkFeatures(small_network(0), tmp_path / "w.pt")
    save_file({"other": torch.zeros(1)}, tmp_path / "o.safetensors")
    with pytest.raises(DataError, match="do not fit Sequential"):
        NetworkFeatures(small_network(0), tmp_path / "o.safetensors")


class Inception(nn.Module):
    """The first and the last layer of the real one."""

    def __init__(self, n_classes: int = 1008) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = nn.ModuleDict({"conv": nn.Conv2d(3, 32, 3, stride=2, bias=False)})
        self.fc = nn.Linear(2048, n_classes)
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        h = self.Conv2d_1a_3x3["conv"](x).mean((2, 3))
        return self.fc(h.repeat(1, 64))


def test_fid_is_the_name_with_the_weights_of_2015_alone(tmp_path: Path) -> None:
    save_file(Inception().state_dict(), tmp_path / "inception.safetensors")
    network = Inception()
    features = InceptionFeatures(network, tmp_path / "inception.safetensors")
    assert features.frechet_name == "FID"
    assert "sha256" in features.description
    found = features(torch.full((2, 1, 8, 8), 0.75))
    assert found.shape == (2, 2048)
    assert network.seen is not None
    torch.testing.assert_close(network.seen, torch.full((2, 3, 299, 299), 0.5))
    with pytest.raises(InvalidParameterError, match="1 or 3 channels"):
        features(torch.zeros(2, 2, 8, 8))
    save_file(Inception(1000).state_dict(), tmp_path / "imagenet.safetensors")
    with pytest.raises(DataError, match=r"does not hold the Inception weights of 2015.*not called FID"):
        InceptionFeatures(Inception(1000), tmp_path / "imagenet.safetensors")


def test_random_features_are_the_same_each_time_and_tell_images_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(600, 1, 1, 1, generator=generator).expand(-1, 1, 12, 12)
    noisy = torch.rand(600, 1, 12, 12, generator=generator)
    features = random_convolution_features(noisy)
    assert features.shape == (600, 64)
    assert torch.equal(features, random_convolution_features(noisy))
    torch.testing.assert_close(features[599:], random_convolution_features(noisy[599:]))
    assert not torch.equal(features, random_convolution_features(noisy, seed=1))
    floor = frechet_distance(features[:300], features[300:])
    assert frechet_distance(features[:300], random_convolution_features(smooth)[:300]) > 20 * floor


def test_random_features_name_wrong_input() -> None:
    with pytest.raises(InvalidParameterError, match="Rows of a table need no feature map"):
        random_convolution_features(torch.zeros(3, 2))
    with pytest.raises(InvalidParameterError, match="even"):
        random_convolution_features(torch.zeros(3, 1, 8, 8), n_features=7)
    with pytest.raises(InvalidParameterError, match="n_features"):
        random_convolution_features(torch.zeros(3, 1, 8, 8), n_features=0)
