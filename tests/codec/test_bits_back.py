"""Rows through a latent variable: they come back, cost what the bound says, and damage is noticed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from latentkit.codec import (
    AnsStack,
    BitsBackCoder,
    ExactNetwork,
    FrequencyTables,
    GaussianLatents,
    Span,
    bits_back,
    exact_layer,
    exact_perceptron,
)
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError
from latentkit.core.seeds import isolated_rng

N_NUMBERS, N_LATENTS, N_LEVELS = 30, 5, 16
LATENTS = GaussianLatents.of(step=1 / 16, means=Span(-64, 63), log_stddevs=np.linspace(-3.0, 0.0, N_LEVELS))
#: One table for each sixteenth of a logit.
COINS = FrequencyTables.of(
    np.stack([1 / (1 + np.exp(np.arange(-128, 128) / 16)), 1 / (1 + np.exp(-np.arange(-128, 128) / 16))], 1), 16
)


def rows(n: int, seed: int = 0) -> np.ndarray:
    """Bits that hang together by three causes."""
    random = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(3, N_NUMBERS)) * 2
    logits = random.normal(size=(n, 3)) @ loadings
    return (random.random((n, N_NUMBERS)) < 1 / (1 + np.exp(-logits))).astype(np.int64)


@pytest.fixture(scope="module")
def networks() -> tuple[ExactNetwork, ExactNetwork]:
    """A VAE of these rows, trained for a moment, in whole numbers."""
    x = torch.from_numpy(rows(2000, seed=1)).float()
    with isolated_rng(0):
        inner, means, levels = nn.Linear(N_NUMBERS, 32), nn.Linear(32, N_LATENTS), nn.Linear(32, N_LATENTS)
        outer, logits = nn.Linear(N_LATENTS, 32), nn.Linear(32, N_NUMBERS)
        optimizer = torch.optim.Adam(
            [p for part in (inner, means, levels, outer, logits) for p in part.parameters()], 5e-3
        )
        for _ in range(250):
            h = functional.relu(inner(x))
            mu, log_sigma = means(h), levels(h).clamp(-3, 0)
            z = mu + log_sigma.exp() * torch.randn_like(mu)
            kl = (-log_sigma + 0.5 * ((2 * log_sigma).exp() + mu.square() - 1)).sum(1)
            cost = functional.binary_cross_entropy_with_logits(
                logits(functional.relu(outer(z))), x, reduction="none"
            ).sum(1)
            optimizer.zero_grad()
            (cost + kl).mean().backward()
            optimizer.step()
        z = (z.detach() * 16).round().clamp(LATENTS.span.low, LATENTS.span.high)
    # means in sixteenths, levels in fifths from -3 on: one layer of both kinds of outputs
    joint = nn.Linear(32, 2 * N_LATENTS)
    joint.weight.data = torch.cat([means.weight.data * 16, levels.weight.data * 5])
    joint.bias.data = torch.cat([means.bias.data * 16, (levels.bias.data + 3) * 5])
    encoder = exact_perceptron(
        [inner, joint],
        functional.relu,
        x,
        input_step=1,
        inputs=Span(0, 1),
        output_step=1,
        outputs=Span(-64, 63),
    )
    logits.weight.data, logits.bias.data = logits.weight.data * 16, logits.bias.data * 16 + 128
    decoder = exact_perceptron(
        [outer, logits],
        functional.relu,
        z,
        input_step=1 / 16,
        inputs=LATENTS.span,
        output_step=1,
        outputs=Span(0, 255),
    )
    return encoder, decoder


def coder(networks: tuple[ExactNetwork, ExactNetwork], n_lanes: int = 16) -> BitsBackCoder:
    return BitsBackCoder(*networks, LATENTS, COINS, n_lanes=n_lanes)


@pytest.mark.parametrize("n_lanes", [1, 3, 8, 64])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 300])
def test_rows_come_back(networks, n: int, n_lanes: int) -> None:
    x = rows(n)
    content = coder(networks, n_lanes).encode(x)
    assert np.array_equal(coder(networks, n_lanes).decode(content, n), x)
    assert content == coder(networks, n_lanes).encode(x)


@pytest.mark.parametrize("kind", ["noise", "zeros", "ones", "one row"])
def test_rows_that_the_model_did_not_expect_come_back_too(networks, kind: str) -> None:
    random = np.random.default_rng(0)
    shape = (300, N_NUMBERS)
    x = {
        "noise": random.integers(0, 2, shape),
        "zeros": np.zeros(shape, np.int64),
        "ones": np.ones(shape, np.int64),
        "one row": np.repeat(rows(1), 300, 0),
    }[kind]
    assert np.array_equal(coder(networks).decode(coder(networks).encode(x), 300), x)


def test_the_cost_is_the_bound_of_the_model(networks) -> None:
    """Means of draws of z, by tables alone: -log p(x | z) - log p(z) + log q(z | x); and the lanes."""
    encoder, decoder = networks
    x = rows(4000)
    given = encoder.exactly(x)
    mu, levels = given[:, :N_LATENTS].clip(-64, 63), given[:, N_LATENTS:].clip(0, N_LEVELS - 1)
    costs = []
    for seed in range(3):
        slots = np.random.default_rng(seed).integers(0, 1 << 24, mu.shape)
        offsets = LATENTS.posteriors.symbols(levels, slots)
        z = mu + offsets - LATENTS.reach
        costs.append(
            COINS.bits(decoder.exactly(z), x)
            + LATENTS.prior.bits(np.zeros_like(z), z - LATENTS.span.low)
            - LATENTS.posteriors.bits(levels, offsets)
        )
    bound = float(np.mean(costs))
    for n_lanes in (4, 64):
        bits = 8 * len(coder(networks, n_lanes).encode(x))
        assert 0.992 * bound < bits - 38 * n_lanes < 1.008 * bound
    shares = x.mean(0)
    alone = -4000 * float((shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares)).sum())
    assert bound < 0.85 * alone, "each number by itself takes more"


@settings(max_examples=40)
@given(data=st.data())
def test_damage_is_noticed_or_gives_other_rows_and_nothing_else(networks, data) -> None:
    """Checksums come first; without one a change ends in a named error or in rows, never in a crash."""
    x = rows(60)
    content = bytearray(coder(networks).encode(x))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    content = content[: data.draw(st.sampled_from([len(content), len(content) - 4, place]))]
    try:
        found = coder(networks).decode(bytes(content), 60)
    except DamagedArchiveError:
        return
    assert found.shape == x.shape


def test_most_damage_is_noticed_by_what_is_left(networks) -> None:
    content = coder(networks).encode(rows(200))
    for place in range(40, len(content), 97):
        other = bytearray(content)
        other[place] ^= 16
        with pytest.raises(DamagedArchiveError):
            coder(networks).decode(bytes(other), 200)
    for n in (0, 199, 201, 1 << 40):
        with pytest.raises(DamagedArchiveError, match="its rounds are not of"):
            coder(networks).decode(content, n)


def test_more_on_the_stack_than_was_written_is_noticed(networks) -> None:
    x = rows(60)
    content = coder(networks).encode(x)
    stack = AnsStack.from_bytes(content[bits_back._read(content, 60, 16)[1] :], 16)
    heads = len(content) - 4 * stack.n_words
    with pytest.raises(DamagedArchiveError, match="what is left after the last row"):
        coder(networks).decode(content[:heads] + b"more" + content[heads:], 60)


def test_more_rows_than_lanes_are_no_round(networks) -> None:
    content = coder(networks, 9).encode(rows(8))
    assert coder(networks, 9).decode(content, 8).shape == (8, N_NUMBERS)
    with pytest.raises(DamagedArchiveError, match="its rounds are not of 8 rows in 7 lanes"):
        coder(networks, 7).decode(content, 8)


def test_networks_are_proven_before_they_are_used(networks, monkeypatch: pytest.MonkeyPatch) -> None:
    proven: list[ExactNetwork] = []

    def note(network: ExactNetwork) -> None:
        proven.append(network)

    monkeypatch.setattr(ExactNetwork, "verify", note)
    content = coder(networks).encode(rows(3))
    assert proven == [*networks]
    coder(networks).decode(content, 3)
    assert proven == [*networks, *networks]


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"\x80" * 20, b"\x02", b"\x10\x01", b"\x00", b"\x10\x00\x00", b"\x00" * 400]
)
def test_bytes_that_are_no_code_are_refused(networks, content: bytes) -> None:
    with pytest.raises(DamagedArchiveError):
        coder(networks).decode(content, 8)


def test_rounds_are_written_in_few_bytes() -> None:
    rounds = [bits_back._Round(8, gives_back=False), *[bits_back._Round(200, gives_back=True)] * 300]
    content = bits_back._written(rounds)
    assert content.hex() == "1001" + "9103" + "ac02" + "00"
    assert bits_back._read(content + b"rest", 60_008, 200) == (rounds, 7)


@pytest.mark.parametrize("x", [rows(3) * 2, rows(3) - 1, rows(3)[:, 1:], rows(3)[0]], ids=["2", "-1", "narrow", "flat"])
def test_rows_of_another_kind_are_refused(networks, x: np.ndarray) -> None:
    with pytest.raises(InvalidParameterError, match="rows must be 30 whole numbers from 0 to 1; got shape"):
        coder(networks).encode(x)


def test_parts_that_do_not_fit_are_refused(networks) -> None:
    encoder, decoder = networks
    few = FrequencyTables(COINS.frequencies[:200], 16)
    narrow = exact_layer(
        torch.ones(30, 5), None, input_step=1, inputs=Span(-64, 63), output_step=1, outputs=Span(0, 99)
    )
    cases = [
        ((encoder, decoder, LATENTS, few), "tables that there are"),
        ((encoder, ExactNetwork([narrow]), LATENTS, COINS), "must take all latent variables"),
        ((decoder, decoder, LATENTS, COINS), "two numbers for each latent variable|a table for each number"),
        ((encoder, encoder, LATENTS, COINS), "two numbers for each latent variable"),
    ]
    for parts, message in cases:
        with pytest.raises(InvalidParameterError, match=message):
            BitsBackCoder(*parts)


def test_tables_of_latents_are_those_of_the_normal_distribution() -> None:
    assert LATENTS.reach == 128
    shares = LATENTS.prior.frequencies[0] / (1 << 24)
    z = np.arange(LATENTS.span.low, LATENTS.span.high + 1) / 16
    assert (shares * z).sum() == pytest.approx(0, abs=0.04)
    assert (shares * z * z).sum() == pytest.approx(1, abs=0.01)
    for level in (0, N_LEVELS - 1):
        shares = LATENTS.posteriors.frequencies[level] / (1 << 24)
        sigma = np.exp(np.linspace(-3, 0, N_LEVELS)[level])
        offsets = np.arange(-128, 129) / 16
        assert (shares * offsets**2).sum() == pytest.approx(sigma**2 + 1 / 16**2 / 12, rel=1e-3)
    assert dataclasses.is_dataclass(LATENTS)
