"""One page that shows what a model learnt: ``report.html``, whole in itself."""

from latentkit.report.writing import write_report

__all__ = ["write_report"]
