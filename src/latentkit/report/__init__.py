"""One page that shows what a model learnt, ``report.html``, or what a search found; whole in itself."""

from latentkit.report.tuning import write_study
from latentkit.report.writing import write_report

__all__ = ["write_report", "write_study"]
