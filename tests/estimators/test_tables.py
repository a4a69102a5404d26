"""Tables of mixed kinds through an estimator: sample, complete, score and embed rows of which parts are missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentkit import GAN, VAE, VQVAE, Autoencoder, load
from latentkit.core.errors import DataError, InvalidParameterError, SchemaMismatchError, UnsupportedOperationError
from latentkit.data import Dataset
from latentkit.estimators import table_tasks, vectors
from latentkit.nn import ColumnWalk

pd = pytest.importorskip("pandas")


def _table(n: int = 1600, seed: int = 0):
    """Three kinds of animals with weights and legs; a colour that has nothing to do with them, sometimes missing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["cat", "dog", "owl"], n, p=[0.5, 0.3, 0.2])
    weight = np.select([kind == "cat", kind == "dog"], [4.0, 20.0], 1.0) * rng.lognormal(0, 0.1, n)
    colour = rng.choice(["black", "white"], n).astype(object)
    colour[rng.random(n) < 0.15] = None
    return pd.DataFrame(
        {"kind": kind, "weight": weight.round(2), "legs": np.where(kind == "owl", 2, 4), "colour": colour}
    )


def _vae(**settings) -> VAE:
    return VAE(**{"max_epochs": 30, "learning_rate": 1e-2, "patience": None, "random_state": 0, **settings})


@pytest.fixture(scope="module")
def table():
    return _table()


@pytest.fixture(scope="module")
def vae(table) -> VAE:
    return _vae().fit(table)


def test_the_model_follows_from_the_columns(vae, table) -> None:
    assert vae.schema_.kind == "table"
    assert vae.specification_.likelihood == "columns"
    assert vae.specification_.encoder["network"] == vae.specification_.decoder["network"] == "columns"
    assert vae.history_[-1]["kl"] >= 0.9 * 0.5 * vae.latent_dim_, "free bits keep z in use"


def test_new_rows_are_like_those_of_the_table(vae, table) -> None:
    rows = vae.sample(2000)
    assert list(rows.columns) == list(table.columns)
    assert (rows.dtypes == table.dtypes).all()
    shares = rows["kind"].value_counts(normalize=True)
    assert abs(shares["cat"] - 0.5) < 0.07
    assert (rows["legs"].eq(2) == rows["kind"].eq("owl")).mean() > 0.97
    assert (rows.loc[rows["kind"] == "dog", "weight"] > 10).mean() > 0.95
    assert 0.08 < rows["colour"].isna().mean() < 0.25, "what is missing is part of the table"
    assert np.allclose(rows["weight"], rows["weight"].round(2))
    assert rows.equals(vae.sample(2000))


def _distance(table, rows) -> float:
    """How far the shares of kinds and legs are from those of a table: mean total variation."""
    far = [
        (
            table[name].value_counts(normalize=True)
            - rows[name].value_counts(normalize=True).reindex(table[name].unique())
        )
        for name in ("kind", "legs")
    ]
    return float(np.mean([0.5 * part.abs().sum() for part in far]))


@pytest.mark.parametrize("decoder", ["auto", pytest.param("mlp", marks=pytest.mark.slow)])
def test_columns_of_new_rows_have_the_shares_of_the_data(table, decoder, monkeypatch) -> None:
    settings = {"max_epochs": 2, "decoder": decoder}
    matched = _distance(table, _vae(**settings).fit(table).sample(20_000, random_state=1))
    monkeypatch.setattr(vectors, "margin_offsets", lambda observed, drawn, codes: torch.zeros(sum(codes.cardinalities)))
    assert matched < 0.6 * _distance(table, _vae(**settings).fit(table).sample(20_000, random_state=1))


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.slow), "bfloat16"])
def test_rows_are_drawn_in_the_precision_of_training(table, precision, monkeypatch) -> None:
    vae = _vae(max_epochs=1, precision=precision).fit(table)
    seen, logits = set(), ColumnWalk.logits
    monkeypatch.setattr(ColumnWalk, "logits", lambda walk, j: seen.add(logits(walk, j).dtype) or logits(walk, j))
    vae.sample(5)
    vae.sample(5, condition={"kind": "owl"})
    assert seen == {getattr(torch, precision)}


