"""Pictures. They need matplotlib: ``pip install 'fastscratch[plot]'``."""

from fastscratch.plots.learning_curve import learning_curve

__all__ = ["learning_curve"]
