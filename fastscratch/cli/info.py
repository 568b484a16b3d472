"""``fastscratch info``: what is installed, what this machine is, and what runs on it."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "info",
        help="show what is installed, for which processor, and what is missing",
        description="Show versions, the processor, threads, BLAS, the compiled levels, the "
        "backends and why one is missing, and the folders in use. Put it in bug reports.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from fastscratch import __version__, show_config
    from fastscratch.files import cache_folder

    config = dict(show_config())
    config["fastscratch"] = __version__
    config["cache"] = str(cache_folder())
    width = max(len(name) for name in config)
    for name, value in config.items():
        if isinstance(value, dict):
            print(f"{name}")
            inner = max((len(str(key)) for key in value), default=0)
            for key, entry in value.items():
                print(f"  {key!s:<{inner}}  {entry}".rstrip())
        else:
            print(f"{name:<{width}}  {value}")
    return 0
