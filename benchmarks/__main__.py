"""The suite's four commands: a quick look, a run over commits, a comparison, and the web pages.

    python -m benchmarks quick 'dense_forward'        the installed package, each call once or so
    python -m benchmarks run v0.1..main               commits, each built in an environment
    python -m benchmarks compare main HEAD            two commits: what changed significantly?
    python -m benchmarks publish --serve              the web pages of all results

All but ``compare`` run asv and print its command line, so that asv can be used directly, too; a
comparison is the gate's (``gate.py``). A run in which no benchmark gave a number fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import gate
from benchmarks.publish import bring_scripts, check_pages

HERE = Path(__file__).resolve().parent
CONFIGURATION = HERE / "asv.conf.json"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    quick = commands.add_parser("quick", help="a quick look at the installed package")
    run = commands.add_parser("run", help="a run over commits, whose results are kept")
    run.add_argument("commits", help="a range of git rev-list, or HASHFILE:path")
    run.add_argument("--steps", type=int, help="only so many commits of the range, evenly spread")
    compare = commands.add_parser("compare", help="two commits, which take turns")
    compare.add_argument("base")
    compare.add_argument("head")
    compare.add_argument("words", nargs="*", help="only what has all of them in its name")
    compare.add_argument("--threads", type=int, nargs="+", default=[1])
    compare.add_argument("--minutes", type=float, default=25.0, help="at most, building included")
    quick.add_argument("benchmark", nargs="?", default="", help="a regular expression: see --bench")
    run.add_argument("--machine", default="", help="the name that results are kept under")
    run.add_argument("--bench", dest="benchmark", default="",
                     help="a regular expression on names and parameters")  # fmt: skip
    for command in (quick, run, compare):
        command.add_argument("--full", action="store_true",
                             help="every shape, dtype and algorithm: hours")  # fmt: skip
    publish = commands.add_parser("publish", help="the web pages, which need no internet")
    publish.add_argument("--serve", action="store_true", help="and show them at 127.0.0.1:8080")
    publish.add_argument(
        "--check", metavar="BENCHMARK", help="look at its graph in a browser without internet"
    )
    options = parser.parse_args(arguments)
    if options.command == "publish":
        return publish_pages(options.serve, options.check)
    if options.full:
        os.environ["FASTSCRATCH_BENCHMARKS"] = "full"
    if options.command == "quick":
        return look(options.benchmark)
    if options.command == "compare":
        return gate.main([
            options.base, *options.words, "--head", options.head,
            "--minutes", str(options.minutes), "--threads", *map(str, options.threads),
        ])  # fmt: skip
    machine = record_machine(options.machine)
    steps = ["--steps", str(options.steps)] if options.steps else []
    return measure(["run", options.commits, *steps, "--machine", machine,
                    *bench(options.benchmark)])  # fmt: skip


def bench(expression: str) -> list[str]:
    return ["--bench", expression] if expression else []


def look(expression: str) -> int:
    """Run the installed package's benchmarks briefly; nothing is kept."""
    from asv.util import load_json

    record_machine("")
    configuration = load_json(str(CONFIGURATION), js_comments=True)
    with tempfile.TemporaryDirectory() as folder:
        for key in ("repo", "benchmark_dir", "env_dir"):
            configuration[key] = str((HERE / configuration[key]).resolve())
        configuration["results_dir"] = f"{folder}/results"
        temporary = Path(folder, "asv.conf.json")
        temporary.write_text(json.dumps(configuration))
        return measure(["run", "--python=same", "--quick", "--set-commit-hash", "HEAD",
                        *bench(expression)], temporary)  # fmt: skip


def measure(command: list[str], configuration: Path = CONFIGURATION) -> int:
    """Run asv; fail with it, or if there is no new number."""
    begun = time.time()
    code = asv(command, configuration)
    numbers = sum(count_numbers(path) for path in results(configuration, begun))
    print(f"{numbers} numbers were measured")
    if not numbers:
        print("no benchmark ran: the expression matches none, or all of them are n/a or failed")
    return code or int(not numbers)


def asv(command: list[str], configuration: Path = CONFIGURATION) -> int:
    line = [sys.executable, "-m", "asv", *command, "--config", str(configuration)]
    print(" ".join(["asv", *line[3:]]), flush=True)
    return subprocess.run(line, cwd=HERE, check=False).returncode


def results(configuration: Path, since: float) -> Iterator[Path]:
    """Files of results that were written since."""
    from asv.util import load_json

    where = load_json(str(configuration), js_comments=True)["results_dir"]
    for path in (configuration.parent / where).glob("*/*.json"):
        if path.name != "machine.json" and path.stat().st_mtime >= since:
            yield path


def count_numbers(path: Path) -> int:
    """Numbers in a file of results: neither n/a nor failed."""
    found = 0
    for row in json.loads(path.read_text())["results"].values():
        values = row[0] if row and isinstance(row[0], list) else []
        # None is a failure, and what is not a number was n/a or not chosen.
        found += sum(isinstance(value, int | float) and value == value for value in values)
    return found


def record_machine(name: str) -> str:
    """Tell asv about this machine: processor, memory, threads and BLAS go into the results."""
    from asv.machine import Machine, MachineCollection

    defaults: dict[str, Any] = Machine.get_defaults()
    chosen = name or str(defaults["machine"])
    MachineCollection.save(chosen, {**defaults, "machine": chosen, **surroundings()})
    return chosen


def surroundings() -> dict[str, str]:
    """What counts beside the processor's name."""
    import fastscratch as fs
    from fastscratch.dispatch.machine import blas_info, usable_processors

    blas = blas_info()
    return {
        "blas": ", ".join(
            f"{found.get('internal_api')} {found.get('version')} for {found.get('architecture')}"
            for found in blas
        ),
        "threads": f"as each benchmark says, 1 or 2, BLAS's too; {usable_processors()} usable",
        "level": str(fs.show_config()["compiled level"]),
    }


def publish_pages(serve: bool, check: str | None) -> int:
    code = asv(["publish"])
    if code:
        return code
    pages = HERE / "html"
    bring_scripts(pages)
    if check:
        check_pages(pages, check)
    print(f"{pages / 'index.html'}: to be looked at through a server, as --serve starts one")
    return asv(["preview"]) if serve else 0


if __name__ == "__main__":
    sys.exit(main())
