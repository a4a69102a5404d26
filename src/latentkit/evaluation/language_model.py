"""A small language model that judges texts."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Final, final

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.core.tokens import TokenCodes
from latentkit.data import TextSchema
from latentkit.data.text import Subwords
from latentkit.evaluation.perplexity import Perplexity, perplexity
from latentkit.nn import SequenceDecoder

__all__ = ["LanguageModel", "schema_of_judges"]

_N_TOKENS: Final = 2000
_MAX_LENGTH: Final = 512
_WIDTH: Final = 192
_DROPOUT: Final = 0.1
_BATCH: Final = 32
_LEARNING_RATE: Final = 4e-3
_GREATEST_GRADIENT: Final = 1.0
_HELD_OUT: Final = 0.1
#: Tokens that are learnt from in all, over all passes, and passes at most: half a minute on two cores.
_BUDGET: Final = 600_000
_MOST_EPOCHS: Final = 20
#: Passes without a better one after which training ends.
_PATIENCE: Final = 2


def schema_of_judges(texts: Sequence[str]) -> TextSchema:
    """Learn the sub-words by which language models judge texts: 2,000 at most, with bytes for all others.

    Every text has a probability under them, and all of its tokens are counted, up to the 512th.

    Raises:
        DataError: If the texts hold no character.
    """
    return TextSchema(Subwords.learn(texts, _N_TOKENS), _MAX_LENGTH, n_examples=len(texts))


@final
class LanguageModel:
    r"""Recurrent network that tells the next token from those before it, trained here.

    .. math:: \log p(x) = \sum_t \log p(x_t \mid x_{<t})

    One layer of 192 LSTM units, with embeddings as wide, which weigh the outputs too; dropout 0.1; Adam at a rate that
    falls to zero over 600,000 tokens, or twenty passes. A tenth of the texts is held out: the pass that predicts it
    best counts, and training ends two passes after it. Figures of two judges cannot be compared.

    Args:
        texts: To learn from, at least 10.
        schema: Their tokens; see :func:`schema_of_judges`.
        seed: Decides the initial weights, the texts held out, and the order.

    Attributes:
        n_texts: Texts that it was given.
        n_epochs: Passes up to the best one.

    Raises:
        InvalidParameterError: If there are fewer than 10 texts.

    References:
        The network is that of :class:`~latentkit.nn.SequenceDecoder`, without z.
    """

    def __init__(self, texts: Sequence[str], schema: TextSchema, *, seed: int = 0) -> None:
        if len(texts) < 10:
            raise InvalidParameterError(f"a language model needs at least 10 texts to learn from; got {len(texts)}.")
        self.schema, self.seed, self.n_texts, self.n_epochs = schema, seed, len(texts), 0
        storage = schema.encode(texts)
        order = torch.randperm(len(texts), generator=generator(seed, "language-model", "held-out"))
        held_out, rows = order.tensor_split([max(1, round(_HELD_OUT * len(texts)))])
        with isolated_rng(derive_seed(seed, "language-model")):
            codes = TokenCodes(schema.n_tokens, schema.max_length)
            self._network = SequenceDecoder(codes, 1, widths=(_WIDTH,), dropout=_DROPOUT)
            self._train(storage[rows], storage[held_out])

    @property
    def description(self) -> str:
        """What it is and what it has learnt from."""
        return (
            f"LSTM of {_WIDTH} units over {self.schema.n_tokens:,} sub-words, {self.n_epochs} passes over "
            f"{self.n_texts:,} texts, seed {self.seed}"
        )

    def perplexity(self, texts: Sequence[str]) -> Perplexity:
        """Judge texts; what stands behind the 512th token of one does not count."""
        storage = self.schema.encode(texts)
        return perplexity(self._log_likelihood(storage), storage, self.schema)

    def _train(self, storage: Tensor, held_out: Tensor) -> None:
        lengths = self.schema.lengths(storage)
        n_tokens = int(lengths.sum())
        n_epochs = min(_MOST_EPOCHS, max(1, _BUDGET // n_tokens))
        n_steps = n_epochs * math.ceil(len(storage) / _BATCH)
        counts = torch.bincount(storage.flatten().long(), minlength=self.schema.n_tokens).double()
        counts[0] = len(storage)  # the end of each, and not what stands behind it
        self._network.start_at(((counts + 1.0) / (counts + 1.0).sum()).log().float())
        optimizer = torch.optim.Adam(self._network.parameters(), lr=_LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1.0 / n_steps, total_iters=n_steps)
        source = generator(self.seed, "language-model", "order")
        least, best = math.inf, self._network.state_dict()
        for epoch in range(1, n_epochs + 1):
            self._network.train()
            for rows in _batches(lengths, source):
                x = self.schema.to_model(storage[rows])
                loss = -self._log_probs(x).sum() / int(lengths[rows].sum())
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                clip_grad_norm_(self._network.parameters(), _GREATEST_GRADIENT)
                optimizer.step()
                schedule.step()
            nats = -float(self._log_likelihood(held_out).sum())
            if nats < least:
                least, best, self.n_epochs = nats, copy.deepcopy(self._network.state_dict()), epoch
            elif epoch - self.n_epochs >= _PATIENCE:
                break
        self._network.load_state_dict(best)

    def _log_likelihood(self, storage: Tensor) -> Tensor:
        """Of each text, nats, shape (n,)."""
        self._network.eval()
        found = torch.empty(len(storage))
        with torch.inference_mode():
            for rows in torch.split(self.schema.lengths(storage).argsort(stable=True), _BATCH):
                found[rows] = self._log_probs(self.schema.to_model(storage[rows])).sum(1)
        return found

    def _log_probs(self, x: Tensor) -> Tensor:
        """Of each token, shape of x; there is no z."""
        return self._network.log_probs(torch.zeros(len(x), 1), x, x)


def _batches(lengths: Tensor, source: torch.Generator) -> Iterator[Tensor]:
    """Yield the rows of batches of about one length, in random order."""
    order = torch.randperm(len(lengths), generator=source)
    batches = torch.split(order[lengths[order].argsort(stable=True)], _BATCH)
    for place in torch.randperm(len(batches), generator=source).tolist():
        yield batches[place]
