"""The pages of docs/: their examples run, what they include and link to is there, they build."""

import doctest
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastscratch.experiments import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "api" not in path.parts)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

if not DOCS.exists():
    pytest.skip("the pages are not here: tests run without them", allow_module_level=True)


def blocks_of(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize(
    "path", [path for path in PAGES if blocks_of(path, "pycon")], ids=lambda p: p.stem
)
def test_examples_of_a_page(path):
    """One after the other, as a reader would type them."""
    text = "\n".join(blocks_of(path, "pycon"))
    test = doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0)
    assert test.examples
    results = doctest.DocTestRunner(optionflags=FLAGS).run(test)
    assert results.failed == 0


def test_both_first_pages_show_the_same_code():
    english, korean = DOCS / "start.md", DOCS / "start.ko.md"
    assert blocks_of(english, "pycon") == blocks_of(korean, "pycon")
    assert blocks_of(english, "bash") == blocks_of(korean, "bash")[:2]


INCLUDED = [
    (path, source, options)
    for path in PAGES
    for source, options in re.findall(
        r"```\{literalinclude\} (\S+)\n((?::.*\n)*)```", path.read_text("utf-8")
    )
]


@pytest.mark.parametrize(
    ("path", "source", "options"),
    INCLUDED,
    ids=[f"{p.stem}-{i}" for i, (p, *_) in enumerate(INCLUDED)],
)
def test_code_that_a_page_shows_is_there(path, source, options):
    file = (path.parent / source).resolve()
    text = file.read_text("utf-8")
    for name in re.findall(r":pyobject: (\w+)", options):
        assert re.search(rf"^def {name}\(", text, re.M)
    starts = re.findall(r':start-at: "(.*)"', options)
    for start in starts:
        begin = text.index(start)
        for end in re.findall(r':end-before: "(.*)"', options):
            assert 0 < text.index(end, begin + 1) - begin < 2500


def test_links_between_pages_lead_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text("utf-8")):
            if target.startswith("http") or "_static/drawn" in target or "api/" in target:
                continue  # made when the pages are built, where a broken link is an error
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_names_on_the_page_of_names_are_there():
    """Every name that its columns give for this library."""
    from fastscratch import (
        data,
        gradient_check,
        layers,
        losses,
        models,
        ops,
        optimizers,
        second_order,
        training,
    )

    text = (DOCS / "names.md").read_text("utf-8")
    places = {
        "data": data, "gradient_check": gradient_check, "losses": losses, "models": models,
        "optimizers": optimizers, "second_order": second_order, "training": training,
    }  # fmt: skip
    found = re.findall(r"`(\w+)\.(\w+)[`(]", text)
    assert len(found) > 8
    for place, name in found:
        if place in places:
            assert hasattr(places[place], name), f"{place}.{name}"
    table = text.partition("## Arguments")[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table if "|" in line][2:]
    assert len(rows) == 15
    for *_, layer, operation in rows:
        for name in re.findall(r"`(\w+)", operation):
            assert name in ops.__all__
        for name in re.findall(r"`([A-Z]\w+)", layer):
            assert name in layers.__all__


def test_the_chapters_show_each_experiment_as_a_full_run_found_it():
    """Once each; with today's claim and bounds, or the run must be made again."""
    pages = "".join(page.read_text("utf-8") for page in (DOCS / "chapters").glob("*.md"))
    shown = re.findall(r"^```\{experiment\} (\S+)$", pages, re.M)
    assert sorted(shown) == sorted(EXPERIMENTS)
    for name, experiment in EXPERIMENTS.items():
        found = json.loads((DOCS / "experiments" / f"{name}.json").read_text("utf-8"))
        for field in ("title", "source", "claim", "band", "settings"):
            ours = json.loads(json.dumps(getattr(experiment, field)))
            assert found[field] == ours, f"{name}: {field} is that of another version"
        assert not found["quick"] and len(found["seeds"]) >= 3
        assert re.fullmatch(r"[0-9a-f]{40}", found["commit"])
        assert found["verdict"] == "holds" or found["note"], "why not?"
        assert 0 < (DOCS / "experiments" / f"{name}.png").stat().st_size < 60_000


def test_pages_take_no_quick_runs_and_show_words_as_words(tmp_path):
    spec = importlib.util.spec_from_file_location("experiment", DOCS / "experiment.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    full = json.loads((DOCS / "experiments" / "numerical-gradient.json").read_text("utf-8"))
    for change in ({"quick": True}, {"seeds": [0]}, {"commit": None}):
        (tmp_path / "numbers.json").write_text(json.dumps({**full, **change}))
        with pytest.raises(ValueError, match="full runs of 3 seeds"):
            module.take(tmp_path)
    assert r"x0\*\*2 + x1\*\*2" in module.markdown("numerical-gradient")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="needs the extra docs")
def test_the_pages_build_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in ("index", "start", "start.ko", "chapters/convolution", "api/fastscratch.ops"):
        assert (tmp_path / f"{page}.html").stat().st_size > 5000
