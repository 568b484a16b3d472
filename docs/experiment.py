"""Experiments on the pages: what a full run found, as ``fastscratch experiment`` wrote it.

``python docs/experiment.py FOLDER`` takes the reports in FOLDER (its ``--output``) into
``docs/experiments/``; the directive ``experiment`` shows one of them. Nothing is typed by hand.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "experiments"
LARGEST = 60_000  # bytes of a picture

SEEDS = 3
DATA = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "digits": "digits"}
EXACT = {"perceptron", "activations", "numerical-gradient", "optimizer-paths"}


def take(report):
    """Copy the numbers and the figure of a report; raises ValueError if it is not a full run."""
    found = json.loads((report / "numbers.json").read_text("utf-8"))
    name = found["name"]
    if found["quick"] or len(found["seeds"]) < SEEDS or not found["commit"]:
        raise ValueError(f"{name}: a page shows full runs of {SEEDS} seeds, from a clone")
    from PIL import Image

    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (FOLDER / f"{name}.json").write_text(text, "utf-8")
    picture = FOLDER / f"{name}.png"
    image = Image.open(report / "figure.png").convert("RGB")
    # Few colours are enough for lines and dots, and a third of the bytes.
    image.quantize(64).save(picture, optimize=True)
    if picture.stat().st_size > LARGEST:
        raise ValueError(f"{picture.name} has {picture.stat().st_size} bytes; {LARGEST} are enough")


def markdown(name):
    """What a page says of an experiment."""
    found = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    for field in ("title", "source", "claim", "measured", "band", "note"):
        found[field] = re.sub(r"([*_`<\[\]])", r"\\\1", found[field])  # words, not markup
    seeds = ", ".join(map(str, found["seeds"]))
    made = "exact" if name in EXACT else f"{DATA[found['data']]}, seeds {seeds}"
    note = found["note"]
    return "\n".join([
        f"![{found['title']}](/experiments/{name}.png)",
        "",
        f"*Claim* ({found['source']}): {found['claim']}.",
        "",
        f"*Measured* ({made}): {found['measured']}.",
        "",
        f"*Bounds*: {found['band']}.",
        "",
        f"*Verdict*: **the claim {found['verdict']}**{f'; {note}' if note else ''}.",
        "",
        f"`fastscratch experiment {name}` took {found['seconds']:.0f} s at commit "
        f"`{found['commit'][:10]}`.",
    ])  # fmt: skip


def setup(app):
    """Tell Sphinx of the directive."""
    from docutils import nodes
    from docutils.statemachine import StringList
    from sphinx.util.docutils import SphinxDirective

    class Experiment(SphinxDirective):
        required_arguments = 1

        def run(self):
            name = self.arguments[0]
            path = FOLDER / f"{name}.json"
            if not path.exists():
                raise self.error(f"there is no report of an experiment {name!r} in {FOLDER}")
            self.env.note_dependency(str(path))
            title = json.loads(path.read_text("utf-8"))["title"]
            box = nodes.admonition("", nodes.title(title, title), classes=["experiment"])
            lines = StringList(markdown(name).splitlines(), str(path))
            self.state.nested_parse(lines, self.content_offset, box)
            return [box]

    app.add_directive("experiment", Experiment)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    for report in sorted(Path(sys.argv[1]).glob("*/numbers.json")):
        take(report.parent)
