"""Rows through latent variables: they come back, cost what the bound says, and damage is noticed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentkit.codec import AnsStack, CoderState, ExactNetwork, coder_from_state, exact_layer
from latentkit.codec.bits_back import BitsBackCoder, LatentChain
from latentkit.codec.bits_back import coder as coder_module
from latentkit.codec.bits_back.rounds import read, written
from latentkit.codec.exact import Span
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, UnfitDataError
from tests.codec.bits_back.models import N_NUMBERS, rows

ALPHABET = b"\x00\xff"


def block(n: int, seed: int = 0) -> bytes:
    return (rows(n, seed) * 255).tobytes()


@pytest.mark.parametrize("n", [1, 2, 7, 40, pytest.param(500, marks=pytest.mark.slow)])
def test_rows_come_back(coder: BitsBackCoder, n: int) -> None:
    content = coder.encode(block(n), n)
    assert coder.decode(content, n, n * N_NUMBERS) == block(n)
    again = coder_from_state(CoderState.from_bytes(coder.state().to_bytes()))
    assert again.encode(block(n), n) == content
    assert again.decode(content, n, n * N_NUMBERS) == block(n)
    assert again.state().fingerprint == coder.state().fingerprint


def test_eight_bytes_in_front_of_rows_are_kept(coder: BitsBackCoder) -> None:
    """Those that tell the size of images; they stand in the payload as they are."""
    told, n = b"\x05\0\0\0\x06\0\0\0", 40
    content = coder.encode(told + block(n), n)
    assert content == told + coder.encode(block(n), n)
    assert coder.decode(content, n, 8 + n * N_NUMBERS) == told + block(n)
    with pytest.raises(DamagedArchiveError):
        coder.decode(content[:5], n, 8 + n * N_NUMBERS)


@pytest.mark.parametrize("kind", ["noise", "zeros", "ones", "one row"])
def test_rows_that_the_model_did_not_expect_come_back_too(coder: BitsBackCoder, kind: str) -> None:
    random = np.random.default_rng(0)
    shape = (300, N_NUMBERS)
    x = {
        "noise": random.integers(0, 2, shape),
        "zeros": np.zeros(shape, np.int64),
        "ones": np.ones(shape, np.int64),
        "one row": np.repeat(rows(1), 300, 0),
    }[kind]
    given = (x * 255).astype(np.uint8).tobytes()
    assert coder.decode(coder.encode(given, 300), 300, x.size) == given


@pytest.mark.parametrize("most_lanes", [1, 8, 64])
def test_the_cost_is_the_bound_of_the_model(coder: BitsBackCoder, most_lanes: int, monkeypatch) -> None:
    """By tables alone, and six bits for each lane and a few hundred for the first rows."""
    n = {1: 100, 8: 1000, 64: 4000}[most_lanes]
    x = rows(n)
    monkeypatch.setattr(coder_module, "_MOST_LANES", most_lanes)
    monkeypatch.setattr(coder_module, "_OF_A_LANE", 100)
    monkeypatch.setattr(coder_module, "_FEW_LANES", 1)
    content = coder.encode(block(n), n)
    rounds, _ = read(content, n, most_lanes)
    assert max(these.n for these in rounds) == most_lanes
    n_first = sum(these.n for these in rounds if not these.gives_back)
    assert n_first <= 40
    first = coder.chain.first_bits(x[:n_first])
    bound = np.mean([coder.chain.bits(x[n_first:], np.random.default_rng(seed)) for seed in range(3)])
    assert 8 * len(content) == pytest.approx(bound + first + 8 * most_lanes, abs=0.008 * bound + 150)
    shares = x.mean(0)
    alone = -n * float((shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares)).sum())
    assert bound < 0.9 * alone, "each number by itself takes more"


def test_the_bits_at_the_start_do_not_grow_with_the_depth(one_layer: LatentChain, two_layers: LatentChain) -> None:
    """The second layer is popped when the rows are on the stack: it takes no rows more without bits back."""
    firsts = []
    for chain in (one_layer, two_layers):
        content = BitsBackCoder(chain, ALPHABET).encode(block(300), 300)
        rounds, _ = read(content, 300, 64)
        firsts.append(sum(these.n for these in rounds if not these.gives_back))
    assert firsts[1] <= firsts[0] + 4


def test_where_bits_do_not_suffice_a_row_goes_without(coder: BitsBackCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate of what latent variables take that is too low costs rows without bits back, and nothing else."""
    monkeypatch.setattr(coder_module, "_SPREAD", -40)
    content = coder.encode(block(300), 300)
    assert coder.decode(content, 300, 300 * N_NUMBERS) == block(300)


