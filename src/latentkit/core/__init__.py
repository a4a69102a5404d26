"""Protocols, errors, parameters, registries, seeds and files: what every other layer may use."""

__all__: list[str] = []
