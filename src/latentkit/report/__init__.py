"""One page that shows what a model learnt, models side by side, or what a search found; whole in itself."""

from latentkit.report.comparison import write_comparison
from latentkit.report.tuning import write_study
from latentkit.report.writing import write_report

__all__ = ["write_comparison", "write_report", "write_study"]
