"""Priors that networks learn: a flow, flow matching and a second autoencoder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.parameters import check_choice, check_integer
from latentkit.core.protocols import Objective
from latentkit.core.seeds import derive_seed, generator, isolated_rng
from latentkit.models import LatentFlow, LearntPrior, SecondStage, VelocityField
from latentkit.objectives import Elbo, FlowMatching, MaximumLikelihood
from latentkit.tasks.ex_post.family import ExPostPriors, FitBudget, Latents, ex_post_priors
from latentkit.training import Feed, Trainer, TrainingPlan

__all__ = ["FlowFamily", "FlowMatchingFamily", "NetworkFamily", "SecondStageFamily"]

#: Steps of a training without a time budget.
N_STEPS = 4000
BATCH = 512
#: Fewest examples of which a tenth is held out, to keep the best state.
FEWEST_TO_JUDGE = 100


@dataclass(frozen=True, kw_only=True)
class NetworkFamily(ABC):
    """Priors that are trained by gradient steps, on draws from the posteriors that are fresh at every step.

    One network learns all classes, which it sees as a condition; the prior of all examples is that of its classes, by
    their shares.

    Args:
        n_steps: Steps of training, at least 1; ``"auto"`` is 4,000, or what the time budget allows.
    """

    name: ClassVar[str]
    time_share: ClassVar[float] = 0.1
    max_rows: ClassVar[int] = 200_000

    n_steps: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str):
                check_choice(name, value, {"n_steps": ("auto",), "transform": ("affine", "spline")}[name])
            else:
                check_integer(name, value, low=1)

    @abstractmethod
    def _parts(self, latent_dim: int, n_classes: int) -> tuple[nn.Module, nn.Module, Objective]:
        """The network of a :class:`LearntPrior` with fresh weights, what of it is trained, and what that climbs."""

    def fit(self, latents: Latents, budget: FitBudget) -> ExPostPriors:
        """See :class:`ExPostFamily`."""
        latents = latents.at_most(self.max_rows, seed=budget.seed)
        with isolated_rng(derive_seed(budget.seed, "weights")):
            network, trained, objective = self._parts(latents.means.shape[1], latents.n_classes)
        prior = LearntPrior(network, latents.means.shape[1], n_classes=latents.n_classes)
        mean, stddev = latents.moments()
        prior.centre.copy_(mean)
        prior.scale.copy_(stddev)
        if latents.classes is not None:
            counts = torch.bincount(latents.classes, minlength=latents.n_classes)
            prior.log_weights.copy_((counts / counts.sum()).log())
        prior.to(budget.engine.device)
        train, validation = _feeds(latents, prior, budget)
        plan = _plan(self.n_steps, train, budget)
        trainer = Trainer(trained, objective, plan, train=train, validation=validation, reporter=budget.reporter)
        trainer.run()
        return _priors(prior)

    def sections(self, priors: ExPostPriors) -> dict[str, nn.Module]:
        """See :class:`ExPostFamily`: one module knows all classes."""
        return {self.name: priors.whole}

    def restore(self, sections: Mapping[str, Mapping[str, Any]], *, latent_dim: int, n_classes: int) -> ExPostPriors:
        """See :class:`ExPostFamily`."""
        with isolated_rng(0):  # the weights drawn here are overwritten
            network, _, _ = self._parts(latent_dim, n_classes)
        prior = LearntPrior(network, latent_dim, n_classes=n_classes)
        prior.load_state_dict(sections[self.name])
        return _priors(prior)


@ex_post_priors.register("flow", cites=("dinh2017density",))
@final
@dataclass(frozen=True, kw_only=True)
class FlowFamily(NetworkFamily):
    """A coupling flow by maximum likelihood: it has a density, and is fast to draw from.

    Args:
        n_steps: See :class:`NetworkFamily`.
        n_layers: Number of coupling layers, at least 1.
        width: Units of the two hidden layers of each, at least 1.
        transform: What a layer does to a dimension: ``"affine"`` or ``"spline"``.

    References:
        Dinh et al., 2017, Density Estimation Using Real NVP, arXiv:1605.08803.
    """

    name: ClassVar[str] = "flow"

    n_layers: int = 8
    width: int = 128
    transform: Literal["affine", "spline"] = "affine"

    def _parts(self, latent_dim: int, n_classes: int) -> tuple[nn.Module, nn.Module, Objective]:
        options: dict[str, Any] = {"n_layers": self.n_layers, "width": self.width, "transform": self.transform}
        flow = LatentFlow(latent_dim, condition_dim=n_classes, **options)
        return flow, flow, MaximumLikelihood()


@ex_post_priors.register("flow_matching", cites=("lipman2023flow",))
@final
@dataclass(frozen=True, kw_only=True)
class FlowMatchingFamily(NetworkFamily):
    """A field of velocities by flow matching: it has a density, and draws cost some dozens of passes.

    Args:
        n_steps: See :class:`NetworkFamily`.
        width: Units of the two hidden layers, at least 1.
        n_ode_steps: Steps of Heun's method from noise to a latent vector, and back for the density, at least 1.

    References:
        Lipman et al., 2023, Flow Matching for Generative Modeling, arXiv:2210.02747.
    """

    name: ClassVar[str] = "flow_matching"

    width: int = 256
    n_ode_steps: int = 32

    def _parts(self, latent_dim: int, n_classes: int) -> tuple[nn.Module, nn.Module, Objective]:
        field = VelocityField(latent_dim, condition_dim=n_classes, width=self.width, n_steps=self.n_ode_steps)
        return field, field, FlowMatching()


@ex_post_priors.register("second_stage", cites=("dai2019diagnosing",))
@final
@dataclass(frozen=True, kw_only=True)
class SecondStageFamily(NetworkFamily):
    """A second variational autoencoder, of the latent vectors: one pass to draw, and no density.

    Args:
        n_steps: See :class:`NetworkFamily`.
        width: Units of the hidden layers, at least 1.
        n_layers: Number of hidden layers of encoder and decoder, at least 1.

    References:
        Dai and Wipf, 2019, Diagnosing and Enhancing VAE Models, arXiv:1903.05789.
    """

    name: ClassVar[str] = "second_stage"

    width: int = 512
    n_layers: int = 2

    def _parts(self, latent_dim: int, n_classes: int) -> tuple[nn.Module, nn.Module, Objective]:
        network = SecondStage(latent_dim, condition_dim=n_classes, width=self.width, n_layers=self.n_layers)
        return network, network.model, Elbo()


def _feeds(latents: Latents, prior: LearntPrior, budget: FitBudget) -> tuple[Feed, Feed | None]:
    """Draws from the posteriors in the prior's standardised form: to learn from, and to judge by."""
    is_point = latents.log_vars is None
    rows = latents.means if latents.log_vars is None else torch.cat((latents.means, latents.log_vars), dim=-1)

    def standardised(part: Tensor) -> Tensor:
        if is_point:
            return (part - prior.centre) / prior.scale
        mean, log_var = part.chunk(2, dim=-1)
        return (mean + (0.5 * log_var).exp() * torch.randn_like(mean) - prior.centre) / prior.scale

    condition = None
    if latents.classes is not None:
        condition = functional.one_hot(latents.classes, latents.n_classes).float()
    feed = Feed(rows.detach().cpu().float(), standardised, device=budget.engine.device, condition=condition)
    n = len(rows)
    order = torch.randperm(n, generator=generator(budget.seed, "held-out"))
    n_held_out = n // 10 if n >= FEWEST_TO_JUDGE else 0
    # several draws of each of few examples make a batch
    train = order[n_held_out:].repeat(max(1, BATCH // (n - n_held_out)))
    return feed.subset(train), feed.subset(order[:n_held_out]) if n_held_out else None


def _plan(n_steps: int | Literal["auto"], train: Feed, budget: FitBudget) -> TrainingPlan:
    batch_size = min(BATCH, len(train))
    steps = N_STEPS if n_steps == "auto" else n_steps
    unlimited = n_steps == "auto" and budget.max_time is not None
    return TrainingPlan(
        max_epochs=100_000 if unlimited else math.ceil(steps / train.steps_per_epoch(batch_size)),
        batch_size=batch_size,
        max_time=budget.max_time,
        learning_rate=2e-3,
        gradient_clip=1.0,
        averaging=0.999,
        seed=derive_seed(budget.seed, "ex-post"),
        engine=replace(budget.engine, compiled=False, precision="float32"),
    )


def _priors(prior: LearntPrior) -> ExPostPriors:
    """The prior of all, and its views of each class; on the CPU, where latents are drawn."""
    whole = prior.cpu().eval().requires_grad_(False)
    return ExPostPriors(whole=whole, classes=[whole.of_class(index) for index in range(prior.n_classes)])
