"""Sentences: likelihood with a latent space that is used, edits, throughput, Chinese, and vectors.

    python benchmarks/text.py [--only ptb yelp edit throughput chinese vectors] [--minutes 30] [--importance 500]

Figures of a latent space come together: the negative log-likelihood of a test sentence, its end included (importance
sampling with K draws on every few sentences, and the bound of one draw on all), KL, the mutual information of sentences
and codes, and active units (variance of the posterior mean above 0.01).

- ptb: Penn Treebank, words between blanks, the vocabulary of the training file; the same decoder as a plain language
  model (no latent dimension that is used) beside it.
- yelp: review sentences; fitted to the file `test`, judged on `dev`, since the training file cannot be had.
- edit: negative sentences of `dev` turned positive and the other way round, judged by a linear classifier of n-grams
  that is trained on `test` alone, with BLEU to the source.
- throughput: tokens a second of training beside a plain loop of PyTorch of the same networks; padding is not counted.
- chinese: headlines with their classes; validity, distinctness, copies, and a classifier's verdict on samples of a class.
- vectors: classes of news by a linear classifier on posterior means, beside TF-IDF and SVD of equal size.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

from _measuring import data_folder, store

PARTS = ("ptb", "yelp", "edit", "throughput", "chinese", "vectors")
#: Share of all tokens that classifiers of texts are trained without, and texts that are edited of each class.
EDITED = 1000


def lines(name: str) -> list[str]:
    """The texts of a file of the data."""
    return (data_folder() / "text" / name).read_text(encoding="utf-8").splitlines()


def judged(vae: Any, texts: Sequence[str], *, importance: int, every: int) -> dict[str, Any]:
    """Likelihood and use of the latent space on texts that were not fitted to."""
    import numpy as np
    import torch

    from latentkit.evaluation import active_units, mutual_information

    some = list(texts)[::every]
    bound = vae.log_likelihood(list(texts), n_importance=1).log_likelihood
    tight = vae.log_likelihood(some, n_importance=importance).log_likelihood
    n_words = sum(len(text.split()) + 1 for text in some)
    storage = vae.schema_.encode(list(texts))
    order = vae._order(storage)
    means, log_vars = [], []
    with torch.no_grad():
        for rows in order.split(256):
            posterior = vae._model(torch.float32).encode(vae.schema_.to_model(storage[rows]))
            means.append(posterior.mean)
            log_vars.append(posterior.log_var)
    mean, log_var = torch.cat(means), torch.cat(log_vars)
    drawn = torch.randperm(len(mean), generator=torch.Generator().manual_seed(0))[:4000]
    information = mutual_information(mean[drawn], log_var[drawn])
    return {
        "nll": round(-float(tight.mean()), 3),
        "nll_standard_error": round(float(tight.std() / len(some) ** 0.5), 3),
        "importance": importance,
        "sentences": len(some),
        "nll_one_draw": round(-float(bound.mean()), 3),
        "sentences_one_draw": len(texts),
        "perplexity_per_word": round(float(np.exp(-float(tight.sum()) / n_words)), 2),
        "kl": round(float((0.5 * (mean.square() + log_var.exp() - 1 - log_var)).sum(1).mean()), 3),
        "mutual_information": [round(information.lower, 3), round(min(information.upper, 1e6), 3)],
        "active_units": int(active_units(mean).sum()),
    }


def fitted(texts: Any, minutes: float, y: Any = None, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A VAE that was trained for so long, and how that went."""
    from latentkit import VAE

    start = time.perf_counter()
    vae = VAE(max_time=60.0 * minutes, random_state=0, verbose=1, **settings).fit(texts, y)
    seconds = time.perf_counter() - start
    return vae, {"seconds": round(seconds), "epochs": vae.n_iter_, "engine": vae.engine_.summary()}


def language_model(texts: Sequence[str], minutes: float, **settings: Any) -> Any:
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
        "vae": {**how, **judged(vae, test, importance=options.importance, every=options.every)},
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
    parts = [lines(f"yelp_sentiment.{part}.{label}") for label in (0, 1)]
    return [*parts[0], *parts[1]], [0] * len(parts[0]) + [1] * len(parts[1])


