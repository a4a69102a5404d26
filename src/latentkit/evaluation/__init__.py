"""Metrics: tensors to numbers."""

from __future__ import annotations

from latentkit.evaluation.annealing import BidirectionalBounds, annealed_bound, bidirectional_bounds
from latentkit.evaluation.classic_rates import RatePoint, classic_rates, even_stacks
from latentkit.evaluation.classifier import ClassifierFeatures
from latentkit.evaluation.code_quality import disentanglement_metrics, measure_disentanglement
from latentkit.evaluation.column_shapes import ColumnShapes, column_shapes
from latentkit.evaluation.comparison import ComparedPair, Comparison, PairedDifference, paired_difference
from latentkit.evaluation.compression import PackedSize, classic_sizes, mosaic
from latentkit.evaluation.control import (
    AttributeControl,
    AttributeRecognizer,
    AttributeRegressor,
    attribute_control,
    classification_accuracy_score,
)
from latentkit.evaluation.copied_texts import CopiedTexts, copied_texts
from latentkit.evaluation.detection import DetectionQuality, detection_quality
from latentkit.evaluation.disentanglement import (
    Dci,
    FactorVaeScore,
    MutualInformationGap,
    SapScore,
    dci,
    factor_vae_score,
    mutual_information_gap,
    sap_score,
)
from latentkit.evaluation.distortion import Distortion
from latentkit.evaluation.drift import ColumnDrift, Drift, measure_drift
from latentkit.evaluation.evaluation import Evaluation
from latentkit.evaluation.factors import quantile_bins
from latentkit.evaluation.features import (
    FeatureMap,
    InceptionFeatures,
    NetworkFeatures,
    PrincipalComponentFeatures,
    RandomFeatures,
    RowFeatures,
    random_convolution_features,
)
from latentkit.evaluation.figures import Figure, MissingFigure
from latentkit.evaluation.frechet import frechet_distance
from latentkit.evaluation.information import InformationEstimate, codebook_perplexity, mutual_information
from latentkit.evaluation.kernel import KernelDistance, kernel_distance
from latentkit.evaluation.language_model import LanguageModel, schema_of_judges
from latentkit.evaluation.latent_information import LatentInformation, latent_information
from latentkit.evaluation.latents import LatentSummary, active_units, summarize_latents
from latentkit.evaluation.likelihood import (
    LikelihoodEstimate,
    bits_per_dimension,
    importance_bound,
    reconstruction_likelihood,
)
from latentkit.evaluation.manifold import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from latentkit.evaluation.memorisation import CopyRate, copy_rate
from latentkit.evaluation.mixed_table import MixedTable, mixed_tables
from latentkit.evaluation.mixture_posteriors import MixtureEstimate, miselbo
from latentkit.evaluation.pair_trends import PairTrends, pair_associations, pair_trends
from latentkit.evaluation.pairs import MS_SSIM_LEAST_SIDE, ms_ssim, psnr, ssim
from latentkit.evaluation.perplexity import Perplexity, perplexity
from latentkit.evaluation.rate_distortion import bjontegaard_rate
from latentkit.evaluation.sample_quality import Measurement, measure_samples, sample_metrics
from latentkit.evaluation.table_efficacy import LearnerScore, train_synthetic_test_real
from latentkit.evaluation.table_learners import table_learners
from latentkit.evaluation.table_privacy import ClosestRecords, CopiedCells, closest_records, copied_cells
from latentkit.evaluation.table_quality import measure_table, table_metrics, table_privacy_figures
from latentkit.evaluation.text_overlap import bleu, distinct_n, self_bleu
from latentkit.evaluation.text_quality import TextQuality, text_quality
from latentkit.evaluation.two_sample import TwoSampleAuc, two_sample_auc
from latentkit.evaluation.words import words_of

__all__ = [
    "MS_SSIM_LEAST_SIDE",
    "AttributeControl",
    "AttributeRecognizer",
    "AttributeRegressor",
    "BidirectionalBounds",
    "ClassifierFeatures",
    "ClosestRecords",
    "ColumnDrift",
    "ColumnShapes",
    "ComparedPair",
    "Comparison",
    "CopiedCells",
    "CopiedTexts",
    "CopyRate",
    "Dci",
    "DensityCoverage",
    "DetectionQuality",
    "Distortion",
    "Drift",
    "Evaluation",
    "FactorVaeScore",
    "FeatureMap",
    "Figure",
    "InceptionFeatures",
    "InformationEstimate",
    "KernelDistance",
    "LanguageModel",
    "LatentInformation",
    "LatentSummary",
    "LearnerScore",
    "LikelihoodEstimate",
    "Measurement",
    "MissingFigure",
    "MixedTable",
    "MixtureEstimate",
    "MutualInformationGap",
    "NetworkFeatures",
    "PackedSize",
    "PairTrends",
    "PairedDifference",
    "Perplexity",
    "PrecisionRecall",
    "PrincipalComponentFeatures",
    "RandomFeatures",
    "RatePoint",
    "RowFeatures",
    "SapScore",
    "TextQuality",
    "TwoSampleAuc",
    "active_units",
    "annealed_bound",
    "attribute_control",
    "bidirectional_bounds",
    "bits_per_dimension",
    "bjontegaard_rate",
    "bleu",
    "classic_rates",
    "classic_sizes",
    "classification_accuracy_score",
    "closest_records",
    "codebook_perplexity",
    "column_shapes",
    "copied_cells",
    "copied_texts",
    "copy_rate",
    "dci",
    "density_coverage",
    "detection_quality",
    "disentanglement_metrics",
    "distinct_n",
    "even_stacks",
    "factor_vae_score",
    "frechet_distance",
    "importance_bound",
    "kernel_distance",
    "latent_information",
    "measure_disentanglement",
    "measure_drift",
    "measure_samples",
    "measure_table",
    "miselbo",
    "mixed_tables",
    "mosaic",
    "ms_ssim",
    "mutual_information",
    "mutual_information_gap",
    "pair_associations",
    "pair_trends",
    "paired_difference",
    "perplexity",
    "precision_recall",
    "psnr",
    "quantile_bins",
    "random_convolution_features",
    "reconstruction_likelihood",
    "sample_metrics",
    "sap_score",
    "schema_of_judges",
    "self_bleu",
    "ssim",
    "summarize_latents",
    "table_learners",
    "table_metrics",
    "table_privacy_figures",
    "text_quality",
    "train_synthetic_test_real",
    "two_sample_auc",
    "words_of",
]
