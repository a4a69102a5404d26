"""Sentences: likelihood with a latent space that is used, edits, throughput, Chinese, and vectors.

    python benchmarks/text.py [--only ptb yelp edit throughput chinese vectors] [--minutes 30] [--importance 500]

Figures of a latent space come together: the negative log-likelihood of a test sentence, its end included (the bound of
one draw on all sentences, and what K draws add on every few of them; also under the mixture that samples are drawn
from), KL, the mutual information of sentences and codes, and active units (variance of the posterior mean above 0.01).

- ptb: Penn Treebank, words between blanks, the vocabulary of the training file; the same decoder as a plain language
  model (no latent dimension that is used) beside it.
- yelp: review sentences; fitted to the file `test`, judged on `dev`, since the training file cannot be had; the same
  decoder as a plain language model beside it, for as many epochs. Of the nats of KL fewer are free than by default:
  hardly more than the five that are asked for.
- edit: negative sentences of `dev` rewritten as positive ones and the other way round, judged by a linear classifier of
  n-grams that is trained on `test` alone, with BLEU to the source.
- throughput: tokens a second of training beside a plain loop of PyTorch of the same networks; padding is not counted.
- chinese: headlines with their classes; validity, distinctness, copies, and a classifier's verdict on samples of each.
- vectors: classes of news by a linear classifier on posterior means, beside TF-IDF and SVD of equal size.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, store

#: Texts that are edited of each class.
EDITED = 1000


def lines(name: str) -> list[str]:
    """The texts of a file of the data."""
    return (data_folder() / "text" / name).read_text(encoding="utf-8").splitlines()


def judged(vae: Any, texts: Sequence[str], *, importance: int, every: int, train: Any = None) -> dict[str, Any]:
    """Likelihood and use of the latent space on texts that were not fitted to.

    The bound of K draws is that of one draw on all texts, and what more draws add on every few of them: the second is
    alike for all texts, and the first is not.
    """
    one = vae.log_likelihood(list(texts), n_importance=1).log_likelihood
    found = vae.evaluate(list(texts), train=train, n_importance=1, random_state=0)
    told = found["mutual information"]
    added = vae.log_likelihood(list(texts[::every]), n_importance=importance).log_likelihood - one[::every]
    mixed = added
    if vae.ex_post_prior_ is not None:
        under = vae.log_likelihood(list(texts[::every]), n_importance=importance, prior="mixture")
        mixed = under.log_likelihood - one[::every]
    n_words = sum(len(text.split()) + 1 for text in texts)
    nll = -float(one.mean()) - float(added.mean())
    figures = {
        "nll": round(nll, 3),
        "nll_standard_error": round(float((one.var() / len(one) + added.var() / len(added)) ** 0.5), 3),
        "nll_mixture": round(-float(one.mean()) - float(mixed.mean()), 3),
        "importance": importance,
        "sentences": len(added),
        "nll_one_draw": round(-float(one.mean()), 3),
        "sentences_one_draw": len(texts),
        "perplexity_per_word": round(math.exp(nll * len(texts) / n_words), 2),
        "kl": round(found["KL"].value, 3),
        "mutual_information": [round(told.value, 3), round(1e6 if told.interval is None else told.interval[1], 3)],
        "active_units": int(found["active dimensions"].value),
        "tokens_right": round(found["tokens rebuilt"].value / 100, 4),
    }
    judged = [figure for figure in found.figures if figure.group in ("samples", "copies")]
    if judged:
        figures["samples"] = {each.name: [round(each.value, 4), round(each.floor or 0.0, 4)] for each in judged}
    return figures


def fitted(texts: Any, minutes: float | None, *, condition: Any = None, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A VAE that was trained for so long, and how that went; None is until its epochs are over."""
    from latentkit import VAE

    start = time.perf_counter()
    limit = None if minutes is None else 60.0 * minutes
    vae = VAE(max_time=limit, random_state=0, verbose=1, **settings).fit(texts, condition=condition)
    seconds = time.perf_counter() - start
    return vae, {"seconds": round(seconds), "epochs": vae.n_iter_, "engine": vae.engine_.summary()}


def language_model(texts: Sequence[str], minutes: float | None, **settings: Any) -> Any:
    """The same decoder with a latent dimension that it is not asked to use: a plain language model."""
    return fitted(
        texts,
        minutes,
        latent_dim=1,
        posterior_options={},
        free_bits=0.0,
        beta=1.0,
        kl_schedule="constant",
        kl_warm_up=0.0,
        ex_post="none",
        encoder=(8,),
        **settings,
    )


def ptb(options: argparse.Namespace) -> dict[str, Any]:
    train, test = lines("ptb.train.txt"), lines("ptb.test.txt")
    common: dict[str, Any] = {"vocabulary": "words"}
    vae, how = fitted(train, options.minutes, **common)
    figures: dict[str, Any] = {
        "vae": {**how, **judged(vae, test, importance=options.importance, every=options.every, train=train)},
        "samples": vae.sample(8, temperature=0.7, random_state=0),
        "way": vae.interpolate(test[11], test[57], steps=7),
    }
    print(figures, flush=True)
    if options.language_model:
        plain, how = language_model(train, options.minutes, **common)
        figures["language_model"] = {**how, **judged(plain, test, importance=1, every=1)}
    return figures


