"""Protocols, errors, parameters, registries, seeds and files: what every other layer may use."""
