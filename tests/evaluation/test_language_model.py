"""The judge of texts: what it has learnt, against entropies that are known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.data import TextSchema, learn_text_schema
from latentkit.evaluation import LanguageModel, perplexity, schema_of_judges
from latentkit.evaluation import language_model as module


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WIDTH", 24)
    monkeypatch.setattr(module, "_BUDGET", 20_000)
    monkeypatch.setattr(module, "_LEARNING_RATE", 2e-2)


def chains(n: int, seed: int) -> list[str]:
    """Four words of ten, each the one before or the one behind that in a ring: 1 word of 10, then 3 of 2."""
    random = np.random.default_rng(seed)
    steps = np.concatenate([random.integers(0, 10, (n, 1)), random.choice([-1, 1], (n, 3))], 1).cumsum(1) % 10
    return [" ".join("abcdefghij"[place] for place in row) for row in steps]


ENTROPY = math.log(10.0) + 3 * math.log(2.0)


@pytest.fixture
def schema() -> TextSchema:
    return learn_text_schema(chains(500, 9), vocabulary="words")


@pytest.mark.slow
def test_it_comes_near_to_the_entropy_and_never_below(schema: TextSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUDGET", 30_000)
    judge = LanguageModel(chains(500, 0), schema)
    found = judge.perplexity(chains(400, 1))
    assert ENTROPY * 0.98 < found.nats / 400 < ENTROPY * 1.15
    assert (found.n_texts, found.n_words, found.n_bytes) == (400, 2000, 3200)
    # what it has not learnt is less probable
    assert judge.perplexity(["a a a a", "b e b e"]).per_word > 3.0 * found.per_word


def test_the_seed_decides_and_the_callers_state_is_left(schema: TextSchema) -> None:
    state = torch.random.get_rng_state()
    figures = [LanguageModel(chains(60, 0), schema, seed=seed).perplexity(chains(20, 1)).nats for seed in (0, 0, 1)]
    assert figures[0] == figures[1] != figures[2]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_best_pass_counts(schema: TextSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([-3.0, -2.0, -4.0, -4.0, -1.0])
    states: list[torch.Tensor] = []

    def held_out(judge: LanguageModel, storage: torch.Tensor) -> torch.Tensor:
        states.append(judge._network.bias.detach().clone())
        return torch.tensor([next(told)])

    monkeypatch.setattr(LanguageModel, "_log_likelihood", held_out)
    judge = LanguageModel(chains(12, 0), schema)
    assert judge.n_epochs == 2
    assert len(states) == 4  # two passes after the best one
    assert torch.equal(judge._network.bias, states[1])
    assert not torch.equal(states[1], states[3])


def test_batches_are_of_one_length_and_hold_each_row_once() -> None:
    lengths = torch.randint(1, 9, (500,), generator=torch.Generator().manual_seed(0))
    batches = list(module._batches(lengths, torch.Generator().manual_seed(1)))
    assert torch.cat(batches).sort().values.tolist() == list(range(500))
    assert max(int(lengths[rows].max() - lengths[rows].min()) for rows in batches) <= 2
    firsts = [int(lengths[rows].min()) for rows in batches]
    assert any(a > b for a, b in pairwise(firsts))


def test_sub_words_judge_every_text() -> None:
    schema = schema_of_judges(chains(50, 0))
    judge = LanguageModel(chains(50, 0), schema)
    found = judge.perplexity(["", "狗", "a b c"])
    assert math.isfinite(found.nats)
    assert (found.n_words, found.n_bytes) == (3 + 0 + 1 + 3, 3 + 0 + 3 + 5)
    assert judge.description.startswith(f"LSTM of 24 units over {schema.n_tokens} sub-words, ")
    assert judge.description.endswith("passes over 50 texts, seed 0")


def test_perplexity_is_a_sum_over_words_and_bytes() -> None:
    schema = learn_text_schema(["a bb c", "a a a a a a"], vocabulary="words", max_length=4)
    storage = schema.encode(["a bb c", "a a a a a a", "a zz"])  # the second is cut to four words, without an end
    found = perplexity(torch.tensor([-1.0, -2.0, -3.0]), storage, schema)
    assert (found.nats, found.n_texts, found.n_words) == (6.0, 3, 4 + 4 + 3)
    assert found.n_bytes == 7 + 7 + len("a <unk>") + 1
    assert found.per_word == pytest.approx(math.exp(6 / 11))
    assert found.bits_per_byte == pytest.approx(6 / found.n_bytes / math.log(2))
    assert found.computed_with == "3 texts of 11 words, their ends included"


def test_few_texts_are_refused(schema: TextSchema) -> None:
    with pytest.raises(InvalidParameterError, match="at least 10 texts to learn from; got 9"):
        LanguageModel(chains(9, 0), schema)
