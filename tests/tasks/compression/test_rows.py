"""A learnt coder of tables: it finds what columns say of each other, and gives every line back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from latentkit.codec import CoderState, coder_from_state
from latentkit.core.errors import InvalidParameterError, UnfitDataError
from latentkit.tasks.compression.rows import fit_row_coder

HEADER = b"kind,price,code,flag\n"


def lines(n: int, seed: int = 0, delimiter: bytes = b",", end: bytes = b"\n") -> bytes:
    """A word, a number near what the word says, a code that follows from the word, and a flag that often does."""
    random = np.random.default_rng(seed)
    kinds = random.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    prices = (random.normal(100, 10, n) * (1 + kinds)).round(1)
    flags = (random.random(n) < 0.1) ^ (kinds % 2 == 0)
    rows = zip(kinds.tolist(), prices.tolist(), flags.tolist(), strict=True)
    written = [delimiter.join([b"abcd"[k : k + 1] * 3, b"%.1f" % p, b"%d" % (7 * k), b"%d" % f]) for k, p, f in rows]
    return HEADER.replace(b",", delimiter).replace(b"\n", end) + b"".join(line + end for line in written)


@pytest.fixture(scope="module")
def coder():
    return fit_row_coder([lines(3000)], n_steps=250)


def bits(coder, content: bytes) -> float:
    n = content.count(b"\n") - 1
    code = coder.encode(content, n + 1)
    assert coder.decode(code, n + 1, len(content)) == content
    return 8 * len(code) / n


def test_it_takes_about_the_bits_that_there_are(coder) -> None:
    """The entropies of the word, of the price given it, to a tenth, and of the flag; the code is free."""
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    entropy = -(shares * np.log2(shares)).sum()
    entropy += (shares * np.log2(np.sqrt(2 * np.pi * np.e) * 100 * np.arange(1, 5))).sum()
    entropy += -0.1 * np.log2(0.1) - 0.9 * np.log2(0.9)
    assert entropy < bits(coder, lines(4000, seed=1)) < 1.06 * entropy


def test_its_state_codes_the_same(coder) -> None:
    again = coder_from_state(CoderState.from_bytes(coder.state().to_bytes()))
    content = lines(300, seed=2)
    assert again.encode(content, 301) == coder.encode(content, 301)


def test_whole_numbers_cost_next_to_nothing(coder) -> None:
    """The integer distributions are those that were learnt."""
    from latentkit.tasks.compression import rows

    found = []
    original = rows.RowNetwork.exact

    def noted(network, coarseness=1):
        found.append((network, original(network, coarseness)))
        return found[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows.RowNetwork, "exact", noted)
        fit_row_coder([lines(2000)], n_steps=120)
    network, conditionals = found[0]
    made = fit_row_coder([lines(2000)], n_steps=1)
    split = made.model.lines.split(lines(1000, seed=3))
    symbols = np.stack([c.symbols(cells[1:])[0] for c, cells in zip(made.model.columns, split.columns, strict=True)], 1)
    kin = np.full((len(symbols), 2, 4), -1, np.int64)
    with torch.no_grad():
        expected = float(network(torch.from_numpy(symbols), torch.from_numpy(kin)).sum(1).mean() / np.log(2))
    context, given = conditionals.context(kin), 0.0
    for number in conditionals.order:
        frequencies = np.diff(conditionals.frequencies(context, number))[np.arange(len(symbols)), symbols[:, number]]
        given += float((20 - np.log2(frequencies)).mean())
        conditionals.tell(context, number, symbols[:, number])
    assert given == pytest.approx(expected, rel=0.003)


def test_the_same_seed_gives_the_same_coder() -> None:
    states = [fit_row_coder([lines(400)], seed=seed, n_steps=20).state().fingerprint for seed in (3, 3, 4)]
    assert states[0] == states[1] != states[2]


@pytest.mark.parametrize(
    ("delimiter", "end"), [(b";", b"\n"), (b"\t", b"\r\n"), pytest.param(b"|", b"\n", marks=pytest.mark.slow)]
)
def test_how_lines_are_written_is_recognised(delimiter: bytes, end: bytes) -> None:
    coder = fit_row_coder([lines(600, delimiter=delimiter, end=end)], n_steps=20)
    assert (coder.model.lines.delimiter, coder.model.lines.has_return) == (delimiter, end == b"\r\n")
    assert coder.model.lines.n_columns == 4
    content = lines(500, seed=1, delimiter=delimiter, end=end)
    assert bits(coder, content) < 0.4 * 8 * len(content) / 500


def test_rows_are_found_again_by_a_key() -> None:
    """Numbers of which many come twice are a key; with the rows kept, those of the model are found, too."""
    random = np.random.default_rng(0)
    keys = random.integers(0, 10**9, 1500)
    places = random.integers(0, 1500, 5000)
    text = [b"%d,%d,%s\n" % (keys[p], 1000 + 37 * p % 1009, b"xyz"[p % 3 : p % 3 + 1]) for p in places.tolist()]
    fitted, new = b"".join(text[:3000]), b"".join(text[3000:])
    small, large = (fit_row_coder([fitted], n_steps=60, size=size) for size in ("small", "large"))
    assert small.model.key == large.model.key == 0
    assert len(small.model.memories.keys) == 0
    assert len(large.model.memories.keys) == len({line.split(b",")[0] for line in text[:3000]})
    assert bits(large, new) < 0.7 * bits(small, new)


def test_a_column_of_one_word_and_one_of_names_are_coded() -> None:
    text = b"".join(b"same,name%d,%d\n" % (n * n % 9973, n % 5) for n in range(500))
    coder = fit_row_coder([text], n_steps=20)
    assert bits(coder, text) < 8 * 9


def test_time_ends_it() -> None:
    coder = fit_row_coder([lines(300)], n_steps=10**6, max_seconds=0.5)
    assert coder.encode(lines(50), 51)


@pytest.mark.parametrize("blocks", [[], [b""], [b"one,line\n"], [b"a,b\nc\nd,e,f\n"]])
def test_what_is_no_table_is_refused(blocks: list[bytes]) -> None:
    with pytest.raises(UnfitDataError, match="no lines of a table: [012] of"):
        fit_row_coder(blocks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "huge"}, "size must be"),
        ({"n_steps": 0}, "n_steps"),
        ({"max_seconds": -1.0}, "max_seconds"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        fit_row_coder([lines(50)], **options)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_census_rows_take_less_than_any_codec_makes_of_them(data_folder: Path) -> None:
    """zpaq -m5, which learns from the rows themselves, takes 47.2 bits of a row."""
    fitted, new = ((data_folder / "tables" / f"adult.{part}.csv").read_bytes() for part in ("train", "test"))
    coder = fit_row_coder([fitted], n_steps=600, max_seconds=300.0)
    assert bits(coder, new) < 41.0