def test_bytes_are_the_same_everywhere(coder: BitsBackCoder) -> None:
    """Golden, by networks that are drawn: a change would make archives unreadable that were written before."""
    random = np.random.default_rng(0)
    state = coder.state()
    arrays = {
        name: random.integers(-20, 21, array.shape) if name.endswith("weight") else array
        for name, array in state.arrays.items()
        if not name.endswith(("bias", "shifts"))
    }
    for name, array in state.arrays.items():
        if name.endswith(("bias", "shifts")):
            arrays[name] = random.integers(0, 40, array.shape) if name.endswith("bias") else np.full(array.shape, 5)
    drawn = BitsBackCoder.of(CoderState(state.name, state.settings, arrays))
    content = drawn.encode(block(100), 100)
    assert drawn.decode(content, 100, 100 * N_NUMBERS) == block(100)
    assert (
        hashlib.sha256(content).hexdigest()[:16]
        == {1: "9a3c877290fe85df", 2: "e280ca5f2a6cb08f"}[len(coder.chain.layers)]
    )


@pytest.mark.slow
def test_another_process_with_other_settings_reads_it(
    one_layer: LatentChain, two_layers: LatentChain, tmp_path: Path
) -> None:
    """One thread or two, one row at a time or all, with oneDNN and without: the same bytes."""
    for name, chain in (("one", one_layer), ("two", two_layers)):
        coder = BitsBackCoder(chain, ALPHABET)
        (tmp_path / f"{name}.state").write_bytes(coder.state().to_bytes())
        (tmp_path / f"{name}.content").write_bytes(coder.encode(block(60), 60))
    program = f"""
import pathlib, torch
from latentkit.codec import CoderState, coder_from_state
from latentkit.codec.bits_back import chain
folder = pathlib.Path({str(tmp_path)!r})
for name in ("one", "two"):
    coder = coder_from_state(CoderState.from_bytes((folder / f"{{name}}.state").read_bytes()))
    content = (folder / f"{{name}}.content").read_bytes()
    for threads, at_once, has_kernels in ((1, 3, True), (2, 1, False), (2, 2048, True)):
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = has_kernels
        chain._AT_ONCE = at_once
        rows = coder.decode(content, 60, 60 * {N_NUMBERS})
        assert coder.encode(rows, 60) == content, (threads, at_once, has_kernels)
    (folder / f"{{name}}.rows").write_bytes(rows)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert (tmp_path / "one.rows").read_bytes() == (tmp_path / "two.rows").read_bytes() == block(60)


# Damage


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_noticed_or_gives_other_rows_and_nothing_else(coder: BitsBackCoder, data: Any) -> None:
    """Checksums come first; without one a change ends in a named error or in rows, never in a crash."""
    content = bytearray(coder.encode(block(40), 40))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    content = content[: data.draw(st.sampled_from([len(content), len(content) - 4, place]))]
    try:
        found = coder.decode(bytes(content), 40, 40 * N_NUMBERS)
    except DamagedArchiveError:
        return
    assert len(found) == 40 * N_NUMBERS


def test_most_damage_is_noticed_by_what_is_left(coder: BitsBackCoder) -> None:
    content = coder.encode(block(100), 100)
    n_noticed = 0
    places = range(20, len(content), 41)
    for place in places:
        other = bytearray(content)
        other[place] ^= 16
        try:
            coder.decode(bytes(other), 100, 100 * N_NUMBERS)
        except DamagedArchiveError:
            n_noticed += 1
    assert n_noticed == len(places)
    for n in (99, 101, 1 << 40):
        with pytest.raises(DamagedArchiveError, match="its rounds are not of"):
            coder.decode(content, n, n * N_NUMBERS)


def test_more_on_the_stack_than_was_written_is_noticed(coder: BitsBackCoder) -> None:
    """Words at the bottom, which the lanes do not start with."""
    content = coder.encode(block(40), 40)
    rounds, n_told = read(content, 40, 64)
    n_lanes = max(these.n for these in rounds)
    stack = AnsStack.from_bytes(content[n_told:], n_lanes)
    heads = len(content) - 4 * stack.n_words
    message = "what is left after the last row|a lane holds more than was to be read|is not the one that its row gives"
    with pytest.raises(DamagedArchiveError, match=message):
        coder.decode(content[:heads] + b"more" + content[heads:], 40, 40 * N_NUMBERS)


def test_rows_that_were_not_rounded_as_their_means_are_noticed(one_layer: LatentChain) -> None:
    layer, x, stack = one_layer.layers[0], rows(4), AnsStack(4)
    z = np.full((4, 5), 2)
    one_layer.likelihood.push(stack, layer.decoder.exactly(z * 16), x)
    which = np.broadcast_to(np.arange(5)[:, None], (5, 4))
    stack.push(layer.latents.first, which, z.T - layer.latents.coarse_span.low)
    with pytest.raises(DamagedArchiveError, match="is not the one that its row gives"):
        one_layer.pop_first(stack, 4)


def test_latent_variables_that_no_row_has_are_noticed(one_layer: LatentChain) -> None:
    layer, stack = one_layer.layers[0], AnsStack(4)
    z = np.full((4, 5), layer.latents.span.high)
    one_layer.likelihood.push(stack, layer.decoder.exactly(z), rows(4))
    which = np.broadcast_to(np.arange(5)[:, None], (5, 4))
    stack.push(layer.latents.prior, which, z.T - layer.latents.span.low)
    with pytest.raises(DamagedArchiveError, match="lies where its row cannot have put it"):
        one_layer.pop(stack, 4, 0)


def test_latent_variables_beyond_the_grid_are_noticed(two_layers: LatentChain) -> None:
    """Given those above them, there are offsets that lead from one end of the grid to beyond the other."""
    (lower, upper), stack = two_layers.layers, AnsStack(4)
    z = np.zeros((4, 2), np.int64)
    levels = lower.gaussians(upper.decoder.exactly(z))[1].T
    stack.push(lower.latents.conditionals, levels, np.full((5, 4), lower.latents.conditionals.n_symbols - 1))
    which = np.broadcast_to(np.arange(2)[:, None], (2, 4))
    stack.push(upper.latents.prior, which, z.T - upper.latents.span.low)
    with pytest.raises(DamagedArchiveError, match="lies beyond those that there can be"):
        two_layers.pop(stack, 4, 0)


@pytest.mark.parametrize("content", [b"", b"\x02", b"\x10\x01", b"\x10\x01\x00", b"\x00" * 400])
def test_bytes_that_are_no_code_are_refused(coder: BitsBackCoder, content: bytes) -> None:
    with pytest.raises(DamagedArchiveError):
        coder.decode(content, 8, 8 * N_NUMBERS)


@pytest.mark.parametrize(("n", "size"), [(0, 0), (-1, -30), (2, 59), (1, 1 << 50)])
def test_sizes_that_are_no_rows_are_damage(coder: BitsBackCoder, n: int, size: int) -> None:
    with pytest.raises(DamagedArchiveError, match="bytes are not .* rows of 30"):
        coder.decode(b"\x02\x01\x00" + bytes(20), n, size)


# What it is given


def test_networks_are_proven_once_before_they_are_used(coder: BitsBackCoder, monkeypatch) -> None:
    proven: list[ExactNetwork] = []

    def note(network: ExactNetwork) -> None:
        proven.append(network)

    monkeypatch.setattr(ExactNetwork, "verify", note)
    fresh = BitsBackCoder(coder.chain, ALPHABET)
    content = fresh.encode(block(3), 3)
    networks = [network for layer in coder.chain.layers for network in (layer.encoder, layer.decoder)]
    assert proven == networks
    fresh.decode(content, 3, 3 * N_NUMBERS)
    assert proven == networks


@pytest.mark.parametrize(
    ("given", "n", "message"),
    [
        (b"\x00" * 29, 1, "29 bytes are not 1 rows of 30"),
        (b"", 0, "0 bytes are not 0 rows of 30"),
        (b"\x00" * 29 + b"\x07", 1, "a byte is 7, which is none of the 2 that the model knows"),
    ],
)
def test_rows_of_another_kind_are_unfit(coder: BitsBackCoder, given: bytes, n: int, message: str) -> None:
    with pytest.raises(UnfitDataError, match=message):
        coder.encode(given, n)


@pytest.mark.parametrize("alphabet", [b"", b"\x00", b"\x00\x01\x02", b"\x07\x07"])
def test_an_alphabet_has_a_byte_for_each_symbol(one_layer: LatentChain, alphabet: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="an alphabet is a byte for each of 2 symbols"):
        BitsBackCoder(one_layer, alphabet)


# Hostile states


def hostile(state: CoderState) -> dict[str, CoderState]:
    settings_, arrays = dict(state.settings), dict(state.arrays)
    layer = settings_["layers"][0]

    def with_layer(**parts: Any) -> CoderState:
        return CoderState(state.name, {**settings_, "layers": [{**layer, **parts}]}, arrays)

    def with_arrays(**parts: Any) -> CoderState:
        return CoderState(state.name, settings_, {**arrays, **parts})

    latents = layer["latents"]
    return {
        "no settings": CoderState(state.name, {}, arrays),
        "no arrays": CoderState(state.name, settings_, {}),
        "alphabet of many": CoderState(state.name, {**settings_, "alphabet": 10**12}, arrays),
        "alphabet beyond bytes": CoderState(state.name, {**settings_, "alphabet": [0, 256]}, arrays),
        "no layers": CoderState(state.name, {**settings_, "layers": []}, arrays),
        "layers of letters": CoderState(state.name, {**settings_, "layers": "abc"}, arrays),
        "no likelihood": CoderState(state.name, {**settings_, "likelihood": {"name": "dice"}}, arrays),
        "other likelihood": CoderState(
            state.name, {**settings_, "likelihood": {"name": "shares", "n_symbols": 2}}, arrays
        ),
        "infinite code": with_layer(lowest_code=float("inf")),
        "far code": with_layer(lowest_code=1 << 40),
        "large tables": with_layer(latents={**latents, "steps": 4096, "levels": [-160, 64]}),
        "no steps": with_layer(latents={**latents, "steps": None}),
        "no codes": with_arrays(**{"0.level_codes": np.zeros(0, np.int64)}),
        "codes in a square": with_arrays(**{"0.level_codes": np.zeros((2, 2), np.int64)}),
        "codes of other levels": with_arrays(**{"0.level_codes": np.array([1 << 40])}),
        "prior of other latents": with_arrays(
            **{"0.latents.prior": np.zeros((3, 2), np.int64), "0.latents.coarse": np.zeros((3, 2), np.int64)}
        ),
        "weights without bound": with_arrays(**{"0.encoder.0.weight": arrays["0.encoder.0.weight"] << 40}),
        "outputs from high to low": with_layer(
            encoder=[layer["encoder"][0], {**layer["encoder"][1], "outputs": [1 << 70, 63]}]
        ),
        "outputs without bound": with_layer(
            decoder=[layer["decoder"][0], {**layer["decoder"][1], "outputs": [-(1 << 60), 1 << 60]}]
        ),
    }


_EMPTY = CoderState(
    "",
    {"layers": [{"latents": {}, "decoder": [0, {}], "encoder": [0, {}]}]},
    {"0.encoder.0.weight": np.zeros(1, np.int64)},
)


@pytest.mark.parametrize("case", [*hostile(_EMPTY)])
def test_hostile_states_are_damage(one_layer: LatentChain, case: str) -> None:
    state = hostile(BitsBackCoder(one_layer, ALPHABET).state())[case]
    with pytest.raises(DamagedArchiveError):
        coder_from_state(state)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_number_of_a_state_that_was_changed_does_no_harm(coder: BitsBackCoder, data: Any) -> None:
    """It is damage, or a coder that reads something else or nothing."""
    state = coder.state()
    content = coder.encode(block(20), 20)
    name = data.draw(st.sampled_from(sorted(state.arrays)))
    array = np.array(state.arrays[name])
    value = data.draw(st.sampled_from([-1, 0, 300, 1 << 20, 1 << 31, -(1 << 31), 1 << 62, -(1 << 62)]))
    array.flat[data.draw(st.integers(0, array.size - 1))] = value
    try:
        other = coder_from_state(CoderState(state.name, state.settings, {**state.arrays, name: array}))
        assert len(other.decode(content, 20, 20 * N_NUMBERS)) == 20 * N_NUMBERS
    except DamagedArchiveError:
        return


def test_parts_that_do_not_fit_are_refused(one_layer: LatentChain, two_layers: LatentChain) -> None:
    layer, (lower, upper) = one_layer.layers[0], two_layers.layers
    narrow = ExactNetwork(
        [exact_layer(torch.ones(30, 5), None, input_step=1, inputs=Span(-64, 63), output_step=1, outputs=Span(0, 99))]
    )
    wide = ExactNetwork(
        [
            exact_layer(
                torch.ones(30, 5),
                None,
                input_step=1,
                inputs=layer.latents.span,
                output_step=1,
                outputs=Span(0, 1 << 30),
            )
        ]
    )
    cases = [
        ((), "at least one layer"),
        ((upper,), "layer 1 of the chain does not give two numbers|has a decoder that does not give what is below"),
        ((lower, lower), "layer 2 of the chain does not take what is below it"),
        ((replace(layer, decoder=narrow),), "has a decoder that does not take its latent variables"),
        ((replace(layer, decoder=wide),), "gives numbers that are too large"),
        ((replace(layer, decoder=upper.encoder),), "has a decoder that does not give what is below it"),
        ((replace(layer, encoder=layer.decoder),), "does not give two numbers for each latent variable|does not take"),
        ((replace(layer, level_codes=np.array([9])),), "has levels that there are no tables of"),
        ((replace(layer, lowest_code=1 << 30),), "has no codes of levels"),
    ]
    for layers, message in cases:
        with pytest.raises(InvalidParameterError, match=message):
            LatentChain(layers, one_layer.likelihood)


def test_rounds_are_what_stands_in_front(coder: BitsBackCoder) -> None:
    content = coder.encode(block(50), 50)
    rounds, n_told = read(content, 50, 64)
    assert content.startswith(written(rounds))
    assert len(written(rounds)) == n_told
    assert not rounds[0].gives_back
    assert rounds[0].n == 1
