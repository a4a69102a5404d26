"""Odd texts: AnomalyDetector beside neighbours and isolation forests of TF-IDF.

    python benchmarks/text_detection.py [--only sports reviews] [--minutes 3] [--seed 0]

Each set has normal texts to fit to, normal texts that were held out, and odd ones of several kinds; figures are areas
under the ROC curve of the held-out normal texts and the odd ones of a kind.

- sports: news titles of one class of AG (1,500 of the published test part, since the training part cannot be had).
- reviews: review sentences of Yelp (15,000 of the file `test`; held out are those of `dev`).

Kinds: `others` are titles of the three other classes, or sentences of Penn Treebank; `words` have two words replaced by
words of the corpus, as frequent as they are there; `order` have their words in another order; `gibberish` have a word
replaced by eight letters. No detector sees an odd text before it is judged. Ours is AnomalyDetector with its defaults
around a VAE that is trained for so many minutes; its parts are judged one by one, too. `alarms` is the share of
held-out normal texts with a p-value of at most 0.05.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

import numpy as np
from _measuring import data_folder, store

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))
#: Odd texts of each kind, and held-out normal ones.
JUDGED = 400


def lines(name: str) -> list[str]:
    """The texts of a file of the data."""
    return (data_folder() / "text" / name).read_text(encoding="utf-8").splitlines()


def chosen(texts: Sequence[str], n: int, random: np.random.Generator) -> list[str]:
    """Some of the texts."""
    return [texts[row] for row in random.permutation(len(texts))[:n]]


def sports(random: np.random.Generator) -> tuple[list[str], list[str], list[str]]:
    """Normal titles to fit to, others to judge, and titles of other classes."""
    with (data_folder() / "text" / "ag_news.test.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row[0], row[1]) for row in csv.reader(file)]
    normal = chosen([title for label, title in rows if label == "2"], 1500 + JUDGED, random)
    odd = chosen([title for label, title in rows if label != "2"], JUDGED, random)
    return normal[:1500], normal[1500:], odd


def reviews(random: np.random.Generator) -> tuple[list[str], list[str], list[str]]:
    """Normal sentences to fit to, others to judge, and sentences of news of no more words."""
    train, test = (
        [line for k in (0, 1) for line in lines(f"yelp_sentiment.{part}.{k}.txt")] for part in ("test", "dev")
    )
    news = [line.strip() for line in lines("ptb.test.txt") if len(line.split()) <= 15]
    return chosen(train, 15_000, random), chosen(test, JUDGED, random), chosen(news, JUDGED, random)


SETS = {"sports": sports, "reviews": reviews}


def made_odd(texts: Sequence[str], train: Sequence[str], random: np.random.Generator) -> dict[str, list[str]]:
    """Normal texts that something was done to."""
    corpus = [word for text in train for word in text.split()]

    def replaced(text: str, n: int, gibberish: bool) -> str:
        words = text.split()
        for place in random.permutation(len(words))[:n]:
            words[place] = "".join(random.choice(LETTERS, 8)) if gibberish else corpus[random.integers(len(corpus))]
        return " ".join(words)

    return {
        "words": [replaced(text, 2, gibberish=False) for text in texts],
        "order": [" ".join(random.permutation(text.split())) for text in texts],
        "gibberish": [replaced(text, 1, gibberish=True) for text in texts],
    }


def peers(train: Sequence[str], seed: int) -> dict[str, Any]:
    """Detectors of scikit-learn on TF-IDF: functions from texts to scores, higher for odder ones."""
    from sklearn.ensemble import IsolationForest
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    words = TfidfVectorizer(sublinear_tf=True).fit(train)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit(train)
    near = {
        name: NearestNeighbors(n_neighbors=5).fit(by.transform(train)) for name, by in (("w", words), ("c", characters))
    }
    forest = IsolationForest(random_state=seed).fit(words.transform(train))
    return {
        "TF-IDF of words, 5 neighbours": lambda texts: near["w"].kneighbors(words.transform(texts))[0].mean(1),
        "TF-IDF of characters, 5 neighbours": lambda texts: (
            near["c"].kneighbors(characters.transform(texts))[0].mean(1)
        ),
        "TF-IDF of words, isolation forest": lambda texts: -forest.score_samples(words.transform(texts)),
    }


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Areas under the ROC curve of every detector and kind of odd texts."""
    from latentkit import VAE, AnomalyDetector
    from latentkit.evaluation import detection_quality

    random = np.random.default_rng(options.seed)
    train, normal, others = SETS[name](random)
    odd = {"others": others, **made_odd(normal, train, random)}

    def areas(score: Any) -> dict[str, float]:
        usual = score(normal)
        found = {}
        for kind, texts in odd.items():
            labels = np.repeat([False, True], [len(usual), len(texts)])
            found[kind] = round(100 * detection_quality(labels, np.concatenate([usual, score(texts)])).auroc, 2)
        return found

    start = time.perf_counter()
    vae = VAE(max_time=60 * options.minutes, ex_post="none", **dict(options.set or ()))
    detector = AnomalyDetector(vae, random_state=options.seed).fit(train)
    how = {"seconds": round(time.perf_counter() - start), "epochs": detector.estimator_.n_iter_}
    figures: dict[str, Any] = {"AnomalyDetector": areas(lambda texts: -detector.score_samples(texts))}
    alarms = round(float((detector.p_values(normal) <= 0.05).mean()), 4)
    for part in detector.parts_:
        figures[f"part {part}"] = areas(lambda texts, part=part: detector.score_parts(texts)[part])
    for peer, score in peers(train, options.seed).items():
        figures[peer] = areas(score)
    for detector_name, found in figures.items():
        print(f"{name:<8} {detector_name:<36} {found}", flush=True)
    explained = detector.explain(odd["gibberish"][:3])
    why = [[text, explained.sentence(row)] for row, text in enumerate(odd["gibberish"][:3])]
    return {**how, "fitted_to": len(train), "judged": len(normal), "alarms": alarms, "auroc": figures, "why": why}


def setting(text: str) -> tuple[str, Any]:
    """A parameter of the VAE and its value, as in latent_dim=16."""
    import yaml

    name, _, value = text.partition("=")
    return name, yaml.safe_load(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="+", type=setting, help="parameters of the VAE, as in latent_dim=16")
    parser.add_argument("--dry", action="store_true", help="print the figures and keep no file")
    options = parser.parse_args()
    figures = {name: measure(name, options) for name in options.only}
    settings = {name: str(value) for name, value in options.set or ()}
    if options.dry:
        print(figures)
    else:
        store(
            "text_detection",
            {"minutes": options.minutes, "settings": settings, **figures},
            seed=options.seed,
            merge=True,
        )


if __name__ == "__main__":
    main()
