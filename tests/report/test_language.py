"""Pages in another language: whole, in one place, and nothing of ours left in English."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from latentkit import GAN, VQVAE, AnomalyDetector, Autoencoder
from latentkit.core.errors import InvalidParameterError
from latentkit.data import Dataset
from latentkit.estimators import VAE, compare_models
from latentkit.report import language, write_comparison, write_report, write_study
from latentkit.report.language import in_language, said, say, sentence
from latentkit.report.wording import count, duration, first_of
from latentkit.search.goals import goals
from tests.report.cases import HOSTILE, ODD
from tests.report.test_tuning import make_study
from tests.report.test_writing import Strict

SOURCE = Path(language.__file__).parent
#: Names that are the same in every language, and what a translation may hold of Latin letters beside them.
NAMES = (
    "AUC AnomalyDetector Aumann BLEU Burda Cramer DATA DeLong ELBO F1 Frechet Hoffman Holm Hutter I Johnson K KL "
    "Kim Kish Kolmogorov LSTM MMD N PCA Poole RUN SDMetrics SNE SSIM Self Shapley Simonyan Smirnov T V White "
    "Wilcoxon Wilson ais associated beta c config critic csv discretized_logistic distinct e equal_width estimator "
    "ex_post fANOVA float32 h iwae json jsonl latentkit learn likelihood log log2 max_length metrics mixture n "
    "oneDNN own_width p perplexity q report rule s sample scikit score_cells self study t train trials x y yaml z "
    "z_j "
)


def messages() -> dict[str, set[str]]:
    """Every message of the code and of the page, with what is put in."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            name, arguments = node.func.id, [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
            if name in ("say", "message") and isinstance(arguments[0], str):
                found.setdefault(arguments[0], set()).update(str(keyword.arg) for keyword in node.keywords)
            if name in ("count", "first_of"):
                nouns = arguments[1 if name == "count" else 2 :] or ["column"]
                if isinstance(nouns[0], str):
                    found.setdefault(f"{{n:,}} {nouns[1] if len(nouns) > 1 else f'{nouns[0]}s'}", set()).add("n")
    found |= {f"{{n:,}} {nouns}": {"n"} for nouns in ("images", "rows", "texts")}
    page = (SOURCE / "templates" / "report.html").read_text(encoding="utf-8")
    for text in re.findall(r'say\("([^"]*)"', page):
        found.setdefault(text, set(names_in(text)))
    return found


def names_in(text: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(text) if name is not None]


@pytest.fixture(scope="module")
def chinese() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = json.loads((SOURCE / "words" / "zh.json").read_text(encoding="utf-8"))
    return found


def test_every_message_has_a_translation_and_no_other(chinese: Mapping[str, Mapping[str, str]]) -> None:
    known, there = set(messages()), set(chinese["page"])
    assert known - there == set(), "say them in words/zh.json"
    assert there - known == set(), "nobody says these any more"


def test_translations_ask_for_what_is_put_in(chinese: Mapping[str, Mapping[str, str]]) -> None:
    for text, given in messages().items():
        assert set(names_in(chinese["page"][text])) <= {*given, *names_in(text)}, text
    for text, words in chinese["library"].items():
        assert set(names_in(words)) <= set(names_in(text)), text


def test_translations_are_chinese(chinese: Mapping[str, Mapping[str, str]]) -> None:
    allowed = set(NAMES.split())
    for words in (*chinese["page"].values(), *chinese["library"].values()):
        plain = re.sub(r"\{[^}]*\}", " ", words)
        assert set(re.findall(r"[A-Za-z_]\w*", plain)) <= allowed, words


def test_what_is_said_is_in_the_language_of_the_page() -> None:
    assert say("row {n}" if False else "row {row}", row=3) == "row 3"
    with in_language("zh"):
        assert say("row {row}", row=3) == "第 3 行"
        assert count(1, "row") == "1 行"
        assert count(2000, "text") == "2,000 条文本"
        assert duration(130) == "2 分 10 秒"
        assert first_of(2, 9) == "仅列出9 列中的前 2 个。"
        assert sentence("log p") == "log p。"
        with in_language("en"):
            assert count(1, "row") == "1 row"
        with pytest.raises(KeyError):
            say("a message that nobody has translated")
    assert count(2, "row") == "2 rows"


def test_what_other_parts_say_of_themselves_is_translated_with_its_values() -> None:
    with in_language("zh"):
        assert said("512 categories, 3 of them once") == "512 个类别，其中 3 个只出现一次"
        assert said("always 'a, text'") == "始终为 'a, text'"
        assert said("a name of the user's") == "a name of the user's"
        assert said("ELBO with beta=0.5, no bound on log p(x)").startswith("beta=0.5 的 ELBO")
    assert said("512 categories") == "512 categories"


