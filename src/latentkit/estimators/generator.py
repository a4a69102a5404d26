"""The generator, a decoder without an encoder, as an estimator."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.protocols import Objective
from latentkit.data import Dataset
from latentkit.data.containers import to_array
from latentkit.estimators.ex_post import fit_ex_post, in_words, without_ex_post
from latentkit.estimators.fitting import TrainedEstimator
from latentkit.estimators.latents import LatentTasks
from latentkit.estimators.parameters import ExPostParameters, NetworkParameters, completed
from latentkit.estimators.registry import estimators
from latentkit.estimators.resolving import default_latent_dim
from latentkit.models import GeneratorSpecification, map_batches, resolve_network, settle
from latentkit.objectives import GivenLatents, LearntLatents, kl_schedules
from latentkit.training import Engine, EpochEnd
from latentkit.training.progress import Reporter

__all__ = ["Generator"]


@estimators.register("generator", cites=("bojanowski2018optimizing",))
@final
@completed
@dataclass(kw_only=True, eq=False, repr=False)
class Generator(LatentTasks, NetworkParameters, ExPostParameters, TrainedEstimator):
    r"""A decoder of latent vectors that are given with the data, or learnt with it, one for each example.

    .. math:: \max \sum_i \log p(x_i \mid z_i)

    With ``fit(X, z=Z)`` it learns what Z means: from settings to pictures, from coordinates to measurements. Without z
    each example gets a vector of its own, learnt together with the decoder: a model of the data like a VAE's, but
    without an encoder, so that new data have no latent vector. A prior is fitted to the latent vectors afterwards, from
    which :meth:`sample` draws.

    Args:
        latent_dim: Number of latent dimensions; ``"auto"`` is that of the vectors that are given.
        latent_bound: Of learnt vectors: ``"ball"`` keeps them in a ball, ``"normal"`` pulls them to N(0, I).
        validation_fraction: Share of the rows held out, where latent vectors are given; learnt ones leave nothing to
            judge by.

    Attributes:
        history_: One record per epoch; `objective` is the mean log p(x given z), nats.

    References:
        Bojanowski et al., 2018, Optimizing the Latent Space of Generative Networks, arXiv:1707.05776.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> Generator(latent_dim=2, max_epochs=5, random_state=0).fit(X).sample(3).shape
        (3, 4)
        >>> pairs = Generator(max_epochs=5, random_state=0).fit(X[:, 1:], z=X[:, :1])
        >>> pairs.inverse_transform([[5.0], [6.0]]).shape
        (2, 3)
    """

    latent_dim: int | Literal["auto"] = field(default="auto", kw_only=False)
    latent_bound: Literal["ball", "normal"] = "ball"
    validation_fraction: float = 0.0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "latent_dim": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "latent_bound": [StrOptions({"ball", "normal"})],
    }

    @property
    def _value_name(self) -> str:
        return "log p(x given z), no bound on log p(x)"

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        z: Any = None,
        condition: Any = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        on_epoch: Callable[[EpochEnd], None] | None = None,
        engine: Engine | None = None,
    ) -> Self:
        """Learn the schema, the decoder, and the latent vectors unless they are given.

        Args:
            X: As :meth:`VAE.fit` takes it, and so are the others.
            y: Optional class labels.
            z: Latent vectors, one row of numbers for each example, shape (n, latent_dim); None to learn them.
            condition: What the decoder sees beside z.
            run: Folder that receives the run.
            resume: Go on from the checkpoint in `run`.
            overwrite: Replace a run that is in `run`.
            on_epoch: Called at the end of every epoch.
            engine: How to compute; None measures what is fast.
        Raises:
            DataError: If `z` is not one row of finite numbers for each example.
            InvalidParameterError: If a parameter contradicts what is given.
        """
        self._given_z = None if z is None else _vectors(z)
        try:
            return super().fit(
                X,
                y,
                condition=condition,
                run=run,
                resume=resume,
                overwrite=overwrite,
                on_epoch=on_epoch,
                engine=engine,
            )
        finally:
            for name in ("_given_z", "_n_learnt", "_trained"):
                self.__dict__.pop(name, None)

    def _learn_conditions(self, condition: Any, n: int) -> Tensor | None:
        if self._given_z is not None and len(self._given_z) != n:
            raise DataError(f"z must have one row per example: X has {n}, z has {len(self._given_z)}.")
        return super()._learn_conditions(condition, n)

    def _specify(self, n_rows: int, condition_dim: int) -> GeneratorSpecification:
        event_shape = tuple(self.schema_.event_shape)
        likelihood, options = self._resolve_likelihood()
        self._check_ex_post()
        z = self._given_z
        if z is None:
            latent_dim = default_latent_dim(event_shape) if self.latent_dim == "auto" else int(self.latent_dim)
            mean, stddev = [0.0] * latent_dim, [1.0] * latent_dim
            if self.validation_fraction:
                raise InvalidParameterError(
                    f"validation_fraction={self.validation_fraction!r} needs z: examples that are held out have no "
                    "learnt latent vector to judge by. Use 0, or give z to fit."
                )
            if self.patience not in ("auto", None):
                raise InvalidParameterError(
                    f"patience={self.patience!r} needs z: without it no example can be held out to judge by. Leave it "
                    "out, or give z (and a validation_fraction) to fit."
                )
        else:
            latent_dim = z.shape[1]
            spread = z.std(0, correction=0)
            mean, stddev = z.mean(0).tolist(), torch.where(spread > 0, spread, 1.0).tolist()
            if self.latent_dim not in ("auto", latent_dim):
                raise InvalidParameterError(
                    f"latent_dim={self.latent_dim!r} contradicts z, which has {latent_dim} columns. Leave it out."
                )
            if self.latent_bound != "ball":
                raise InvalidParameterError(
                    f"latent_bound={self.latent_bound!r} is of learnt latent vectors, and z is given. Leave it out."
                )
        decoder = settle(
            resolve_network(self.decoder, event_shape, n_rows=n_rows),
            activation=self.activation,
            normalization=self.normalization,
        )
        self._n_learnt = n_rows
        return GeneratorSpecification(
            event_shape=event_shape,
            latent_dim=latent_dim,
            decoder=decoder,
            likelihood=likelihood,
            likelihood_options=options,
            activation=self.activation,
            normalization=self.normalization,
            dropout=self._resolve_dropout(),
            upsampling=self.upsampling,
            latent_mean=mean,
            latent_stddev=stddev,
            condition_dim=condition_dim,
        )

    def _objective(self) -> Objective:
        if self._given_z is not None:
            return GivenLatents(self._given_z)
        self._trained = LearntLatents(self._n_learnt, self.latent_dim_, bound=self.latent_bound)
        return self._trained

    def _cites(self) -> tuple[str, ...]:
        return self._ex_post_cites()

    def _kl_weight(self) -> Callable[[float], float]:
        constant: Callable[[float], float] = kl_schedules["constant"]()
        return constant

    def _complete(self, storage: Tensor, dataset: Dataset, reporter: Reporter) -> None:
        """Fit the ex-post priors to the latent vectors: of all, of the classes, and given conditions."""
        without_ex_post(self)
        if self.ex_post == "none":
            return
        reporter.note(f"fitting a {in_words(self.ex_post)} to the latent vectors, from which samples are drawn")
        fit_ex_post(self, self._latent_vectors(storage), None, dataset, reporter)

    def _latent_vectors(self, storage: Tensor) -> Tensor:
        """The latent vectors of the training data, shape (n, latent), float32."""
        if self._given_z is not None:
            return self._given_z.float()

        def learnt(rows: Tensor) -> Tensor:
            x = self.schema_.to_model(storage[rows.cpu()].to(self._device))
            return self._trained.latents(self.model_, x, rows)

        return map_batches(learnt, torch.arange(len(storage)), batch_size=self._batch_size)


def _vectors(z: Any) -> Tensor:
    """Latent vectors of the user's as a tensor, float64.

    Raises:
        DataError: If they are not a table of finite numbers.
    """
    array = to_array(z)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiub":
        raise DataError(
            f"z must be numbers of shape (n, latent_dim), one row for each example; got shape {array.shape}, dtype "
            f"{array.dtype}. For classes or mixed attributes use condition=."
        )
    values = torch.from_numpy(array.astype(np.float64))
    bad = ~torch.isfinite(values).all(1)
    if bool(bad.any()):
        raise DataError(f"z must be finite; row {int(bad.nonzero()[0])} (counted from 0) holds NaN or infinity.")
    return values
