"""Ways through the latent space of an estimator that has no encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from latentkit.estimators.absent import AbsentTasks
from latentkit.estimators.archives import NO_BITS_BACK
from latentkit.estimators.generating import VectorPriors
from latentkit.tasks import interpolate

__all__ = ["LatentTasks"]

#: Tasks that take an encoder.
ENCODING = (
    "attribute_direction",
    "edit",
    "explain_latents",
    "fit_transform",
    "log_likelihood",
    "reconstruct",
    "recover",
    "score",
    "score_samples",
    "transform",
    "traverse",
)


class LatentTasks(AbsentTasks, VectorPriors):
    """Generating, and exploring by latent vectors. Results come in the form of the data that fit took."""

    _absent: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ENCODING,
            "there is no encoder. It can sample, inverse_transform and interpolate latent vectors; use VAE or VAEGAN "
            "for the rest.",
        ),
        **dict.fromkeys(("compress", "decompress"), NO_BITS_BACK),
    }

    def interpolate(self, a: Any, b: Any, *, steps: int = 9, path: Literal["spherical", "linear"] = "spherical") -> Any:
        """Return `steps` examples on the way from one latent vector to another, both ends included.

        Args:
            a: Latent vector, shape (latent_dim,).
            b: Another.
            steps: Number of examples, at least 2.
            path: ``"spherical"`` keeps to the radii between those of the ends; ``"linear"`` goes straight.
        Raises:
            DataError: If the vectors are not finite numbers of that shape.
        """
        check_is_fitted(self)
        ends = self._latents(np.stack([np.asarray(a).reshape(-1), np.asarray(b).reshape(-1)])).to(self._device)
        with torch.inference_mode():
            x = interpolate(self._model(ends.dtype), ends[:1], ends[1:], steps=steps, path=path)
        return self.schema_.decode(x.reshape(-1, *self.specification_.event_shape).cpu())
