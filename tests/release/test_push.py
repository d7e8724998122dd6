"""A store: versions that never change, channels that are signed and numbered."""

import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aetool import BundleError, InputError, ReleaseError
from aetool.bundle.bundle import Bundle
from aetool.bundle.keys import write_keys
from aetool.bundle.write import sign_bundle
from aetool.release import DirectoryStore, listing, open_store, push, renew


def test_a_version_in_the_store_is_the_bundle_byte_for_byte_with_the_signature_of_the_key(site, keys):
    version = site.push("a")
    found = Bundle.open_whole(site.store / "versions" / version, public_key=keys[1])
    source = Bundle.open(site.made / "a")
    assert found.manifest == source.manifest
    assert {name: found.read(name) for name in found.manifest.files} == {
        name: source.read(name) for name in source.manifest.files
    }


def test_a_signature_of_the_other_kind_travels_with_the_bundle(site, copied, tmp_path):
    bundle, public = copied(), write_keys(tmp_path / "model.pem", "p256")
    sign_bundle(bundle, tmp_path / "model.pem")
    site.push(bundle)
    site.poll()
    for key in (public, site.public):
        Bundle.open_whole(site.current, public_key=key)


def test_a_version_that_is_there_is_not_written_again(site):
    site.push("a")
    first = push(site.made / "a", site.store, private_key=site.private, channel="canary")
    assert (first.written, first.channel.sequence) == (0, 1)
    assert [each.channels for each in listing(site.store)[1]] == [("canary", "stable")]


def test_each_file_of_a_channel_has_a_higher_number(site):
    versions = [site.push("a"), site.push("b"), site.push("b")]
    (channel,), _, _ = listing(site.store, public_key=site.public)
    assert (channel.sequence, channel.release, channel.version) == (3, 3, versions[-1])


def test_a_renewed_channel_keeps_its_release(site):
    site.push("a", expires_days=1)
    before = listing(site.store)[0][0]
    after = renew(site.store, private_key=site.private, public_key=site.public, expires_days=10)
    assert (after.sequence, after.release) == (2, 1) and after.expires > before.expires
    assert listing(site.store, public_key=site.public)[0] == [after]


def test_an_older_bundle_is_released_only_where_that_is_asked_for(site):
    newest = site.push("b")
    with pytest.raises(ReleaseError, match="--allow-downgrade"):
        site.push("a")
    assert listing(site.store)[0][0].version == newest
    assert site.push("a", allow_downgrade=True) != newest
    assert listing(site.store)[0][0].allow_downgrade


def test_two_bundles_with_one_id_are_two_versions(site, copied):
    other = copied("a")
    text = (other / "manifest.json").read_text().replace('"name": "breast-cancer"', '"name": "other"', 1)
    (other / "manifest.json").write_text(text)
    first, second = site.push("a"), site.push(other)
    assert first != second and first[:12] == second[:12]


class Failing(DirectoryStore):
    """A store that refuses after so many files."""

    def __init__(self, path, files):
        super().__init__(path)
        self.left, self.tried = files, []

    def write(self, name, content):
        self.tried.append(name)
        if self.left == 0:
            raise OSError(28, "No space left on device")
        self.left -= 1
        super().write(name, content)


def test_a_push_that_fails_leaves_the_release_before_and_is_continued(site):
    old = site.push("a")
    store = Failing(site.store, 2)
    with pytest.raises(ReleaseError, match="No space left on device"):
        push(site.made / "c", store, private_key=site.private)
    (channel,), versions, problems = listing(site.store)
    assert channel.version == old and [each.version for each in versions] == [old]
    assert "not whole; push its bundle again" in problems[0]
    again = Failing(site.store, -1)
    push(site.made / "c", again, private_key=site.private)
    assert not set(store.tried[:2]) & set(again.tried)
    assert listing(site.store)[2] == []


def test_a_damaged_bundle_is_not_released(site, copied):
    bundle = copied()
    (bundle / "encoder.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="encoder"):
        site.push(bundle)
    assert not site.store.exists()


@pytest.mark.parametrize("name", ["", "../up", "Stable", "a/b", "x" * 65])
def test_what_is_no_name_of_a_channel_is_refused(site, name):
    with pytest.raises(InputError, match="cannot be a channel"):
        site.push("a", channel=name)


def test_a_channel_that_was_changed_is_a_problem_of_the_list_and_is_not_renewed(site):
    site.push("a")
    content = json.loads(site.channel().read_text())
    content["payload"] = content["payload"].replace('"sequence": 1', '"sequence": 9')
    site.channel().write_text(json.dumps(content))
    assert "is not what was signed" in listing(site.store, public_key=site.public)[2][0]
    with pytest.raises(ReleaseError, match="is not what was signed"):
        renew(site.store, private_key=site.private, public_key=site.public)


def test_a_store_behind_a_uri_is_the_same(site):
    pytest.importorskip("pyarrow")
    remote = open_store(f"file://{site.store}")
    first = push(site.made / "a", remote, private_key=site.private).channel
    assert push(site.made / "a", remote, private_key=site.private).written == 0
    assert listing(remote)[1][0].version == listing(site.store)[1][0].version == first.version
    assert site.poll().event == "switched"
    shutil.rmtree(site.device)
    site.store = remote
    assert site.poll().event == "switched"


def test_any_web_server_can_serve_a_store(site):
    for package in ("pyarrow", "fsspec", "aiohttp"):
        pytest.importorskip(package)
    version, folder = site.push("a"), site.store
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site.store = f"http://127.0.0.1:{server.server_port}"
        assert site.poll().version == version
        (folder / "channels" / "stable.json").unlink()
        assert "stable.json: missing, or out of reach" in site.poll().message
        server.shutdown()
    assert "stable.json: missing, or out of reach" in site.poll().message


def test_a_uri_that_nobody_knows_is_an_input_error():
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="no file system for this URI"):
        open_store("nowhere://models")