def yelp(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    (train, _), (dev, _) = yelp_files("test"), yelp_files("dev")
    dev = [dev[row] for row in np.random.default_rng(0).permutation(len(dev))[:10_000]]
    vae, how = fitted(train, options.minutes, vocabulary="words", n_tokens=10_000)
    plain, plain_how = language_model(train, options.minutes, vocabulary="words", n_tokens=10_000)
    return {
        "vae": {**how, **judged(vae, dev, importance=options.importance, every=options.every)},
        "language_model": {**plain_how, **judged(plain, dev, importance=1, every=1)},
    }


def classifier(texts: Sequence[str], labels: Any, *, analyzer: str = "word", n_grams: tuple[int, int] = (1, 2)) -> Any:
    """A linear classifier of n-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    vectors = TfidfVectorizer(analyzer=analyzer, ngram_range=n_grams, min_df=2, token_pattern=r"\S+", sublinear_tf=True)
    return make_pipeline(vectors, LogisticRegression(C=10.0, max_iter=1000)).fit(texts, labels)


def edit(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from latentkit.evaluation import bleu

    (train, labels), (dev, asked) = yelp_files("test"), yelp_files("dev")
    judge = classifier(train, labels)
    figures: dict[str, Any] = {"classifier_accuracy": round(float(judge.score(dev, asked)), 4)}
    vae, how = fitted(train, options.minutes, vocabulary="words", n_tokens=10_000)
    figures |= how
    random = np.random.default_rng(0)
    rows = random.permutation(len(train))[:20_000]
    direction = vae.attribute_direction([train[row] for row in rows], np.array(labels)[rows])
    figures["direction_score"] = round(float(direction.score), 4)
    asked = np.array(asked)
    chosen = np.concatenate([random.permutation(np.flatnonzero(asked == label))[:EDITED] for label in (0, 1)])
    sources, kinds = [dev[row] for row in chosen], asked[chosen]
    for strength in options.strengths:
        moved = [""] * len(sources)
        for label, sign in ((0, 1.0), (1, -1.0)):
            places = np.flatnonzero(kinds == label)
            for place, text in zip(places, vae.edit([sources[p] for p in places], direction, strength=sign * strength)):
                moved[place] = text
        flipped = float(np.mean(judge.predict(moved) != kinds))
        figures[f"strength {strength:g}"] = {
            "flipped": round(flipped, 4),
            "bleu_to_source": round(100 * bleu(moved, sources), 2),
            "examples": [[sources[place], moved[place]] for place in (0, 1, EDITED, EDITED + 1)],
        }
        print(strength, figures[f"strength {strength:g}"], flush=True)
    return figures


def chinese(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    pairs = [line.rsplit("\t", 1) for line in lines("thucnews_titles.dev.tsv")]
    titles, labels = [title for title, _ in pairs], [name for _, name in pairs]
    judge = classifier(titles[::2] + titles[1::2], labels[::2] + labels[1::2], analyzer="char", n_grams=(1, 3))
    held_out = classifier(titles[::2], labels[::2], analyzer="char", n_grams=(1, 3)).score(titles[1::2], labels[1::2])
    vae, how = fitted(titles, options.minutes / 3, condition=labels) if False else _conditional(titles, labels, options)
    known = set(titles)
    made, kinds = [], []
    for label in sorted(set(labels)):
        made += vae.sample(200, condition=label, temperature=options.temperature, random_state=0)
        kinds += [label] * 200
    return {
        **how,
        "valid_utf8": round(float(np.mean(["\ufffd" not in text for text in made])), 4),
        "distinct_and_new": round(len(set(made) - known) / len(made), 4),
        "as_asked": round(float(np.mean(judge.predict(made) == np.array(kinds))), 4),
        "classifier_held_out": round(float(held_out), 4),
        "temperature": options.temperature,
        "samples": {label: made[200 * place : 200 * place + 3] for place, label in enumerate(sorted(set(labels)))},
    }
