"""One page that shows what a model learnt, or models side by side; whole in itself."""

from latentkit.report.comparison import write_comparison
from latentkit.report.writing import write_report

__all__ = ["write_comparison", "write_report"]
