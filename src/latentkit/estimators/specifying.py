"""What a model with one encoder and one decoder is made of, from an estimator's parameters and its data."""

from __future__ import annotations

from typing import Any

from latentkit.core.columns import ColumnCodes
from latentkit.core.errors import InvalidParameterError
from latentkit.core.tokens import TokenCodes
from latentkit.distributions import likelihoods
from latentkit.estimators.resolving import default_latent_dim
from latentkit.models import VaeSpecification, resolve_network, settle

__all__ = ["resolve_latent_dim", "specify_autoencoder"]

#: Latent dimensions of texts, as in the literature of sentences.
TEXT_LATENTS = 32


def resolve_latent_dim(estimator: Any, *, overcomplete: int = 1) -> int:
    """The latent dimensions of an estimator whose schema is learnt: as asked for, or by the size of an example.

    Args:
        estimator: Has ``latent_dim`` and ``schema_``.
        overcomplete: What ``"auto"`` is multiplied by.
    """
    if estimator.latent_dim != "auto":
        return int(estimator.latent_dim)
    if estimator.schema_.kind == "text":
        return overcomplete * TEXT_LATENTS
    return overcomplete * default_latent_dim(tuple(estimator.schema_.event_shape))


def specify_autoencoder(
    estimator: Any,
    n_rows: int,
    condition_dim: int,
    *,
    latent_dim: int,
    has_spectral_decoder: bool = False,
    **parts: Any,
) -> VaeSpecification:
    """What the model of an estimator with an encoder and a decoder is made of, with nothing left to a default.

    Args:
        estimator: Has the parameters of :class:`EncoderParameters` and :class:`NetworkParameters`, and ``schema_``.
        n_rows: Rows to learn from.
        condition_dim: Columns of a condition; 0 for none.
        latent_dim: Latent dimensions.
        has_spectral_decoder: Whether the layers of the decoder have spectral norm 1; ``"auto"`` normalisation is then
            none, which would undo the limit.
        parts: Posterior and prior, as fields of the specification.

    Raises:
        InvalidParameterError: If the likelihood or the encoder does not fit the data.
    """
    schema = estimator.schema_
    event_shape = tuple(schema.event_shape)
    likelihood, options = estimator._resolve_likelihood()  # noqa: SLF001 (of the group of parameters)
    columns = ColumnCodes.from_description(options) if likelihoods[likelihood].of_tables else None
    tokens = TokenCodes(schema.n_tokens, schema.max_length) if likelihoods[likelihood].of_texts else None
    plain = "none" if has_spectral_decoder and estimator.normalization == "auto" else estimator.normalization
    encoder, decoder = (
        settle(
            resolve_network(network, event_shape, n_rows=n_rows, columns=columns, tokens=tokens),
            activation=estimator.activation,
            normalization=normalization,
        )
        for network, normalization in ((estimator.encoder, estimator.normalization), (estimator.decoder, plain))
    )
    if columns is not None and encoder["network"] not in ("columns", "custom"):
        raise InvalidParameterError(
            f"encoder={estimator.encoder!r} reads numbers, and cells of mixed tables are codes or unknown. Leave it "
            "out, or give the widths of its blocks, such as (192, 192)."
        )
    return VaeSpecification(
        event_shape=event_shape,
        latent_dim=latent_dim,
        encoder=encoder,
        decoder={**decoder, "spectral": True} if has_spectral_decoder else decoder,
        likelihood=likelihood,
        likelihood_options=options,
        activation=estimator.activation,
        normalization=estimator.normalization,
        dropout=estimator._resolve_dropout(),  # noqa: SLF001 (likewise)
        upsampling=estimator.upsampling,
        condition_dim=condition_dim,
        **parts,
    )
