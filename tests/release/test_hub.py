"""The Hugging Face Hub as a store, through huggingface_hub and a server that answers as the Hub does."""

import json
import sys

import pytest

pytest.importorskip("huggingface_hub")
from hub import TOKEN, Hub
from huggingface_hub import ModelCard, constants

from aetool import DependencyError, InputError, ReleaseError
from aetool.release import open_store, push, renew


@pytest.fixture
def hub(monkeypatch):
    with Hub("machines/pump") as found:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://{found.host}")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@pytest.fixture
def remote(site, hub):
    site.store = f"hf://{hub.repository}"
    return site


def test_a_release_is_one_commit_and_a_device_takes_it(remote, hub):
    version, _ = remote.release_twice()
    assert {"README.md", "channels/stable.json", f"versions/{version}/manifest.json"} < set(hub.commits[0])
    assert hub.commits[1] == ["channels/canary.json"]
    assert len(hub.commits) == 4  # two versions, a channel, a renewal


def test_the_token_does_not_go_to_where_large_files_lie(remote, hub):
    remote.push("a")
    hub.asked.clear()
    remote.poll()
    large = [headers for _, path, headers in hub.asked if path.startswith("/large/")]
    assert large and not any("Authorization" in headers for headers in large)


def test_the_card_has_metadata_and_keeps_what_its_owner_added(remote, hub, promised):
    first = remote.push("a")
    card = ModelCard(hub.files["README.md"].decode())
    assert (card.data.library_name, card.data.pipeline_tag) == ("aetool", "tabular-classification")
    assert "license" not in card.data.to_dict() and f"versions/{first}" in card.text
    card.data.license = "apache-2.0"
    hub.files["README.md"] = str(card).encode()
    push(promised, remote.store, private_key=remote.private, channel="canary")
    renew(remote.store, private_key=remote.private, public_key=remote.public)
    assert hub.files["README.md"] == str(card).encode()  # shows what is stable, which is what it was
    second = push(promised, remote.store, private_key=remote.private).channel.version
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data.license == "apache-2.0" and f"versions/{second}" in card.text and first not in card.text
    (metric,) = card.data.to_dict()["model-index"][0]["results"][0]["metrics"]
    counted = json.loads((promised / "manifest.json").read_text())["calibration"]["false_alarms"]
    assert (metric["type"], metric["value"]) == ("false_alarms", counted["count"] / counted["rows"])


def test_two_pushes_at_the_same_time_are_kept_apart(remote, hub):
    remote.push("a")
    store = open_store(remote.store)
    with pytest.raises(ReleaseError, match="412"), store.locked():
        hub.sha = "f" * 40  # another has pushed
        try:
            store.write("channels/stable.json", hub.files["channels/stable.json"])
        except OSError as error:
            raise ReleaseError(str(error)) from error


def test_a_repository_that_is_not_there_ends_in_a_message(remote, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(ReleaseError, match="no model repository machines/pump, or you may not use it; create it"):
        remote.push("a")
    outcome = remote.poll()
    assert outcome.event == "failed" and "hf auth login, or set HF_TOKEN" in outcome.message


@pytest.mark.parametrize("uri", ["hf://", "hf://pump", "hf://a/b/c", "hf://owner/na me", "hf://datasets/a/b"])
def test_a_uri_of_no_repository_is_an_input_error(uri):
    with pytest.raises(InputError, match="expected hf://OWNER/NAME"):
        open_store(uri)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "aetool.release._hub", raising=False)
    with pytest.raises(DependencyError, match="extra 'hub'"):
        open_store("hf://owner/name")
