"""The training loop and what it needs: optimisers, schedules, engine, checkpoints, progress."""

from latentkit.training.augmentation import augmentations, build_augmentation, is_redrawn
from latentkit.training.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from latentkit.training.engine import Engine, choose_engine, pick_device
from latentkit.training.feed import Feed
from latentkit.training.interruption import Interruption
from latentkit.training.loop import PRIVACY_KEY, Trainer, TrainingStep, mean_objective, objective_values, training_step
from latentkit.training.optimizers import build_optimizer, optimizer_names
from latentkit.training.plan import EpochEnd, EpochRecord, TrainingPlan, TrainingResult
from latentkit.training.privacy import Privacy, PrivacySpent, calibrate, draw_key
from latentkit.training.private_step import PrivateStep
from latentkit.training.progress import make_reporter
from latentkit.training.schedules import schedules

__all__ = [
    "Checkpoint",
    "Engine",
    "EpochEnd",
    "EpochRecord",
    "Feed",
    "Interruption",
    "PRIVACY_KEY",
    "Privacy",
    "PrivacySpent",
    "PrivateStep",
    "Trainer",
    "TrainingPlan",
    "TrainingResult",
    "TrainingStep",
    "augmentations",
    "build_augmentation",
    "build_optimizer",
    "calibrate",
    "choose_engine",
    "draw_key",
    "is_redrawn",
    "make_reporter",
    "mean_objective",
    "objective_values",
    "optimizer_names",
    "pick_device",
    "read_checkpoint",
    "schedules",
    "training_step",
    "write_checkpoint",
]