@pytest.mark.parametrize(
    "condition",
    [{"kind": "owl"}, {"legs": 4, "weight": (10, 30)}, {"colour": {"black", None}, "kind": {"cat", "owl"}}],
    ids=["value", "range", "sets"],
)
def test_rows_are_drawn_given_a_condition(vae, condition) -> None:
    rows = vae.sample(300, condition=condition)
    assert len(rows) == 300
    for name, wanted in condition.items():
        if isinstance(wanted, tuple):
            assert rows[name].between(*wanted).all()
        elif isinstance(wanted, set):
            assert all(value in wanted or (None in wanted and pd.isna(value)) for value in rows[name])
        else:
            assert (rows[name] == wanted).all()
    if "weight" in condition:
        assert (rows["kind"] == "dog").mean() > 0.9
    if condition.get("kind") == "owl":
        assert (rows["legs"] == 2).mean() > 0.9
        assert (rows["weight"] < 2).mean() > 0.9


def test_conditions_that_make_no_sense(vae) -> None:
    with pytest.raises(InvalidParameterError, match="no category 'cta'; it has .*Did you mean 'cat'"):
        vae.sample(3, condition={"kind": "cta"})
    with pytest.raises(InvalidParameterError, match="there is no column 'kinds'.*Did you mean 'kind'"):
        vae.sample(3, condition={"kinds": "cat"})
    with pytest.raises(InvalidParameterError, match="nothing in it fits"):
        vae.sample(3, condition={"weight": (500, 600)})
    with pytest.raises(InvalidParameterError, match="drawn as they are; got draw='mean'"):
        vae.sample(3, condition={"kind": "cat"}, draw="mean")


