"""Real tables: what is recognised in them, and that they come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentkit.data import learn_table_schema, read

KINDS = {
    "adult.train.csv": {
        "age": "count",
        "workclass": "categorical",
        "education_num": "ordinal",
        "income": "categorical",
    },
    "credit_default.csv": {"USER_ID": "identifier", "BILL_AMT1": "integer", "DID_DEFAULT_PAYMENT": "boolean"},
    "diamonds.csv": {"carat": "positive", "cut": "categorical", "price": "count"},
    "mushroom.csv": {"veil_type": "constant", "bruises": "boolean", "stalk_root": "categorical"},
    "yeast.csv": {"sequence_name": "identifier", "mcg": "bounded", "localization": "categorical"},
}
LARGE = ("adult.train.csv", "credit_default.csv")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else []) for name in KINDS]
)
def test_real_tables_come_back(data_folder, name):
    path = data_folder / "tables" / name
    table = read(path, tables="always").data
    schema = learn_table_schema(table)
    found = {column.name: column.kind for column in schema.columns}
    assert KINDS[name].items() <= found.items()
    back = schema.decode(schema.encode(table))
    assert back.dialect == table.dialect
    for column in schema.columns:
        if column.is_left_out and column.kind != "constant":
            continue
        before, after = np.array(table[column.name]), np.array(back[column.name])
        different = before != after
        # Single precision does not tell every integer of a wide bin from its neighbour.
        assert different.mean() < 0.002, column.name
        if different.any():
            a, b = (cells[different].astype(float) for cells in (before, after))
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_the_spread_of_adult_is_kept_and_nobodys_weight_is_handed_out(data_folder):
    table = read(data_folder / "tables" / "adult.train.csv", tables="always").data
    schema = learn_table_schema(table)
    u = schema.encode(table)
    made = schema.decode(u.floor() + torch.rand(u.shape, generator=torch.Generator().manual_seed(0)))
    real, new = (np.sort(np.array(cells["fnlwgt"]).astype(float)) for cells in (table, made))
    grid = np.unique(np.r_[real, new])
    distance = np.abs(np.searchsorted(real, grid, "right") - np.searchsorted(new, grid, "right")).max() / len(real)
    assert distance < 0.005
    assert np.isin(new, real).mean() < 0.1
    assert made["occupation"].count("") == table["occupation"].count("") == 1843
