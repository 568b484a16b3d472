"""Pictures. They need matplotlib: ``pip install 'fastscratch[plot]'``."""

from fastscratch.plots.learning_curve import learning_curve
from fastscratch.plots.trials import best_trials

__all__ = ["best_trials", "learning_curve"]
