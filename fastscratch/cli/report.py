"""What a training run tells: a line for each epoch, and what came of it at the end."""

from typing import Any

from fastscratch.cli.run_folder import HISTORY, MODEL, PICTURE, RunFolder
from fastscratch.errors import MissingExtraError


def epoch_lines(epochs: int) -> Any:
    """A callback that prints a line for each epoch, above the progress bar if there is one."""
    from tqdm import tqdm

    from fastscratch.training import Callback

    class EpochLines(Callback):
        def on_epoch_end(self, trainer: Any, record: Any) -> None:
            parts = [f"training loss {record['train_loss']:.4f}"]
            if record["validation_loss"] is not None:
                parts.append(f"validation loss {record['validation_loss']:.4f}")
            if record["validation_accuracy"] is not None:
                parts.append(f"accuracy {100 * record['validation_accuracy']:6.2f} %")
            parts.append(f"{record['images_per_second']:,.0f} images/s")
            tqdm.write(f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}: {', '.join(parts)}")

    return EpochLines()


def draw(history: Any, folder: RunFolder) -> str:
    """Draw the learning curve; where that cannot be, the training is not lost for it."""
    from fastscratch.plots import learning_curve

    try:
        learning_curve(history, folder.file(PICTURE))
    except MissingExtraError:
        return (
            "no picture of the learning curve, which needs matplotlib: "
            "pip install 'fastscratch[plot]'"
        )
    return ""


def report(history: Any, folder: RunFolder | None, no_picture: str, images: int) -> None:
    """Print time, speed, who ran, and what was kept."""
    epochs = f"{len(history)} epoch{'s' * (len(history) != 1)}"
    print()
    if history.interrupted:
        print(f"interrupted after {epochs}; all that was reached is kept")
    elif history.stopped:
        print(f"stopped after {epochs}: {history.stopped}")
    training = sum(record["seconds"] for record in history)
    if training:
        print(
            f"trained {epochs} of {images:,} images in {history.seconds:.1f} s: "
            f"{images * len(history) / training:,.0f} images/s"
        )
    if history.implementations:
        print("\nwhich implementation ran:")
        width = max(len(op) for op in history.implementations)
        for op, names in sorted(history.implementations.items()):
            print(f"  {op:<{width}}  {', '.join(names)}")
    print()
    if folder is None:
        print("nothing was kept; --output DIR keeps the network, its history and a picture")
    else:
        names = [name for name in (MODEL, HISTORY, PICTURE) if folder.file(name).exists()]
        print(f"kept in {folder.folder}: {', '.join([folder.checkpoint.name, *names])}")
    if no_picture:
        print(no_picture)
