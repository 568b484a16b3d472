"""Training: the loop over mini-batches, with all that a long run needs.

::

    Trainer      the loop: batches, validation, history, checkpoints        trainer.py
                   shuffled mini-batches                                      batches.py
                   one update, and where its numbers stopped being finite     step.py
                   where a run is, and its bar                                progress.py
                   Ctrl-C                                                     interrupt.py
                   taking a run up from its checkpoint                        resume.py
                   what a checkpoint holds                                    state.py
                   its files                                                  checkpoint_file.py
    History      what happened, epoch by epoch                              history.py
    Callback     what may watch and stop a run: EarlyStopping, StepLog      callbacks.py
    evaluate     loss and accuracy over all samples                         evaluation.py
"""

from fastscratch.training.callbacks import Callback, EarlyStopping, StepLog
from fastscratch.training.checkpoint_file import CheckpointFolder, read_checkpoint
from fastscratch.training.evaluation import Evaluation, accuracy, confusion_table, evaluate
from fastscratch.training.history import History
from fastscratch.training.resume import load_network
from fastscratch.training.trainer import Trainer

__all__ = [
    "Callback",
    "CheckpointFolder",
    "EarlyStopping",
    "Evaluation",
    "History",
    "StepLog",
    "Trainer",
    "accuracy",
    "confusion_table",
    "evaluate",
    "load_network",
    "read_checkpoint",
]