def yelp_files(part: str) -> tuple[list[str], list[int]]:
    """Sentences and whether they are positive."""
    parts = [lines(f"yelp_sentiment.{part}.{label}.txt") for label in (0, 1)]
    return [*parts[0], *parts[1]], [0] * len(parts[0]) + [1] * len(parts[1])


def yelp(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    (train, _), (dev, _) = yelp_files("test"), yelp_files("dev")
    dev = [dev[row] for row in np.random.default_rng(0).permutation(len(dev))[:10_000]]
    common: dict[str, Any] = {"vocabulary": "words", "n_tokens": 10_000, "max_epochs": options.epochs}
    latent: dict[str, Any] = {"latent_dim": 32, "free_bits": options.free_nats / 32, "prior": options.prior}
    vae, how = fitted(train, None, **latent, **common)
    print(f"fitted in {how['seconds']} s", flush=True)
    plain, plain_how = language_model(train, None, **common)
    return {
        "vae": {**how, **latent, **judged(vae, dev, importance=options.importance, every=options.every)},
        "language_model": {**plain_how, **judged(plain, dev, importance=1, every=1)},
    }


def classifier(texts: Sequence[str], labels: Any, *, analyzer: str = "word", n_grams: tuple[int, int] = (1, 2)) -> Any:
    """A linear classifier of n-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    tokens = {"token_pattern": r"\S+"} if analyzer == "word" else {}
    vectors = TfidfVectorizer(analyzer=analyzer, ngram_range=n_grams, min_df=2, sublinear_tf=True, **tokens)
    return make_pipeline(vectors, LogisticRegression(C=10.0, max_iter=1000)).fit(texts, labels)


def edit(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from latentkit.evaluation import bleu

    (train, labels), (dev, asked) = yelp_files("test"), yelp_files("dev")
    judge = classifier(train, labels)
    names = np.array(["negative", "positive"])
    vae, how = fitted(train, options.minutes, condition=names[labels], vocabulary="words", n_tokens=10_000)
    figures: dict[str, Any] = {"classifier_accuracy": round(float(judge.score(dev, asked)), 4), **how}
    random, asked = np.random.default_rng(0), np.array(asked)
    for margin in options.margins:
        sources, moved, kinds = [], [], []
        for label in (0, 1):
            texts = [dev[row] for row in random.permutation(np.flatnonzero(asked == label))[:EDITED]]
            sources += texts
            moved += vae.rewrite(texts, str(names[1 - label]), margin=margin)
            kinds += [label] * len(texts)
        flipped = judge.predict(moved) != np.array(kinds)
        figures[f"margin {margin:g}"] = {
            "flipped": round(float(flipped.mean()), 4),
            "flipped_by_source": [round(float(flipped[np.array(kinds) == label].mean()), 4) for label in (0, 1)],
            "bleu_to_source": round(100 * bleu(moved, sources), 2),
            "examples": [[sources[row], moved[row]] for start in (0, EDITED) for row in range(start, start + 5)],
        }
        print(margin, figures[f"margin {margin:g}"], flush=True)
    return figures


def throughput(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of training, ours and those of a plain loop, in turn."""
    import statistics

    train = lines("ptb.train.txt")
    n_tokens = sum(len(text.split()) + 1 for text in train)
    ours, theirs = [], []
    for _ in range(options.rounds):
        _, seconds = plain_epoch(train, options.seconds)
        theirs.append(seconds)
        vae, _ = fitted(train, options.seconds / 60, vocabulary="words", ex_post="none")
        ours.append(statistics.median(record["samples_per_second"] for record in vae.history_) * n_tokens / len(train))
    return {
        "ours_tokens_per_second": round(statistics.median(ours)),
        "plain_tokens_per_second": round(statistics.median(theirs)),
        "threads": int(os.environ["OMP_NUM_THREADS"]),
        "ratio": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
    }


def plain_epoch(train: Sequence[str], seconds: float) -> tuple[int, float]:
    """Train a VAE of the same sizes as a tutorial does, for so long: steps, and tokens a second."""
    from collections import Counter

    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

    words = {word: place + 1 for place, (word, _) in enumerate(Counter(" ".join(train).split()).most_common())}
    rows = [torch.tensor([*(words[word] for word in text.split()), 0]) for text in train]
    n_tokens, width, latent = len(words) + 1, 256, 32

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen, self.said = nn.Embedding(n_tokens, width), nn.Embedding(n_tokens, width)
            self.encoder = nn.LSTM(width, width, batch_first=True, bidirectional=True)
            self.head, self.start = nn.Linear(2 * width, 2 * latent), nn.Linear(latent, width)
            self.decoder = nn.LSTM(width + latent, width, batch_first=True)
            self.out = nn.Linear(width, n_tokens)

        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            packed = pack_padded_sequence(self.seen(x), lengths, batch_first=True, enforce_sorted=False)
            _, (last, _) = self.encoder(packed)
            mean, log_var = self.head(last.transpose(0, 1).flatten(1)).chunk(2, -1)
            z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
            before = nn.functional.pad(x, (1, 0))[:, :-1]
            inputs = torch.cat([self.said(before), z[:, None].expand(-1, x.shape[1], -1)], -1)
            h = torch.tanh(self.start(z))[None].contiguous()
            logits = self.out(self.decoder(inputs, (h, torch.zeros_like(h)))[0])
            is_reached = torch.arange(x.shape[1]) < lengths[:, None]
            costs = nn.functional.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none")
            kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(-1)
            return ((costs.view(x.shape) * is_reached).sum(-1) + kl).mean()

    model = Plain()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.randperm(len(rows)).tolist()
    seen, steps, start = 0, 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        some = [rows[row] for row in order[64 * steps : 64 * (steps + 1)]]
        lengths = torch.tensor([len(row) for row in some])
        optimizer.zero_grad()
        model(pad_sequence(some, batch_first=True), lengths).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        seen, steps = seen + int(lengths.sum()), steps + 1
    return steps, seen / (time.perf_counter() - start)


def chinese(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    # some titles of the corpus are damaged: they hold U+FFFD, by which broken samples are told here
    pairs = [line.rsplit("\t", 1) for line in lines("thucnews_titles.dev.tsv") if "\ufffd" not in line]
    titles, labels = [title for title, _ in pairs], [name for _, name in pairs]
    kinds = sorted(set(labels))
    n_grams: dict[str, Any] = {"analyzer": "char", "n_grams": (1, 3)}
    held_out = classifier(titles[::2], labels[::2], **n_grams).score(titles[1::2], labels[1::2])
    judge = classifier(titles, labels, **n_grams)
    vae, how = fitted(titles, options.minutes / 2, condition=labels)
    made, asked = [], []
    for label in kinds:
        made += vae.sample(200, condition=label, temperature=options.temperature, random_state=0)
        asked += [label] * 200
    return {
        **how,
        "temperature": options.temperature,
        "valid_utf8": round(float(np.mean(["\ufffd" not in text for text in made])), 4),
        "distinct_and_new": round(len(set(made) - set(titles)) / len(made), 4),
        "as_asked": round(float(np.mean(judge.predict(made) == np.array(asked))), 4),
        "classifier_on_held_out_half": round(float(held_out), 4),
        "samples": {label: made[200 * place : 200 * place + 3] for place, label in enumerate(kinds)},
    }


def vectors(options: argparse.Namespace) -> dict[str, Any]:
    import csv

    import numpy as np
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with (data_folder() / "text" / "ag_news.test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    random = np.random.default_rng(0)
    order = random.permutation(len(rows))
    labels, titles = np.array([row[0] for row in rows])[order], [rows[place][1] for place in order]
    train, test = slice(0, 6600), slice(6600, None)
    vae, how = fitted(titles[train], options.minutes / 3)
    codes = vae.transform(titles)
    svd = make_pipeline(TfidfVectorizer(sublinear_tf=True), TruncatedSVD(codes.shape[1], random_state=0))
    spaces = {
        "vae": codes,
        "tfidf_svd": np.concatenate([svd.fit_transform(titles[train]), svd.transform(titles[test])]),
    }
    figures: dict[str, Any] = {**how, "dimensions": codes.shape[1]}
    for name, space in spaces.items():
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(space[train], labels[train])
        figures[f"{name}_accuracy"] = round(float(linear.score(space[test], labels[test])), 4)
    return figures


def main() -> None:
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "ptb": ptb,
        "yelp": yelp,
        "edit": edit,
        "throughput": throughput,
        "chinese": chinese,
        "vectors": vectors,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(parts), choices=list(parts))
    parser.add_argument(
        "--minutes",
        type=float,
        default=30.0,
        help="of a training on Penn Treebank or for edits; half of them for Chinese",
    )
    parser.add_argument("--epochs", type=int, default=5, help="of both trainings on Yelp")
    parser.add_argument("--free-nats", type=float, default=5.2, help="nats of KL at no cost, on Yelp")
    parser.add_argument("--prior", default="normal", help="prior that is trained against, on Yelp")
    parser.add_argument("--importance", type=int, default=500, help="draws of the bound")
    parser.add_argument("--every", type=int, default=10, help="sentences of which one gets so many draws")
    parser.add_argument("--language-model", action="store_true", help="also fit the same decoder without z on PTB")
    parser.add_argument("--margins", type=float, nargs="+", default=[0.0, 2.0, 4.0], help="of edits, nats")
    parser.add_argument("--temperature", type=float, default=0.7, help="of headlines")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training of the throughput")
    parser.add_argument("--rounds", type=int, default=3, help="of the throughput")
    parser.add_argument("--dry", action="store_true", help="store nothing")
    options = parser.parse_args()
    figures = {}
    for name in options.only:
        figures[name] = parts[name](options)
        print(name, figures[name], flush=True)
        if not options.dry:
            store("text", {name: figures[name]}, merge=True)


if __name__ == "__main__":
    main()
