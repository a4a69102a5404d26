"""What an estimator can do whose latents are codes out of a codebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_choice, check_integer
from latentkit.estimators.absent import AbsentTasks
from latentkit.estimators.archives import NO_BITS_BACK
from latentkit.estimators.encoding import EncodingTasks
from latentkit.estimators.generating import GenerativeTasks
from latentkit.estimators.precision import model_in
from latentkit.evaluation import LikelihoodEstimate
from latentkit.models import CodeDistribution, CodePrior
from latentkit.models.inference import iterate_batches
from latentkit.nn.quantizers import perplexity

__all__ = ["PRIOR", "CodeTasks"]

#: Name of the prior over codes among the extra modules.
PRIOR = "code_prior"


class CodeTasks(AbsentTasks, EncodingTasks, GenerativeTasks):
    """The tasks of latents that are codes: there is no dimension to move along, and a prior over codes to draw from.

    ``X`` is, in every method, what ``fit`` took, and results come back in the same form; see :class:`EncodingTasks`.
    """

    extra_modules_: dict[str, nn.Module]

    _absent: ClassVar[Mapping[str, str]] = {
        "traverse": "latents are codes, and one number of a code's vector has no meaning of its own to move along. Use "
        "interpolate between two examples, edit along an attribute_direction, or a VAE to traverse.",
        "explain_latents": "latents are codes, and one number of a code's vector has no meaning of its own. The report "
        "shows the codes; use a VAE to explain dimensions.",
        "recover": "it draws latents given what was observed by moving in a continuous latent space, and these are "
        "codes. Use reconstruct to denoise, or a VAE to fill in what is missing.",
        **dict.fromkeys(("compress", "decompress"), NO_BITS_BACK),
    }

    @property
    def grid_(self) -> tuple[int, ...]:
        """Sides of the grid that the codes form, (height, width) or (slots,)."""
        grid: tuple[int, ...] = self.specification_.grid
        return grid

    @property
    def n_codes_(self) -> int:
        """Size of the codebook."""
        return int(self.specification_.outline.n_codes)

    @property
    def perplexity_(self) -> float:
        """Exponential of the entropy of the codes' frequencies in the data of fit."""
        usage = cast(CodePrior, self.extra_modules_[PRIOR]).usage.double()
        return float(torch.special.entr(usage / usage.sum()).sum().exp())

    # Codes

    def codes(self, X: Any) -> NDArray[np.int64]:
        """Return the codes of every example.

        Args:
            X: Data like those of fit.
        Returns:
            Integers from 0 to n_codes - 1, shape (n, *grid).
        """
        check_is_fitted(self)
        storage, dtype = self._encode_input(X)
        codes = self._map(lambda model, x: model.codes(x), storage, dtype)
        return codes.reshape(-1, *self.grid_).numpy()

    def perplexity(self, X: Any) -> float:
        r"""Return how many codes are in use in X: the exponential of the entropy of their frequencies.

        .. math:: \exp(- \sum_k f_k \log f_k)

        Args:
            X: Data like those of fit.
        """
        return perplexity(torch.from_numpy(self.codes(X)), self.n_codes_)

    # Score

    def log_likelihood(
        self,
        X: Any,
        *,
        n_importance: int | None = None,
        prior: Literal["model"] = "model",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
    ) -> LikelihoodEstimate:
        r"""Return the length of the code of every example: a lower bound on log p(x), exact and without draws.

        .. math:: \log p(x) = \log \sum_{c'} p(c')\, p(x \mid c') \ge \log p(c) + \log p(x \mid c), \quad c = c(x)

        Args:
            X: Data like those of fit.
            n_importance: Of no effect: all draws of codes that are certain are alike, and one of them is computed.
            prior: p(c) is always the prior over codes, ``"model"``.
            precision: Of the networks' products; ``"auto"`` is that of training, and always full for float64 data.
        Returns:
            Bounds in nats of the model's units.
        """
        check_is_fitted(self)
        check_integer("n_importance", 1 if n_importance is None else n_importance, low=1)
        check_choice("prior", prior, ("model",))
        storage, dtype, bf16 = self._to_score(X, precision)
        model: Any = model_in(self.model_, dtype)
        bounds = []
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            for rows in iterate_batches(storage.shape[0], self._batch_size):
                x = self._to_model(storage[rows], dtype)
                z = model.encode(x).mean
                bound = self._code_distribution(dtype, self._condition(dtype, rows)).log_prob(z)
                bounds.append((bound + model.decode(z).log_prob(x)).double().cpu())
        bound = torch.cat(bounds)
        return LikelihoodEstimate(
            log_likelihood=bound,
            effective_sample_size=torch.ones_like(bound),
            n_importance=1,
            estimator="code length, log p(c) + log p(x given c): a lower bound",
        )

    # Sampling

    def _prior_module(self, label: Any, prior: str) -> Callable[[], Any]:
        """The prior over codes, of a class or given the condition that was set."""
        if prior not in ("auto", "model"):
            raise InvalidParameterError(
                f"codes have no prior={prior!r} to draw from. Leave prior out: it is the one over codes."
            )
        condition = self._condition(torch.float32)
        if label is not None:
            if not self.classes_:
                raise UnsupportedOperationError(
                    "this model was fitted without labels, or with a condition, so it cannot sample by class. Fit with "
                    "y (or --labels) and no condition, or give condition=."
                )
            row = torch.zeros(1, len(self.classes_))
            row[0, self._class_index(label)] = 1.0
            condition = row.to(self._device)
        return lambda: self._code_distribution(torch.float32, condition)

    def _code_distribution(self, dtype: torch.dtype, condition: Tensor | None) -> CodeDistribution:
        model: Any = model_in(self.model_, dtype)
        prior = cast(CodePrior, model_in(self.extra_modules_[PRIOR], dtype))
        return CodeDistribution(model.quantizer, model.n_places, prior=prior, condition=condition)
