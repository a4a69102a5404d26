"""A decoder written from docs/archive-format.md alone, in plain Python: nothing of the package is imported here.

It is slow, and trusts its archives: it shows that the page says all that it takes.
"""

from __future__ import annotations

import json
import math
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import lru_cache
from itertools import accumulate
from typing import Any

import pyarrow as pa  # for zstd

Numbers = list[int]
Rows = list[Numbers]


def decoded(content: bytes, dictionary: bytes) -> tuple[dict[str, Any], list[tuple[bytes, int]]]:
    """The description of an archive, and its blocks with their numbers of items."""
    assert content[:8] == b"\x89LKZ\r\n\x1a\n"
    place, head, model, blocks = 8, b"", None, []
    while content[place + 3 : place + 4] != b"E":
        kind = content[place + 3 : place + 4]
        size, start = number(content, place + 4)
        body, place = content[start : start + size], start + size + 4
        if kind == b"H":
            head = body
        elif kind == b"M":
            model = State(unpacked(body, 0)[0])
        elif kind == b"B":
            _, at = number(body, 0)
            n_items, at = number(body, at)
            block, size = unpacked(body, at)
            if body[at] == 2:
                assert model is not None
                block = {"pixels": pixels, "bits_back": bits_back}[model.name](model, block, n_items, size)
            blocks.append((block, n_items))
    told = head[38:] if head[1] & 2 else head[6:]
    if head[1] & 1:
        told = zlib.decompressobj(-15, zdict=dictionary).decompress(told)
    return json.loads(told), blocks


