"""Pages in another language: whole, in one place, and nothing of ours left in English."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from latentkit import GAN, VQVAE, AnomalyDetector
from latentkit.core.errors import InvalidParameterError
from latentkit.data import Dataset
from latentkit.estimators import VAE
from latentkit.report import language, write_report
from latentkit.report.language import in_language, said, say, sentence
from latentkit.report.wording import count, duration, first_of
from tests.report.cases import HOSTILE, ODD
from tests.report.test_writing import Strict

SOURCE = Path(language.__file__).parent
#: Names that are the same in every language, and what a translation may hold of Latin letters beside them.
NAMES = (
    "AUC AnomalyDetector Aumann BLEU Burda Cramer DATA ELBO F1 Hoffman I Johnson K KL Kim Kish Kolmogorov MMD "
    "N PCA Poole RUN SDMetrics SNE Self Shapley Simonyan Smirnov T V White associated beta c config critic e "
    "equal_width float32 h jsonl latentkit learn log log2 max_length metrics n oneDNN own_width p perplexity q "
    "report rule s sample scikit score_cells self t x y yaml z z_j "
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
    "GAN left middle right low high pair constant bars npz folder CPU cpu float32 bfloat16 PCA animals txt "
    "animal odd zh CN "
)


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
    known = " ".join((WORDS, settings, *own))
    shown = [text for text in page.text if "{" not in text]
    shown += [value or "" for tag, given in page.tags for key, value in given.items() if key in ("alt", "aria-label")]
    left = {text: words for text in shown if (words := _leftover(text, known))}
    assert left == {}
