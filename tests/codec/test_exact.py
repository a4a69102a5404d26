"""Networks of whole numbers: one output whatever the threads, batches, kernels and types; the bound; the cost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from latentkit.codec import ExactLayer, ExactNetwork, exact_arithmetic
from latentkit.codec.exact import EXACT_BELOW, Span, exact_layer, exact_perceptron
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.seeds import generator, isolated_rng

BYTES, BITS = Span(0, 255), Span(0, 1)
STEP = 1 / 1024


def perceptron(*sizes: int) -> list[nn.Linear]:
    with isolated_rng(0):
        return [nn.Linear(n, m) for n, m in itertools.pairwise(sizes)]


def images(n: int = 300, width: int = 196) -> Tensor:
    return torch.randint(0, 256, (n, width), generator=generator(0, "images")).float()


def network(activation=functional.relu, **settings) -> ExactNetwork:
    options = {"input_step": 1 / 255, "inputs": BYTES, "output_step": STEP, "outputs": Span(-4096, 4095), **settings}
    return exact_perceptron(perceptron(196, 100, 80, 20), activation, images(), **options)


@pytest.fixture
def settings_kept() -> Iterator[None]:
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(before[0])
    torch.set_float32_matmul_precision(before[1])


@pytest.mark.usefixtures("settings_kept")
@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
@pytest.mark.parametrize("activation", [functional.relu, functional.silu], ids=["relu", "silu"])
def test_one_output_in_every_setting(activation) -> None:
    """Of threads, batches, kernels and types; it is that of whole numbers of 64 bits."""
    exact = network(activation)
    x = torch.cat([images(), torch.from_numpy(exact.layers[0].probes()).float()])
    expected = exact.exactly(x.long().numpy())
    assert exact.bound < EXACT_BELOW
    assert len(np.unique(expected)) > 100
    settings = itertools.product(
        (1, 2), (1, 3, 64, 512), (True, False), (True, False), (torch.float32, torch.float64), ("highest", "medium")
    )
    for n_threads, batch, has_mkldnn, has_nnpack, dtype, precision in settings:
        torch.set_num_threads(n_threads)
        torch.set_float32_matmul_precision(precision)
        rows = x[-80:].to(dtype) if batch < 64 else x.to(dtype)
        with (
            torch.backends.mkldnn.flags(enabled=has_mkldnn),
            torch.backends.nnpack.flags(enabled=has_nnpack),
            exact_arithmetic(),
        ):
            found = torch.cat([exact(part) for part in rows.split(batch)]).double().numpy()
        assert np.array_equal(found, expected[-len(found) :])


@given(
    n=st.integers(1, 40),
    most=st.integers(1, 300),
    shift=st.integers(-8, 12),
    seed=st.integers(0, 1000),
    low=st.integers(-300, 0),
)
def test_any_whole_numbers_within_the_bound_are_exact(n: int, most: int, shift: int, seed: int, low: int) -> None:
    random = np.random.default_rng(seed)
    weight, bias = random.integers(-most, most + 1, (5, n)), random.integers(-(1 << 20), 1 << 20, 5)
    layer = ExactLayer(weight, bias, np.full(5, shift), inputs=Span(low, 300), outputs=Span(-4000, 4000))
    x = np.concatenate([random.integers(low, 301, (20, n)), layer.probes()])
    with exact_arithmetic():
        assert np.array_equal(layer(torch.from_numpy(x).float()).long().numpy(), layer.exactly(x))
    floors = np.floor((x @ weight.T + bias) * 2.0**-shift)
    assert np.array_equal(layer.exactly(x), floors.clip(-4000, 4000))


def test_the_bound_is_that_of_the_worst_input_and_no_more_is_allowed() -> None:
    just = {"bias": [0], "shifts": [0], "inputs": Span(-4096, 4095), "outputs": Span(-100, 100)}
    layer = ExactLayer([[2047, -2048]], **just)
    assert layer.bound == 4096 * 4095 < EXACT_BELOW
    assert np.abs(layer.probes() @ layer.integers[0].T).max() > 0.999 * layer.bound
    with pytest.raises(InvalidParameterError, match="sums reach 16,777,216, and are exact below 16,777,216"):
        ExactLayer([[2048, -2048]], **just)
    with pytest.raises(InvalidParameterError, match="sums reach 16,777,216"):
        ExactLayer([[2047, -2048]], **{**just, "bias": [-4096]})


@pytest.mark.parametrize("activation", [functional.relu, functional.silu, torch.tanh, functional.gelu])
def test_it_stands_for_the_network(activation) -> None:
    linears, x = perceptron(196, 100, 80, 20), images()

    def real(x: Tensor) -> Tensor:
        for linear in linears[:-1]:
            x = activation(linear(x))
        return linears[-1](x)

    with torch.no_grad():
        expected = real(x / 255)
    errors = {}
    for bits in (4, 8):
        given = network(activation, weight_bits=bits, activation_bits=bits)(x) * STEP
        errors[bits] = float((given - expected).square().mean().sqrt() / expected.std())
    assert errors[8] < 0.05
    assert errors[8] < 0.2 * errors[4]


def test_rows_take_as_many_bits_as_exact_sums_allow() -> None:
    """Wide layers of large inputs have finer weights than coarse ones, and the bound holds in each row."""
    weight = torch.randn(6, 500, generator=generator(0, "w")) * torch.logspace(-3, 3, 6)[:, None]
    layer = exact_layer(
        weight, None, input_step=0.01, inputs=Span(0, 4095), output_step=0.1, outputs=Span(-9999, 9999), weight_bits=16
    )
    assert EXACT_BELOW / 4 < layer.bound < EXACT_BELOW
    sizes = np.abs(layer.integers[0]).sum(1)
    assert sizes.min() > 0.3 * sizes.max(), "a row's size does not matter"
    silent = exact_layer(torch.zeros(2, 3), None, input_step=1, inputs=BITS, output_step=1, outputs=BITS)
    assert silent(torch.ones(1, 3)).tolist() == [[0.0, 0.0]]
    with pytest.raises(InvalidParameterError, match="leave no room for weights"):
        exact_layer(torch.ones(1, 5000), None, input_step=1, inputs=Span(0, 65535), output_step=1, outputs=BITS)


def test_steps_are_rounded_to_the_nearest() -> None:
    layer = exact_layer(
        torch.tensor([[0.5]]),
        torch.tensor([0.26]),
        input_step=1,
        inputs=Span(0, 9),
        output_step=0.5,
        outputs=Span(-99, 99),
    )
    assert layer(torch.arange(4.0)[:, None]).flatten().tolist() == [1.0, 2.0, 3.0, 4.0]  # 0.52, 1.52, ...


def test_a_machine_that_is_not_exact_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = network()
    exact.verify()
    linear = functional.linear

    def short(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear(x.bfloat16(), weight.bfloat16(), bias.bfloat16()).float()

    monkeypatch.setattr(functional, "linear", short)
    with pytest.raises(UnsupportedOperationError, match="not exact on this machine.*Use another device"):
        exact.verify()


def test_autocast_and_gradients_are_left_outside() -> None:
    exact, x = network(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.equal(exact(x), exact(x.double()).float())
        with exact_arithmetic():
            found = exact(x)
    assert torch.equal(found, exact(x.double()).float())
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias": [1, 2]}, "1 rows of weights, 2 of bias and 1 shifts do not agree"),
        ({"shifts": [31]}, "shifts lie between -30 and 30"),
        ({"shifts": [-(1 << 63)]}, "shifts lie between -30 and 30"),
        ({"outputs": Span(0, 1 << 70)}, "outputs lie from a number to one that is no smaller"),
        ({"outputs": Span(1, 0)}, "outputs lie from a number to one that is no smaller"),
        ({"inputs": Span(-(1 << 70), 0)}, "inputs lie from a number to one that is no smaller"),
        ({"weight": [[0.5, 1.0]]}, "weight must be whole numbers in 2 dimensions"),
        ({"weight": [[]]}, "weight must be whole numbers"),
        ({"table": np.arange(5)}, "5 entries are no table"),
        ({"weight": [[1 << 62, 1 << 62]]}, "sums reach"),  # which wrap around in 64 bits
    ],
)
def test_layers_that_cannot_be_are_refused(settings: dict, message: str) -> None:
    spans = {"inputs": BYTES, "outputs": BYTES}
    options = {"weight": [[1, 2]], "bias": [0], "shifts": [0], **spans, **settings}
    with pytest.raises(InvalidParameterError, match=message):
        ExactLayer(options.pop("weight"), options.pop("bias"), options.pop("shifts"), **options)


def test_layers_that_do_not_follow_each_other_are_refused() -> None:
    first = ExactLayer([[1, 2]], [0], [0], inputs=BITS, outputs=BYTES)
    second = ExactLayer([[1]], [0], [0], inputs=Span(0, 254), outputs=BYTES)
    with pytest.raises(
        InvalidParameterError, match="layer 1 gives 1 numbers from 0 to 255, and the next takes 1 from 0 to 254"
    ):
        ExactNetwork([first, second])
    with pytest.raises(InvalidParameterError, match="at least one layer"):
        ExactNetwork([])
    halved = ExactLayer([[1, 2]], [0], [0], inputs=BITS, outputs=BYTES, table=np.arange(256) // 2)
    assert ExactNetwork([halved, second]).bound == 254
