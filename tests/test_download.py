import hashlib
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from skclsgen.datasets import clinifact, esnli, fetch_clinifact, fetch_esnli
from skclsgen.datasets.download import fetch_file, local_file
from skclsgen.exceptions import DatasetError


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(self.path)
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: server.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """Serve ``files`` over HTTP; ``cut`` closes the connection after that many bytes."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.files, httpd.redirects, httpd.requests, httpd.cut = {}, {}, [], None
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield httpd
        httpd.shutdown()


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_is_fetched_once(server, tmp_path):
    content = bytes(range(256)) * 4096  # more than one block
    server.files["/data/big.bin"] = content
    url = f"{server.url}/data/big.bin"
    file = fetch_file(url, sha256(content), "demo", tmp_path)
    assert file == tmp_path / "demo" / "big.bin"
    assert file.read_bytes() == content
    assert fetch_file(url, sha256(content).upper(), "demo", tmp_path) == file
    assert server.requests == ["/data/big.bin"]
    assert files_below(tmp_path) == ["demo/big.bin"]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has permissions of this kind")
def test_a_shared_cache_can_be_read_by_others(server, tmp_path):
    server.files["/file"] = b"content"
    (tmp_path / "set").mkdir()
    (tmp_path / "set").chmod(0o755)  # whatever the umask
    target = fetch_file(f"{server.url}/file", None, "set", tmp_path)
    assert {p.stat().st_mode & 0o777 for p in target.parent.iterdir()} == {0o644}


def test_progress_is_shown_on_demand(server, tmp_path, capfd):
    server.files["/a.csv"] = b"abc"
    fetch_file(f"{server.url}/a.csv", sha256(b"abc"), "quiet", tmp_path)
    assert capfd.readouterr().err == ""
    fetch_file(f"{server.url}/a.csv", sha256(b"abc"), "loud", tmp_path, verbose=1)
    assert "a.csv: 100%" in capfd.readouterr().err


def test_the_cache_folder_is_the_package_s_own(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SKCLSGEN_CACHE", str(tmp_path / "cache"))
    server.files["/a%20b.csv"] = b"abc"
    file = fetch_file(f"{server.url}/a%20b.csv", sha256(b"abc"), "demo")
    assert file == tmp_path / "cache" / "datasets" / "demo" / "a b.csv"
    named = fetch_file(f"{server.url}/a%20b.csv", sha256(b"abc"), "demo", name="c.csv")
    assert named.name == "c.csv"


def test_a_wrong_digest_leaves_nothing_behind(server, tmp_path):
    server.files["/a.csv"] = b"forged"
    with pytest.raises(DatasetError, match=f"has the SHA-256 {sha256(b'forged')}, not") as caught:
        fetch_file(f"{server.url}/a.csv", sha256(b"true"), "demo", tmp_path)
    assert isinstance(caught.value, OSError)
    assert files_below(tmp_path) == []


def test_a_transfer_that_breaks_off_leaves_nothing_behind(server, tmp_path):
    server.files["/a.csv"], server.cut = b"x" * 1000, 400
    for digest in (sha256(b"x" * 1000), sha256(b"x" * 400), None):
        with pytest.raises(DatasetError, match="broke off after 400 of 1000 bytes"):
            fetch_file(f"{server.url}/a.csv", digest, "demo", tmp_path)
    assert files_below(tmp_path) == []
    server.cut = None
    assert fetch_file(f"{server.url}/a.csv", None, "demo", tmp_path).stat().st_size == 1000


def test_an_unreachable_home_is_reported_at_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(DatasetError, match=r"download it elsewhere and save it as .*a\.csv, or"):
        fetch_file(f"http://127.0.0.1:{port}/a.csv", sha256(b""), "demo", tmp_path)
    assert time.monotonic() - start < 5
    assert files_below(tmp_path) == []


def test_a_silent_home_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.csv"
        with pytest.raises(DatasetError, match="timed out"):
            fetch_file(url, sha256(b""), "demo", tmp_path, timeout=0.2)


def test_a_file_saved_by_hand_satisfies_the_remedy(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "a.csv").write_bytes(b"abc")
    url = "https://example.invalid/a.csv"
    assert fetch_file(url, sha256(b"abc"), "demo", tmp_path).read_bytes() == b"abc"
    with pytest.raises(DatasetError, match="it was changed; delete it"):
        fetch_file(url, sha256(b"abd"), "demo", tmp_path)


def test_missing_pages_and_unsafe_redirects_are_refused(server, tmp_path):
    with pytest.raises(DatasetError, match="404"):
        fetch_file(f"{server.url}/none.csv", None, "demo", tmp_path)
    server.files["/b.csv"] = b"abc"
    server.redirects = {"/good": "/b.csv", "/bad": "ftp://127.0.0.1/b.csv"}
    assert fetch_file(f"{server.url}/good", sha256(b"abc"), "demo", tmp_path).name == "good"
    with pytest.raises(DatasetError, match="not safe to follow"):
        fetch_file(f"{server.url}/bad", None, "demo", tmp_path)
    assert files_below(tmp_path) == ["demo/good"]


def test_without_a_digest_the_first_use_is_trusted(server, tmp_path):
    server.files["/a.csv"] = b"first"
    url = f"{server.url}/a.csv"
    file = fetch_file(url, None, "demo", tmp_path)
    record = file.with_name("a.csv.sha256")
    assert record.read_text() == f"{sha256(b'first')}  a.csv\n"
    assert fetch_file(url, None, "demo", tmp_path) == file
    file.write_bytes(b"changed")
    with pytest.raises(DatasetError, match="it was changed"):
        fetch_file(url, None, "demo", tmp_path)
    file.unlink()
    server.files["/a.csv"] = b"second"
    with pytest.raises(DatasetError, match=r"to accept it, delete .*a\.csv\.sha256"):
        fetch_file(url, None, "demo", tmp_path)
    assert not file.exists()
    record.write_text("")
    with pytest.raises(DatasetError, match="holds no digest"):
        fetch_file(url, None, "demo", tmp_path)
    record.unlink()
    assert fetch_file(url, None, "demo", tmp_path).read_bytes() == b"second"


def test_a_file_saved_by_hand_is_recorded_too(tmp_path):
    (tmp_path / "demo").mkdir()
    file = tmp_path / "demo" / "a.csv"
    file.write_bytes(b"abc")
    fetch_file("https://example.invalid/a.csv", None, "demo", tmp_path)
    assert file.with_name("a.csv.sha256").read_text().startswith(sha256(b"abc"))


def test_data_home_that_is_a_file(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(DatasetError, match="cannot be written to"):
        fetch_file("https://example.invalid/a.csv", None, "demo", tmp_path / "home")


@pytest.mark.parametrize(
    ("url", "digest", "name", "message"),
    [
        ("file:///etc/hosts", None, None, "not an address of HTTP"),
        ("ftp://example.org/a", None, None, "not an address of HTTP"),
        ("https:///a", None, None, "not an address of HTTP"),
        ("https://example.org/a", "12ab", None, "64 hexadecimal"),
        ("https://example.org/", None, None, "names no file"),
        ("https://example.org/%2e%2e", None, None, "names no file"),
        ("https://example.org/a", None, "../a", "without folders"),
    ],
)
def test_malformed_requests(tmp_path, url, digest, name, message):
    with pytest.raises(ValueError, match=message):
        fetch_file(url, digest, "demo", tmp_path, name)


def test_local_file(tmp_path):
    (tmp_path / "b.csv").write_text("")
    assert local_file(str(tmp_path), ["a.csv", "b.csv"]) == tmp_path / "b.csv"
    with pytest.raises(DatasetError, match=r"has no file a\.csv or c\.csv"):
        local_file(tmp_path, ["a.csv", "c.csv"])


ESNLI = b"""pairID,gold_label,Sentence1,Sentence2,Explanation_1,Explanation_2,Explanation_3
1.jpg#1,entailment,A dog runs.,An animal moves.,A dog is an animal.,,
1.jpg#2,neutral,A dog runs.,A dog barks.,Dogs may run in silence.,,
"""


def test_esnli_comes_from_its_home(server, tmp_path, monkeypatch):
    server.files["/esnli_dev.csv"] = ESNLI
    monkeypatch.setattr(esnli, "HOME", f"{server.url}/")
    with pytest.raises(DatasetError, match="not d7a656d196ee"):
        fetch_esnli("dev", data_home=tmp_path)
    monkeypatch.setitem(esnli.FILES, "dev", {"esnli_dev.csv": sha256(ESNLI)})
    for _ in range(2):
        assert fetch_esnli("dev", data_home=tmp_path).explanations == [["A dog is an animal."]]
    assert server.requests == ["/esnli_dev.csv"] * 2
    assert files_below(tmp_path) == ["esnli/esnli_dev.csv"]


CLINIFACT = """nctId,outcome_title,outcome_timeFrame,intervention_group_title,\
comparator_group_title,PMID,label,nonInferiorityTypes,index,article_title,article_abstract
NCT01,Pain,2 weeks,A,B,{paper},1,['Superiority'],5,A trial,We compared A and B.
"""


def test_clinifact_comes_from_its_home(server, tmp_path, monkeypatch):
    for paper, split in enumerate(clinifact.IDENTITIES):
        server.files[f"/{split}_set.csv"] = CLINIFACT.format(paper=paper).encode()
        monkeypatch.setitem(clinifact.IDENTITIES, split, sha256(f"5,NCT01,{paper},1".encode()))
    monkeypatch.setattr(clinifact, "HOME", f"{server.url}/")
    for _ in range(2):
        rows = fetch_clinifact("all", data_home=tmp_path)
        assert rows.records["claim"].tolist() == ["A is superior to B in terms of Pain 2 weeks"] * 3
    assert len(server.requests) == 3
    assert len(files_below(tmp_path)) == 6  # each with its record
    monkeypatch.setitem(clinifact.IDENTITIES, "test", sha256(b""))
    with pytest.raises(DatasetError, match="does not hold the rows and labels of CliniFact's test"):
        fetch_clinifact(data_home=tmp_path)