def test_a_language_that_there_is_not_is_refused(row_model: VAE, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match=r"language must be one of: en, zh; got 'fr'"):
        write_report(row_model, tmp_path / "page.html", language="fr")  # type: ignore[arg-type]
    assert not (tmp_path / "page.html").exists()


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A language without Latin letters but in names: what is still in Latin was never said in any."""

    def hidden(text: str) -> str:
        parts = re.split(r"(\{[^}]*\})", text)
        return "".join(part if part.startswith("{") else re.sub(r"[A-Za-z]", "文", part) for part in parts)

    real = language._catalogue("zh")
    both = {kind: {text: hidden(text) for text in words} for kind, words in real.items()}
    monkeypatch.setattr(language, "_catalogue", lambda _: both)
    for cached in (language._words, language._patterns):
        cached.cache_clear()
    yield
    for cached in (language._words, language._patterns):
        cached.cache_clear()


#: Words of pages that are names: of the data of these tests, of settings and their values, of commands and units.
WORDS = (
    "latentkit report evaluate fit RUN DATA labels COLUMN set ex_post mixture validation_fraction VAE VQVAE "
    "GAN Autoencoder left middle right low high pair constant bars npz folder CPU cpu float32 bfloat16 PCA animals txt "
    "animal odd zh CN KL double int64 own_width equal_width associated "
)
#: Names of figures that are the same in every language.
FIGURES = "PSNR SSIM MS-SSIM AUC dB BLEU distinct"


def _leftover(text: str, known: str) -> list[str]:
    return [word for word in re.findall(r"[A-Za-z][A-Za-z_]+", text) if word not in known]


@pytest.mark.parametrize(
    "name",
    [
        "gan",
        "nothing",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("images", "rows", "texts", "codes", "table")),
    ],
)
def test_no_english_is_left_in_a_page(
    name: str, masked: None, tmp_path: Path, request: pytest.FixtureRequest, brief_ensembles: None
) -> None:
    fixture = {"texts": "texts", "images": "images", "codes": "images"}.get(name, "rows")
    data: Dataset = request.getfixturevalue(fixture)
    small: dict[str, Any] = {"max_epochs": 1, "random_state": 0}
    detector = None
    if name == "codes":
        model: Any = VQVAE(n_codes=8, prior_width=16, prior_layers=1, **small).fit(data.data)
    elif name == "gan":
        model = GAN(2, decoder=(8,), discriminator=(8,), **small).fit(data.data)
    elif name == "table":
        from tests.report.test_mixed import animals

        data = Dataset(animals(120), "animals", "table")
        model = VAE(**small).fit(data.data)
        detector = AnomalyDetector(parts=("histograms",), contamination=0.1, random_state=0).fit(data.data)
    else:
        model = request.getfixturevalue({"texts": "text_model", "images": "image_model"}.get(name, "row_model"))
    given = None if name == "nothing" else data
    path = write_report(model, tmp_path / "page.html", data=given, detector=detector, language="zh")
    # texts of the model are not ours
    page = Strict(re.sub(r'<p lang="".*?</p>', "", path.read_text(encoding="utf-8"), flags=re.DOTALL))
    own = [HOSTILE, *ODD, *(str(text) for text in (data.data if name == "texts" else []))]
    if name == "texts":
        own += model.schema_.vocabulary.pieces(range(model.schema_.n_tokens))
    if name == "table":
        own += [str(cell) for column in data.data for cell in (column, *data.data[column].unique())]
    settings = json.dumps([model.get_params(deep=False), model.specification_.to_dict()], default=str)
    assert_masked(page, " ".join((WORDS, settings, *own)))


@pytest.mark.parametrize(
    "kind", ["rows", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("images", "table", "texts"))]
)
def test_no_english_is_left_in_a_comparison(
    kind: str, masked: None, tmp_path: Path, request: pytest.FixtureRequest, quick_classifier: None
) -> None:
    from tests.report.test_mixed import animals

    own: dict[str, Any] = {"max_epochs": 1, "random_state": 0}
    small = {**own, "encoder": (8,), "decoder": (8,)}
    data: Dataset = Dataset(animals(120), "animals", "table") if kind == "table" else request.getfixturevalue(kind)
    models: dict[str, Any] = {"少": VAE(2, **small).fit(data.data), "多": VAE(3, **small).fit(data.data)}
    if kind in ("images", "rows"):
        models |= {
            "对抗": GAN(2, decoder=(8,), discriminator=(8,), **own).fit(data.data),
            "点": Autoencoder(2, ex_post="none", **small).fit(data.data),
        }
    found = compare_models(models, data.data, train=data.data, n_importance=2, n_samples=20)
    path = write_comparison(found, tmp_path / "page.html", models=models, source=data.source, language="zh")
    page = Strict(path.read_text(encoding="utf-8"))
    columns = [str(column) for column in data.data] if kind == "table" else []
    assert_masked(page, " ".join((WORDS, FIGURES, HOSTILE, *columns)))


def test_no_english_is_left_in_the_page_of_a_study(masked: None, tmp_path: Path) -> None:
    trials = make_study(8).trials_
    trials[3] = replace(trials[3], why="behind the others")
    path = write_study(
        make_study(trials_=trials), tmp_path / "page.html", source="animals.txt", family="VAE", language="zh"
    )
    names = "latent_dim dropout prior normal mixture a prior of a long name training diverged at step KL was nan"
    assert_masked(Strict(path.read_text(encoding="utf-8")), f"{WORDS} {names}")


@pytest.mark.parametrize("goal", [*goals])
def test_how_a_trial_was_judged_is_translated(
    goal: str, masked: None, row_model: VAE, rows: Dataset, image_model: VAE, images: Dataset
) -> None:
    judge = goals[goal]
    model, data = (image_model, images) if goal == "compress" else (row_model, rows)
    how = judge(rows=data.data[:20], n_learnt=20, seed=0).measure(model).how
    with in_language("zh"):
        for text in (judge.figure, judge.unit, how):
            assert not _leftover(said(text), "AUROC ELBO"), text


def assert_masked(page: Strict, known: str) -> None:
    """Nothing of ours is in Latin letters but names."""
    shown = [text for text in page.text if "{" not in text]
    shown += [value or "" for tag, given in page.tags for key, value in given.items() if key in ("alt", "aria-label")]
    left = {text: words for text in shown if (words := _leftover(text, known))}
    assert left == {}
