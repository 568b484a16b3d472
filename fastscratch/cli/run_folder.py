"""The output folder of a training run: what lies in it, and whether a run may use it."""

import json
import tempfile
from pathlib import Path
from typing import Any

from fastscratch.errors import CheckpointError
from fastscratch.files import written_whole

MODEL = "model.npz"
HISTORY = "history.json"
PICTURE = "learning_curve.png"
OPTIONS = "options.json"


class RunFolder:
    """A folder with checkpoint, model, history, picture and options of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str) -> Path:
        """A file in the folder."""
        return self.folder / name

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        from fastscratch.training.checkpoint_file import NEWEST

        return self.folder / NEWEST

    def occupied(self) -> bool:
        """Whether a run's files are in it."""
        from fastscratch.training.checkpoint_file import NEWEST, PREVIOUS

        names = (NEWEST, PREVIOUS, MODEL, HISTORY, PICTURE, OPTIONS)
        return any((self.folder / name).exists() for name in names)

    def prepare(self) -> None:
        """Make the folder, and see that nobody uses it and that files can be written in it.

        Raises
        ------
        CheckpointError
            If not: better now than after the training.
        """
        from fastscratch.training import CheckpointFolder

        try:
            with CheckpointFolder(self.folder).hold(), tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise CheckpointError(
                f"the output folder {self.folder} cannot be written to: {error.strerror or error}"
            ) from error

    def clear(self) -> None:
        """Remove an earlier run's files, and no others."""
        from fastscratch.training.checkpoint_file import NEWEST, PREVIOUS

        for name in (NEWEST, PREVIOUS, MODEL, HISTORY, PICTURE, OPTIONS):
            (self.folder / name).unlink(missing_ok=True)

    def write_options(self, options: dict[str, Any]) -> None:
        """Note with which options the run was begun, for those who resume it."""
        with written_whole(self.file(OPTIONS)) as file:
            file.write((json.dumps(options, indent=1) + "\n").encode())

    def read_options(self) -> dict[str, Any]:
        """The options of the run in the folder; none if it has no such file."""
        path = self.file(OPTIONS)
        try:
            content = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} does not hold the options of a run")
        return content