def test_conditions_have_a_probability(vae, table) -> None:
    assert abs(vae.probability({"kind": "owl"}) - (table["kind"] == "owl").mean()) < 0.05
    assert vae.probability({"kind": "owl", "legs": 4}) < 0.05
    assert np.isclose(vae.probability({"kind": {"owl", "cat", "dog"}}), 1.0)
    numbers = _vae(max_epochs=1).fit(np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(UnsupportedOperationError, match="a condition asks for values of columns"):
        numbers.probability({"a": 1})
    with pytest.raises(InvalidParameterError, match=r"guidance=2.0\. Leave them out"):
        vae.sample(3, condition={"kind": "owl"}, guidance=2.0)


@pytest.mark.filterwarnings("ignore:.*taken as unknown")
def test_categories_that_are_not_known_stay_and_levels_are_levels(vae, table) -> None:
    holes = table.head(200).copy()
    holes.loc[:50, "kind"] = "ferret"
    holes["legs"] = holes["legs"].astype("Int64")
    holes.loc[100:, "legs"] = pd.NA
    filled = vae.recover(holes)
    assert (filled.loc[:50, "kind"] == "ferret").all()
    assert set(filled["legs"]) == {2, 4}, "the mean of levels is none"


def test_holes_are_filled_and_nothing_else_is_touched(vae, table) -> None:
    truth = _table(400, seed=1)
    holes = truth.copy()
    rng = np.random.default_rng(2)
    for name in ("kind", "weight"):
        holes.loc[rng.random(400) < 0.3, name] = None
    filled = vae.recover(holes)
    assert not filled.isna().any().any()
    assert (filled.dtypes == truth.dtypes).all()
    for name in truth:
        known = holes[name].notna()
        assert filled.loc[known, name].equals(holes.loc[known, name])
    told = holes["kind"].isna() & holes["weight"].notna()
    assert (filled.loc[told, "kind"] == truth.loc[told, "kind"]).mean() > 0.95
    draws = vae.recover(holes, result="draws", n_draws=5)
    assert len(draws) == 5
    assert not any(draw.isna().any().any() for draw in draws)
    gaps = holes["weight"].isna()
    assert np.std([draw.loc[gaps, "weight"] for draw in draws], axis=0).mean() > 0
    assert filled.equals(vae.recover(holes))


def test_rows_that_are_near_have_a_say(table) -> None:
    weak = VAE(max_epochs=1, random_state=0, ex_post="none", verbose=0).fit(table)
    holes = table.copy()
    holes.loc[::4, "weight"] = np.nan
    alone, near = weak.recover(holes), weak.recover(holes, reference=holes)
    error = [(np.log(filled["weight"] / table["weight"])[::4].abs()).mean() for filled in (alone, near)]
    assert error[1] < 0.7 * error[0], "what one epoch has not learnt, other rows show"
    for name in table:
        known = holes[name].notna()
        assert near.loc[known, name].equals(holes.loc[known, name])
    once = weak.neighbourhood(holes)
    assert weak.neighbourhood(once) is once
    assert weak.recover(holes, reference=once).equals(near)
    pd.testing.assert_frame_equal(weak.recover(holes[:30], reference=once), near[:30])
    assert weak.recover(holes, reference=holes[:1]).equals(alone), "one row has no neighbour"
    draws = [weak.recover(holes[:5], n_draws=2, result="draws", reference=r) for r in (None, once)]
    assert draws[0][1].equals(draws[1][1]), "draws come from the model"
    with pytest.raises(DataError, match="has 0 rows"):
        weak.recover(holes, reference=holes[:0])


def test_many_rows_are_looked_up_in_some_of_them(vae, table, monkeypatch) -> None:
    monkeypatch.setattr(table_tasks, "_MOST_NEAR", 100)
    near = vae.neighbourhood(table)
    assert near.cells.shape == (100, 4)
    assert torch.equal(near.shares, vae.neighbourhood(table).shares)


def test_a_mask_hides_cells_that_are_there(vae, table) -> None:
    shown = np.ones(table.shape, bool)
    shown[:, 0] = False
    filled = vae.recover(table, shown)
    assert (filled["kind"] == table["kind"]).mean() > 0.95
    assert filled["weight"].equals(table["weight"])
    assert vae.recover(table, shown[0])["kind"].equals(filled["kind"])
    with pytest.raises(SchemaMismatchError, match=r"shape \(1600, 4\).*got shape \(3,\)"):
        vae.recover(table, [True, False, True])


def test_rows_are_scored_with_what_they_have(vae, table) -> None:
    scores = vae.score_samples(table, n_importance=4)
    assert scores.shape == (1600,)
    odd = table.head(50).copy()
    odd["legs"] = np.where(odd["kind"] == "owl", 4, 2)
    assert (vae.score_samples(odd, n_importance=4) < scores[:50]).mean() > 0.95
    cells = vae.score_cells(odd)
    assert cells.shape == (50, 4)
    assert (cells.argmin(1)[odd["colour"].notna()] < 3).mean() > 0.9, "the colour is not what is odd"
    assert np.array_equal(np.isnan(cells[:, 3]), np.zeros(50, bool)), "missing is a value where it was one in training"
    order = np.arange(1600)[::-1]
    assert np.array_equal(vae.score_samples(table.iloc[order], n_importance=4), scores[order])


def test_numbers_far_away_score_lower_and_lower(vae, table) -> None:
    row = table[table["kind"] == "dog"].head(1)
    far = [row.assign(weight=weight) for weight in (20.0, 40.0, 80.0)]
    scores = [float(vae.score_samples(each, n_importance=8)[0]) for each in far]
    assert scores[0] > scores[1] > scores[2]


def test_rows_are_embedded_with_what_they_have(vae, table) -> None:
    z = vae.transform(table)
    assert z.shape == (1600, vae.latent_dim_)
    holes = table.assign(weight=np.nan)
    assert np.isfinite(vae.transform(holes)).all()
    assert list(vae.reconstruct(table).columns) == list(table.columns)
    assert len(vae.interpolate(table.head(1), table.tail(1), steps=5)) == 5
    assert len(vae.inverse_transform(z[:7])) == 7


def test_a_run_gives_the_same_back(vae, table, tmp_path) -> None:
    again = load(vae.save(tmp_path / "run"))
    assert again.sample(5).equals(vae.sample(5))
    assert np.array_equal(again.transform(table), vae.transform(table))
    assert again.sample(5, condition={"kind": "cat"}).equals(vae.sample(5, condition={"kind": "cat"}))


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_it_had_not_been(table, tmp_path) -> None:
    settings = {"max_epochs": 4, "precision": "float32"}
    data = table
    whole = _vae(**settings).fit(data)
    again = _vae(**settings).fit(data)
    for first, second in zip(whole.model_.parameters(), again.model_.parameters(), strict=True):
        assert torch.equal(first, second)


def test_columns_may_be_independent_given_z(table) -> None:
    vae = _vae(decoder="mlp", max_epochs=2).fit(table)
    assert vae.specification_.decoder["network"] == "mlp"
    assert len(vae.sample(10, condition={"kind": "owl"})) == 10
    assert not vae.recover(table).isna().any().any()


def test_widths_are_those_of_the_networks_for_tables(table, tmp_path) -> None:
    vae = _vae(encoder=(16,), decoder=(24, 24), max_epochs=1).fit(table)
    encoder, decoder = vae.specification_.encoder, vae.specification_.decoder
    assert (encoder["network"], encoder["widths"]) == ("columns", [16])
    assert (decoder["network"], decoder["widths"]) == ("columns", [24, 24])
    assert encoder["n_rows"] == decoder["n_rows"] == round(0.9 * len(table))
    vae.save(tmp_path / "run")
    assert load(tmp_path / "run").sample(5, random_state=0).equals(vae.sample(5, random_state=0))


@pytest.mark.parametrize("member", [GAN(), VQVAE(), Autoencoder()], ids=lambda member: type(member).__name__)
def test_members_without_networks_for_tables_say_so(table, member) -> None:
    with pytest.raises(DataError, match="numbers are needed, but column 0"):
        member.fit(table)
    with pytest.raises(DataError, match=f"{type(member).__name__} takes numbers and images, .* Use VAE"):
        member.fit(Dataset(table, "memory", "table"))


def test_settings_that_do_not_fit_a_table(table, vae) -> None:
    data = table
    with pytest.raises(InvalidParameterError, match="likelihood 'gaussian' is one of numbers"):
        _vae(likelihood="gaussian").fit(data)
    with pytest.raises(InvalidParameterError, match="follows from its columns"):
        _vae(likelihood="columns", likelihood_options={"cardinalities": [2]}).fit(data)
    with pytest.raises(InvalidParameterError, match="'columns' is one of tables of mixed kinds"):
        _vae(likelihood="columns", max_epochs=1).fit(np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(InvalidParameterError, match="networks need a table of mixed kinds"):
        _vae(encoder="columns", max_epochs=1).fit(np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(InvalidParameterError, match="encoder='mlp' reads numbers, and cells of mixed tables are codes"):
        _vae(encoder="mlp", max_epochs=1).fit(data)
    numbers = _vae(max_epochs=1).fit(np.random.default_rng(0).normal(size=(30, 3)))
    with pytest.raises(UnsupportedOperationError, match="whose features are scored together"):
        numbers.score_cells(np.zeros((2, 3)))
    with pytest.raises(UnsupportedOperationError, match="this model is of rows. Leave"):
        numbers.recover(np.zeros((2, 3)), reference=np.zeros((2, 3)))


@pytest.mark.slow
def test_a_table_may_be_given_a_condition(table) -> None:
    rows, kind = table.drop(columns="kind"), table["kind"]
    vae = _vae(max_epochs=20).fit(rows, condition=kind)
    for name, least, most in (("owl", 0.0, 2.0), ("dog", 10.0, 40.0)):
        drawn = vae.sample(300, condition=name)
        assert drawn["weight"].between(least, most).mean() > 0.85
        assert (drawn["legs"] == (2 if name == "owl" else 4)).mean() > 0.9
    holes = rows.head(50).assign(legs=None)
    told = vae.given(kind.head(50).to_numpy())
    assert (told.recover(holes)["legs"].to_numpy() == rows["legs"].head(50)).mean() > 0.9
    with pytest.raises(UnsupportedOperationError, match=r"this model is of table under conditions.*Leave the ref"):
        told.recover(holes, reference=rows)


def _numbers(n: int = 120):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"level": rng.integers(1, 4, n), "x": rng.normal(size=n), "y": rng.normal(size=n)})


@pytest.mark.parametrize("form", ["frame", "array", "list", "dataset", "file"])
def test_what_is_asked_of_columns_makes_numbers_a_table(form, tmp_path) -> None:
    frame = _numbers()
    frame.loc[::9, "x"] = -999
    file = tmp_path / "x.csv"
    frame.to_csv(file, index=False)
    values = frame.to_numpy()
    data = {
        "frame": frame,
        "array": values,
        "list": values.tolist(),
        "dataset": Dataset(frame, "memory", "rows"),
        "file": str(file),
    }[form]
    name = "level" if form in ("frame", "dataset", "file") else "0"
    vae = _vae(max_epochs=1, kinds={name: "categorical"}, na_values=-999).fit(data)
    assert vae.schema_.kind == "table"
    assert vae.schema_.columns[0].kind == "categorical"
    assert vae.schema_.codes.missing_codes[0] is None
    assert vae.schema_.codes.missing_codes[1] is not None
    assert vae.n_features_in_ == 3
    assert vae.transform(data).shape == (120, vae.latent_dim_)
    filled = vae.recover(data)
    if form in ("frame", "dataset"):
        assert (filled["x"] != -999).all()
        assert filled["y"].equals(frame["y"])


def test_what_is_asked_of_columns_stands_in_a_run(tmp_path) -> None:
    frame = _numbers().assign(size=lambda frame: frame["level"].map({1: "S", 2: "M", 3: "L"}))
    asked = {"kinds": {"size": ("S", "M", "L"), "level": "count"}, "na_values": ("?", -1), "unseen": "error"}
    vae = _vae(max_epochs=1, **asked).fit(frame)
    vae.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert {name: again.get_params()[name] for name in asked} == asked
    assert again.schema_ == vae.schema_
    with pytest.raises(DataError, match=r"row 0 .*column 4 \('size'\) is 'XL', a category .* not fitted on"):
        again.transform(frame.assign(size="XL"))
    sizes = set(again.sample(60, condition={"size": ("S", "M")})["size"])
    assert sizes == {"S", "M"}
    assert again.set_params(unseen="unknown").fit(frame).schema_.unseen == "unknown"


def test_what_is_asked_of_columns_is_for_tables() -> None:
    for asked, words in (
        ({"kinds": {"a": "real"}}, "kinds=.* is for tables of mixed kinds, and these data are numbers. Leave it out"),
        ({"na_values": -1}, "na_values=-1 is for tables"),
        ({"unseen": "error"}, "unseen='error' is for tables"),
    ):
        with pytest.raises(InvalidParameterError, match=words):
            _vae(max_epochs=1, **asked).fit(np.random.default_rng(0).random((20, 8, 8)))
    with pytest.raises(InvalidParameterError, match="VQVAE has no parameter 'kinds'.* VAE has it"):
        VQVAE(kinds={"a": "real"})


def test_a_second_fit_counts_its_own_columns() -> None:
    frame = _numbers().assign(kind=["a", "b"] * 60)
    vae = _vae(max_epochs=1).fit(frame)
    assert vae.n_features_in_ == 4
    assert vae.fit(frame[["x", "kind"]]).n_features_in_ == 2
