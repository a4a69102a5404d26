"""Readers and schemas: how the user's data become tensors and come back."""

from latentkit.data.dataset import Dataset
from latentkit.data.recognition import learn_schema
from latentkit.data.schema import ArraySchema, schema_from_description
from latentkit.data.sources import read

__all__ = ["ArraySchema", "Dataset", "learn_schema", "read", "schema_from_description"]
