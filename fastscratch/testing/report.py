"""What judging a kernel found, as an object whose text is a report."""

from dataclasses import dataclass, field

_MOST_SHOWN = 10


@dataclass(frozen=True)
class Failure:
    """One thing that a kernel did wrong.

    Attributes
    ----------
    problem : str
        The problem in its written form.
    inputs : str
        The kind of inputs: "integers", "normal", "non-finite" or "bad argmax".
    placement : str
        How the arrays lay in memory: "begin", "end" or "odd".
    num_threads : int
        What the kernel was told.
    text : str
        What was expected, and what came.
    """

    problem: str
    inputs: str
    placement: str
    num_threads: int
    text: str

    def __str__(self) -> str:
        threads = f"{self.num_threads} thread" + ("s" if self.num_threads > 1 else "")
        return f"{self.problem}\n    {self.inputs}, memory {self.placement}, {threads}: {self.text}"


@dataclass
class Report:
    """The verdict on a kernel.

    Attributes
    ----------
    op, kernel : str
        The operation, and the name of the function.
    problems, runs : int
        How many problems it was given, and how often it was called.
    skipped : int
        How many problems it does not support.
    failures : list of Failure
        What it did wrong, on the smallest problem first.
    notes : list of str
        What could not be checked here.
    """

    op: str
    kernel: str
    problems: int = 0
    runs: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.failures

    def __str__(self) -> str:
        failed = len({failure.problem for failure in self.failures})
        verdict = "passed" if self.ok else f"failed on {failed} of"
        head = f"{self.kernel} as {self.op}: {verdict} {self.problems} problems, {self.runs} runs"
        lines = [head]
        if self.skipped:
            lines[0] += f", {self.skipped} not supported"
        lines += [f"note: {note}" for note in self.notes]
        lines += [str(failure) for failure in self.failures[:_MOST_SHOWN]]
        if len(self.failures) > _MOST_SHOWN:
            lines.append(f"... and {len(self.failures) - _MOST_SHOWN} more, on larger problems")
        return "\n".join(lines)
