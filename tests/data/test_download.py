"""Downloads, against a small server on the loopback address."""

import gzip
import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fastscratch.data import load_mnist, mnist
from fastscratch.errors import DataError, MissingExtraError
from fastscratch.files import cache_folder

from .conftest import NAMES, small_files

pytest.importorskip("pooch", reason="downloads need pooch, from the extra 'data'")

CONTENTS = small_files()


class Server:
    """Serves `files` by path, and counts; a path in `cut` breaks off half-way."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                content = server.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2 if self.path in server.cut else None])

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    """A server with two mirrors, /a and /b, of which only /b has the (small) files."""
    server = Server()
    for name, content in CONTENTS.items():
        server.files[f"/b/mnist/{name}.gz"] = gzip.compress(content)
    small = mnist.Source(
        "MNIST", "mnist", (), tuple(hashlib.sha256(CONTENTS[name]).hexdigest() for name in NAMES)
    )
    monkeypatch.setattr(mnist, "MNIST", small)
    monkeypatch.setenv("FASTSCRATCH_MIRRORS", f"{server.address}/a {server.address}/b/")
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield server
    server.close()


def cached() -> list[str]:
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file())


def test_second_mirror_is_used_and_the_cache_kept(server):
    (x, t), _ = load_mnist()
    assert x.shape == (7, 1, 28, 28) and t.tolist() == list(range(7))
    assert server.asked[:2] == [f"/a/mnist/{NAMES[0]}.gz", f"/b/mnist/{NAMES[0]}.gz"]
    assert cached() == sorted(NAMES)
    server.asked.clear()
    load_mnist()
    assert server.asked == []


@pytest.mark.parametrize("damage", ["html", "cut_gzip", "wrong_bytes", "connection_cut", "empty"])
def test_damaged_first_mirror(server, damage):
    for name, content in CONTENTS.items():
        path = f"/a/mnist/{name}.gz"
        packed = gzip.compress(content)
        server.files[path] = {
            "html": b"<html>please log in</html>",
            "cut_gzip": packed[:-9],
            "wrong_bytes": gzip.compress(content[:-1] + b"\xff"),
            "connection_cut": packed,
            "empty": b"",
        }[damage]
        if damage == "connection_cut":
            server.cut.add(path)
    (x, _), _ = load_mnist()
    assert len(x) == 7
    assert cached() == sorted(NAMES)


def test_uncompressed_bytes_are_what_counts(server):
    # Another compression of the same bytes, or none at all, is just as good.
    for i, (name, content) in enumerate(CONTENTS.items()):
        server.files[f"/a/mnist/{name}.gz"] = (
            content if i % 2 else gzip.compress(content, 1, mtime=5)
        )
    load_mnist()
    assert all(path.startswith("/a/") for path in server.asked)


def test_all_mirrors_fail_in_one_error_and_nothing_stays(server):
    server.files = {f"/b/mnist/{NAMES[0]}.gz": b"<html>"}
    with pytest.raises(DataError) as caught:
        load_mnist()
    text = str(caught.value)
    assert f"{server.address}/a/mnist/{NAMES[0]}.gz: 404" in text
    assert f"{server.address}/b/mnist/{NAMES[0]}.gz: not the bytes expected" in text
    assert "FASTSCRATCH_DATA" in text and "FASTSCRATCH_MIRRORS" in text
    assert cached() == []


def test_no_server_at_all(server, monkeypatch):
    monkeypatch.setenv("FASTSCRATCH_MIRRORS", "http://127.0.0.1:9 nonsense://x")
    with pytest.raises(DataError, match="no mirror delivers it"):
        load_mnist()


def test_damaged_cache_is_mended(server):
    load_mnist()
    path = cache_folder() / "mnist" / NAMES[0]
    path.write_bytes(path.read_bytes()[:-1])
    (x, _), _ = load_mnist()
    assert len(x) == 7
    path.write_bytes(b"")
    server.files.clear()
    with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged, and no mirror"):
        load_mnist()


def test_interrupted_download_leaves_nothing(server, monkeypatch):
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_mnist()
    assert cached() == []


def test_parts_of_killed_processes_are_swept(server):
    folder = cache_folder() / "mnist"
    folder.mkdir(parents=True)
    for name, age in (("old.part", 2 * 24 * 3600), ("new.part", 60)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)
    load_mnist()
    assert cached() == sorted([*NAMES, "new.part"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_cache_says_what_to_set(server, tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="FASTSCRATCH_CACHE"):
        load_mnist()


def test_cache_that_is_a_file_says_what_to_set(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FASTSCRATCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="FASTSCRATCH_CACHE"):
        load_mnist()


def test_missing_extra_is_named(server, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fastscratch\[data\]'"):
        load_mnist()


def test_built_in_mirrors_are_more_than_one():
    for source in (mnist.MNIST, mnist.FASHION_MNIST):
        assert len(source.mirrors) >= 2
        assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in source.mirrors)


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTSCRATCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == Path(tmp_path) / "fastscratch"
