"""Put the scripts of asv's web pages beside them, so that they work without internet.

asv's pages load jQuery, Flot and Bootstrap from elsewhere, and are blank where that cannot be
reached. The same scripts are in packages of the npm registry, which `npm` installs.
"""

import functools
import http.server
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPTS = {
    "jquery-3.3.1.min.js": ("jquery@3.3.1", "dist/jquery.min.js"),
    "jquery.flot.min.js": ("flot@0.8.3", "jquery.flot.js"),
    "jquery.flot.time.min.js": ("flot@0.8.3", "jquery.flot.time.js"),
    "jquery.flot.selection.min.js": ("flot@0.8.3", "jquery.flot.selection.js"),
    "jquery.flot.categories.min.js": ("flot@0.8.3", "jquery.flot.categories.js"),
    "jquery.flot.orderBars.js": ("flot-orderbars@1.0.0", "js/jquery.flot.orderBars.js"),
    "stupidtable.min.js": ("stupid-table-plugin@1.1.3", "stupidtable.min.js"),
    "md5.min.js": ("blueimp-md5@2.19.0", "js/md5.min.js"),
    "bootstrap.min.js": ("bootstrap@3.1.1", "dist/js/bootstrap.min.js"),
    "bootstrap.min.css": ("bootstrap@3.1.1", "dist/css/bootstrap.min.css"),
}
"""What asv's pages load, by the last part of its address: the package and its file."""

OUTSIDE = re.compile(r'(?P<key>src|href)="https://[^"]*/(?P<name>[^"/]+\.(?:js|css))"[^>]*?(?=/?>)')
"""A tag's address elsewhere, and the hash and handlers behind it."""


def bring_scripts(pages: Path) -> None:
    """Copy the scripts into the pages' folder, and let the pages load them from there."""
    index = pages / "index.html"
    page, found = rewrite(index.read_text(encoding="utf-8"))
    folder = pages / "vendor"
    folder.mkdir(exist_ok=True)
    missing = [name for name in found if not (folder / name).exists()]
    if missing:
        _install(missing, folder)
    index.write_text(page, encoding="utf-8")


def rewrite(page: str) -> tuple[str, list[str]]:
    """The page with its scripts beside it, and the names of these.

    >>> rewrite('<script src="https://a.example/x/md5.min.js" integrity="sha"></script>')
    ('<script src="vendor/md5.min.js"></script>', ['md5.min.js'])
    """
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in SCRIPTS:
            raise SystemExit(f"asv's pages load {match[0]}, and no package is known to hold it")
        names.append(name)
        return f'{match["key"]}="vendor/{name}"'

    return OUTSIDE.sub(replace, page), names


def _install(names: list[str], folder: Path) -> None:
    if not shutil.which("npm"):
        raise SystemExit("the pages need the npm command (Debian: npm), which brings their scripts")
    packages = sorted({SCRIPTS[name][0] for name in names})
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts",
             "--prefix", work, *packages],
            check=True,
        )  # fmt: skip
        for name in names:
            package, file = SCRIPTS[name]
            installed = Path(work, "node_modules", package.partition("@")[0], file)
            shutil.copyfile(installed, folder / name)


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def check_pages(pages: Path, benchmark: str, picture: Path | None = None) -> None:
    """Look at a benchmark's page in a browser that reaches nothing else: is its graph there?"""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"checking the pages needs one of {', '.join(BROWSERS)}")
    with serving(pages) as address, tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--virtual-time-budget=20000", "--window-size=1400,1000",
        ]  # fmt: skip
        where = f"{address}/#{benchmark}"
        page = subprocess.run(
            [*command, "--dump-dom", where],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ).stdout  # fmt: skip
        if picture:
            subprocess.run([*command, f"--screenshot={picture}", where], check=True)
    canvases, ticks = page.count('class="flot-base"'), page.count("flot-tick-label")
    if not canvases or not ticks or benchmark not in page:
        raise SystemExit(f"the page of {benchmark} shows no graph")
    print(f"{benchmark}: {canvases} graph with {ticks} labels on its axes, without internet")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server of a folder on the loopback address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nobody asked for a log."""

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