def number(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (content[place] & 127) << shift
        shift, place = shift + 7, place + 1
        if content[place - 1] < 128:
            return value, place


def unpacked(body: bytes, place: int) -> tuple[bytes, int]:
    """What bytes were before they were packed, or what a coder made of them; and how many they were."""
    method, place = body[place], place + 1
    if method == 0:
        return body[place:], len(body) - place
    size, place = number(body, place)
    payload = body[place + 4 :]
    if method == 1:
        return pa.Codec("zstd").decompress(payload, decompressed_size=size, asbytes=True), size
    return payload, size


# The state of a coder


class State:
    def __init__(self, content: bytes) -> None:
        place = 4 + int.from_bytes(content[:4], "little")
        told = json.loads(content[4:place])
        self.name, self.settings, self.arrays = told["name"], told["settings"], {}
        for name, (kind, shape) in sorted(told["arrays"].items()):
            width, n = int(kind[1]), math.prod(shape)
            cells = [content[place + k * width : place + (k + 1) * width] for k in range(n)]
            place += n * width
            flat = [int.from_bytes(cell, "little", signed=kind[0] == "i") for cell in cells]
            self.arrays[name] = shaped(flat, shape)


def shaped(flat: Numbers, shape: Numbers) -> Any:
    if len(shape) < 2:
        return flat
    step = math.prod(shape[1:])
    return [shaped(flat[k * step : (k + 1) * step], shape[1:]) for k in range(shape[0])]


def network(state: State, told: list[dict[str, Any]], prefix: str) -> Callable[[Numbers], Numbers]:
    def run(x: Numbers) -> Numbers:
        for k, layer in enumerate(told):
            w, b, s = (state.arrays[f"{prefix}{k}.{name}"] for name in ("weight", "bias", "shifts"))
            low, high = layer["outputs"]
            sums = [sum(p * q for p, q in zip(row, x, strict=True)) + bias for row, bias in zip(w, b, strict=True)]
            y = [min(max(u >> t if t >= 0 else u << -t, low), high) for u, t in zip(sums, s, strict=True)]
            table = state.arrays.get(f"{prefix}{k}.table")
            x = y if table is None else [table[v - low] for v in y]
        return x

    return run


# The stack


class Stack:
    def __init__(self, content: bytes, n_lanes: int) -> None:
        bits = "".join(f"{byte:08b}" for byte in content[: n_lanes * 9])
        sizes = [int(bits[5 * lane : 5 * lane + 5], 2) + 33 for lane in range(n_lanes)]
        place, self.lanes = 5 * n_lanes, list[int]()
        for size in sizes:
            self.lanes.append(int("1" + bits[place : place + size - 1], 2))
            place += size - 1
        rest = content[-(-place // 8) :]
        self.words = [int.from_bytes(rest[k : k + 4], "little") for k in range(0, len(rest), 4)]

    def pop(self, precision: int, choose: list[Callable[[int], tuple[int, int, int]]]) -> Numbers:
        """Pop a symbol off each of the first lanes: slots are given symbols, starts and frequencies."""
        found, short = [], []
        for lane, of_slot in enumerate(choose):
            slot = self.lanes[lane] % (1 << precision)
            symbol, start, frequency = of_slot(slot)
            found.append(symbol)
            self.lanes[lane] = frequency * (self.lanes[lane] >> precision) + slot - start
            if self.lanes[lane] < 1 << 32:
                short.append(lane)
        for lane in reversed(short):
            self.lanes[lane] = self.lanes[lane] << 32 | self.words.pop()
        return found

    def push(self, precision: int, intervals: list[tuple[int, int]]) -> None:
        for lane, (_, frequency) in enumerate(intervals):
            if self.lanes[lane] >> (64 - precision) >= frequency:
                self.words.append(self.lanes[lane] % (1 << 32))
                self.lanes[lane] >>= 32
        for lane, (start, frequency) in enumerate(intervals):
            x = self.lanes[lane]
            self.lanes[lane] = (x // frequency << precision) + x % frequency + start

    def seeds(self) -> Numbers:
        assert not self.words
        assert all(lane >> 32 == 1 for lane in self.lanes)
        return [lane % (1 << 32) for lane in self.lanes]


def of_starts(starts: Numbers) -> Callable[[int], tuple[int, int, int]]:
    def choose(slot: int) -> tuple[int, int, int]:
        symbol = bisect_right(starts, slot) - 1
        return symbol, starts[symbol], starts[symbol + 1] - starts[symbol]

    return choose


# Curves


def rounded(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_HALF_EVEN))


@lru_cache(None)
def exponential(i: int, per_unit: int, bits: int) -> int:
    with localcontext(prec=40):
        return rounded((Decimal(-i) / per_unit).exp() * 2**bits)


@lru_cache(None)
def logistic(i: int, per_unit: int, bits: int) -> int:
    with localcontext(prec=40):
        return rounded(2**bits / (1 + (Decimal(-i) / per_unit).exp()))


@lru_cache(None)
def normal(i: int) -> int:
    if i < 0:
        return 2**30 - normal(-i)
    with localcontext(prec=40):
        x = Decimal(i) / 256
        term = total = x
        n = 1
        while term > Decimal("1e-30"):
            n += 2
            term *= x * x / n
            total += term
        density = 1 / (2 * Decimal("3.141592653589793238462643383279502884197")).sqrt()
        return rounded((Decimal("0.5") + density * (-x * x / 2).exp() * total) * 2**30)


# Mixtures


def cumulated(frequencies: Numbers) -> Numbers:
    return [0, *accumulate(frequencies)]


def mixture(outputs: Numbers, tables: Rows, n_logistics: int, n: int) -> Callable[[int], int]:
    """F of a mixture, by where the symbols of its tables start: how many slots the symbols below s have."""
    k = len(tables)
    logits, means, levels = outputs[: k + n_logistics], outputs[k + n_logistics :][:n_logistics], outputs[-n_logistics:]
    shares = [exponential(min(max(logits) - logit, 511), 32, 15) for logit in logits]
    weights = [share * (2**13 - 1) // sum(shares) for share in shares]
    weights[shares.index(max(shares))] += 2**13 - 1 - sum(weights)

    def below(s: int) -> int:
        if s in (0, n):
            return 2**27 * (s == n)
        found = sum(w * starts[s] for w, starts in zip(weights, tables, strict=False)) + 2**14 // n * s
        for w, mean, level in zip(weights[k:], means, levels[:n_logistics], strict=True):
            slope = exponential(min(max(level, -18), 45), 8, 13)
            at = (16 * s - min(max(mean, -8 * n), 24 * n) - 8) * slope >> 10
            found += w * logistic(min(max(at, -1536), 1536), 128, 14)
        return found

    return below


def of_mixture(below: Callable[[int], int], n_symbols: int) -> Callable[[int], tuple[int, int, int]]:
    def choose(slot: int) -> tuple[int, int, int]:
        s = bisect_right(range(n_symbols), slot, key=below) - 1
        return s, below(s), (below(s + 1) if s + 1 < n_symbols else 2**27) - below(s)

    return choose


# pixels


def lanes_of(n_numbers: int, of_a_lane: int) -> int:
    return min(1024, 1 << max(0, (n_numbers // of_a_lane).bit_length() - 1))


def pixels(state: State, payload: bytes, n: int, size: int) -> bytes:
    height, width = (int.from_bytes(payload[k : k + 4], "little") for k in (0, 4))
    shape = (height, width, state.settings["shape"][2])
    rest, of_an_image = payload[8:], math.prod(shape)
    if n == 1:
        return payload[:8] + images(state, Stack(rest, lanes_of(of_an_image, 16384)), 1, shape)[0]
    n_early = -(-n // 256)
    size, rest = int.from_bytes(rest[:4], "little"), rest[4:]
    n_lanes = lanes_of((n - n_early) * of_an_image, 4096)
    beside = max(0, size - 4 * n_lanes)
    others, seeds = images(state, Stack(rest[beside:], n_lanes), n - n_early, shape)
    early = (b"".join(seed.to_bytes(4, "little") for seed in seeds) + rest[:beside])[:size]
    first, _ = images(state, Stack(early, lanes_of(n_early * of_an_image, 256)), n_early, shape)
    return payload[:8] + first + others


def images(state: State, stack: Stack, n: int, shape: tuple[int, int, int]) -> tuple[bytes, Numbers]:
    settings, (height, width, channels) = state.settings, shape
    offsets, gain = [tuple(offset) for offset in settings["offsets"]], settings["gain"]
    skew = max(1, max((dx // -dy + 1 for dy, dx in offsets if dy < 0), default=0))
    networks = [network(state, told, f"network.{c}.") for c, told in enumerate(settings["networks"])]
    every_table = [[cumulated(row) for row in state.arrays[f"tables.{c}"]] for c in range(channels)]
    canvas: dict[tuple[int, int, int], Numbers] = {}
    zeros = [0] * channels
    fronts: dict[int, list[tuple[int, int]]] = {}
    for y in range(height):
        for x in range(width):
            fronts.setdefault(x + skew * y, []).append((y, x))
    for time in sorted(fronts):
        front = [(image, y, x) for y, x in fronts[time] for image in range(n)]
        for pixel in front:
            canvas[pixel] = []
        for channel, tables in enumerate(every_table):
            belows = []
            for image, y, x in front:
                near = [canvas.get((image, y + dy, x + dx), zeros) for dy, dx in offsets]
                west, north, corner = (near[offsets.index(at)] for at in ((0, -1), (-1, 0), (-1, -1)))
                guess = [max(min(w, u), min(max(w, u), w + u - c)) for w, u, c in zip(west, north, corner, strict=True)]
                features = features_of(near, canvas[image, y, x], guess, gain, is_centred=settings["is_centred"])
                places = state.arrays["places"]
                outputs = networks[channel](features + (places[y * width + x] if places and places[0] else []))
                n_logistics = settings["n_logistics"][channel]
                for j in range(n_logistics):
                    outputs[len(tables) + n_logistics + j] += 16 * guess[channel]
                belows.append(mixture(outputs, tables, n_logistics, 256))
            for start in range(0, len(front), len(stack.lanes)):
                these = slice(start, start + len(stack.lanes))
                values = stack.pop(27, [of_mixture(below, 256) for below in belows[these]])
                for pixel, value in zip(front[these], values, strict=True):
                    canvas[pixel].append(value)
    every = [canvas[image, y, x] for image in range(n) for y in range(height) for x in range(width)]
    return bytes(value for pixel in every for value in pixel), stack.seeds()


def features_of(near: Rows, before: Numbers, guess: Numbers, gain: int, *, is_centred: bool) -> Numbers:
    if gain > 1:
        near, (before, guess) = [cut(x, gain) for x in near], (cut(before, gain), cut(guess, gain))
    centre = guess if is_centred else [0] * len(guess)
    flat = [value - middle for pixel in near for value, middle in zip(pixel, centre, strict=True)]
    return flat + [value - middle for value, middle in zip(before, centre, strict=False)] + guess


def cut(values: Numbers, gain: int) -> Numbers:
    return [min(value, 255 // gain) * gain for value in values]


# bits_back


def bits_back(state: State, payload: bytes, n: int, size: int) -> bytes:
    rounds, place = [], 0
    while True:
        code, place = number(payload, place)
        if not code:
            break
        times, place = number(payload, place)
        rounds += [(code >> 1, code & 1)] * times
    most = [max([1, *(k for k, _ in rounds[:number])]) for number in range(len(rounds) + 1)]
    stack = Stack(payload[place:], most[-1])
    layers = [Layer(state, number, told) for number, told in enumerate(state.settings["layers"])]
    x, end = [b""] * n, n
    for (count, gives_back), n_lanes in zip(reversed(rounds), reversed(most[:-1]), strict=True):
        start = end - count
        rows = with_bits(state, stack, layers, count, start) if gives_back else first_rows(state, stack, layers, count)
        x[start:end] = [bytes(state.settings["alphabet"][symbol] for symbol in row) for row in rows]
        for lane in stack.lanes[n_lanes:]:
            assert lane >> 32 == 1
            stack.words.append(lane % (1 << 32))
        del stack.lanes[n_lanes:]
        end = start
    assert stack.seeds() == [0]
    return b"".join(x)


class Layer:
    def __init__(self, state: State, number: int, told: dict[str, Any]) -> None:
        latents = told["latents"]
        self.steps, (self.low, self.high), self.coarse_step = latents["steps"], latents["means"], latents["coarse_step"]
        self.levels, self.lowest_code = latents["levels"], told["lowest_code"]
        self.prior, self.coarse = (state.arrays[f"{number}.latents.{name}"] for name in ("prior", "coarse"))
        self.codes = state.arrays[f"{number}.level_codes"]
        self.encoder, self.decoder = (network(state, told[k], f"{number}.{k}.") for k in ("encoder", "decoder"))
        self.reach = max(1, -(-6 * self.steps * exponential(-self.levels[1], 16, 20) >> 20))
        self.first, self.last = self.low - self.reach, self.high + self.reach
        self.n = len(self.prior)

    def gaussians(self, given: Numbers) -> tuple[Numbers, Numbers]:
        means = [min(max(mean, self.low), self.high) for mean in given[: self.n]]
        return means, [self.codes[min(max(c - self.lowest_code, 0), len(self.codes) - 1)] for c in given[self.n :]]

    @lru_cache(None)  # noqa: B019
    def starts(self, first: int, last: int, mean: int, level: int, step: int, least: int) -> Numbers:
        edges = [(2 * v - 1) * step - 2 * mean for v in range(first, last + 2)]
        slope, heights = exponential(level, 16, 20), []
        for edge in edges:
            place = min(max(edge * slope * 256 // (2 * self.steps), -(2**31)), 2**31 - 1)
            whole, between = place >> 20, (place >> 4) % 2**16
            heights.append(normal(whole) + ((normal(whole + 1) - normal(whole)) * between >> 16))
        heights[0], heights[-1] = 0, 2**30
        room = 2**24 - least * (len(edges) - 1)
        return [(height * room >> 30) + least * s for s, height in enumerate(heights)]

    def posterior(self, level: int) -> Numbers:
        return self.starts(-self.reach, self.reach, 0, level, 1, 0)

    def conditional(self, level: int) -> Numbers:
        wide = self.last - self.first
        return self.starts(-wide, wide, 0, level, 1, 1)


def first_rows(state: State, stack: Stack, layers: list[Layer], n: int) -> Rows:
    layer = layers[0]
    low, high = -(-layer.low // layer.coarse_step), layer.high // layer.coarse_step
    z = [[0] * layer.n for _ in range(n)]
    for i in reversed(range(layer.n)):
        mean, level = layer.coarse[i]
        starts = layer.starts(low, high, mean, level, layer.coarse_step, 1)
        for row, symbol in zip(z, stack.pop(24, [of_starts(starts)] * n), strict=True):
            row[i] = (symbol + low) * layer.coarse_step
    return take(state, stack, [layer.decoder(row) for row in z])


def with_bits(state: State, stack: Stack, layers: list[Layer], n: int, start: int) -> Rows:
    top = layers[-1]
    z = [[0] * top.n for _ in range(n)]
    for i in reversed(range(top.n)):
        starts = top.starts(top.first, top.last, *top.prior[i], 1, 1)
        for row, symbol in zip(z, stack.pop(24, [of_starts(starts)] * n), strict=True):
            row[i] = symbol + top.first
    n_above = 0
    for number in reversed(range(len(layers))):
        layer = layers[number]
        given = [layer.decoder(row) for row in z]
        if number == 0:
            below = take(state, stack, given)
        else:
            under = layers[number - 1]
            told = [under.gaussians(row) for row in given]
            below = [[0] * under.n for _ in range(n)]
            for i in reversed(range(under.n)):
                symbols = stack.pop(24, [of_starts(under.conditional(levels[i])) for _, levels in told])
                for row, (means, _), symbol in zip(below, told, symbols, strict=True):
                    row[i] = symbol + means[i] - (under.last - under.first)
        told = [layer.gaussians(layer.encoder(row)) for row in below]
        for i in reversed(range(layer.n)):
            intervals = []
            for row, (means, levels) in zip(z, told, strict=True):
                starts, o = layer.posterior(levels[i]), row[i] - means[i] + layer.reach
                intervals.append((starts[o], starts[o + 1] - starts[o]))
            stack.push(24, intervals)
            for lane in range(n):
                stack.lanes[lane] ^= pad(n_above + i, start + lane)
        n_above += layer.n
        z = below
    return z


def pad(latent: int, row: int) -> int:
    mask = 2**64 - 1

    def mix(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) & mask
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
        return x ^ x >> 31

    return mix(mix(latent + mix(1)) + mix(row + mix(2)) + 16 & mask) % 2**24


def take(state: State, stack: Stack, given: Rows) -> Rows:
    """Rows by the likelihood, the last number first."""
    told = state.settings["likelihood"]
    n_parameters = {"coins": 1, "logistics": 3 * told.get("n_components", 1), "shares": told.get("n_symbols", 1)}
    count = 2 if told.get("n_components") == 1 else n_parameters[told["name"]]
    n_numbers = len(given[0]) // count
    rows = [[0] * n_numbers for _ in given]
    for j in reversed(range(n_numbers)):
        each = [row[j::n_numbers] for row in given]
        precision = 22 if told["name"] == "coins" else 27
        found = stack.pop(precision, list(choices(state, told, each)))
        for row, symbol in zip(rows, found, strict=True):
            row[j] = symbol
    return rows


def choices(state: State, told: dict[str, Any], each: Rows) -> Iterator[Callable[[int], tuple[int, int, int]]]:
    for parameters in each:
        if told["name"] == "coins":
            zeros = min(max(logistic(-min(max(parameters[0], -1024), 1024), 64, 22), 1), 2**22 - 1)
            yield of_starts([0, zeros, 2**22])
            continue
        n_symbols = told["n_symbols"]
        n = max(16, 1 << (n_symbols - 1).bit_length())
        if told["name"] == "shares":
            certain = [cumulated([2**14 * (s == own) for s in range(n)]) for own in range(n_symbols)]
            yield of_mixture(mixture(parameters, certain, 0, n), n_symbols)
            continue
        k, levels = told["n_components"], state.arrays["likelihood.levels"]
        logits = parameters[2 * k :] if k > 1 else [0]
        scales = [levels[min(max(s - told["lowest"], 0), len(levels) - 1)] for s in parameters[k : 2 * k]]
        outputs = [-(2**20), *logits, *parameters[:k], *scales]
        yield of_mixture(mixture(outputs, [cumulated([2**14 // n] * n)], k, n), n_symbols)
