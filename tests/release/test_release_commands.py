"""`aetool release` and `aetool agent`, as an operator types them."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import click
import pytest
from click.testing import CliRunner

from aetool import Limits
from aetool.checks.first_run import Ended
from aetool.cli import main
from aetool.release import add_report, prove_here

ROOT = Path(__file__).parents[2]


@pytest.fixture
def aetool(tmp_path, monkeypatch):
    """aetool(*words): (exit code, what was printed); bundles are proven in this process, which is faster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aetool.release._proof.run_apart", proven_here)

    def run(*words):
        found = CliRunner().invoke(main, [*map(str, words)])
        return found.exit_code, found.output

    return run


def proven_here(_, path, options, **__):
    given = json.loads(options)
    fault = prove_here(Path(path), given["provider"], given["public_key"], Limits(**given["limits"]))
    return Ended(None, 0, json.dumps({"fault": fault}), "")


def printed(aetool, *words):
    code, text = aetool(*words, "--json", "-q")
    return code, json.loads(text[text.index("{") :])


def test_two_devices_a_canary_a_bad_release_and_a_rollback(aetool, made, keys):
    private, public = keys
    agents = {"pump-1": "canary", "pump-2": "stable"}

    def push(name, channel, *more):
        pushed = printed(
            aetool, "release", "push", made / name, "store", "--private-key", private, "--channel", channel, *more
        )
        assert pushed[0] == 0
        return pushed[1]["version"]

    def look(device):
        words = "agent", "store", "-o", device, "--channel", agents[device], "--once", "--public-key", public
        return printed(aetool, *words)

    first = push("a", "canary")
    assert push("a", "stable") == first
    assert [look(device)[1]["version"] for device in agents] == [first, first]
    second = push("b", "canary")
    assert [look(device)[1]["version"] for device in agents] == [second, first]
    assert aetool("agent", "report", "pump-1", "--error", "no vibration score")[0] == 0
    code, outcome = look("pump-1")
    assert (code, outcome["event"], outcome["version"]) == (3, "rolled back", first)
    code, status = printed(aetool, "agent", "status", "pump-1")
    assert status["version"] == first and "no vibration score" in status["refused"][second]["reason"]
    assert look("pump-1")[1]["event"] == "held"
    third = push("c", "canary")
    assert look("pump-1")[1]["version"] == third == push("c", "stable") == look("pump-2")[1]["version"]
    code, listed = printed(aetool, "release", "list", "store", "--public-key", public)
    assert code == 0 and [each["version"] for each in listed["versions"]] == [first, second, third]
    assert push("a", "stable", "--allow-downgrade") == first == look("pump-2")[1]["version"]


def test_what_is_printed_for_people(aetool, made, keys):
    private, public = keys
    code, text = aetool("release", "push", made / "a", "store", "--private-key", private)
    assert code == 0 and "signed   yes" in text and f"-o DIR --channel stable --public-key {public}" in text
    assert "Not signed" in aetool("release", "push", made / "a", "unsigned")[1]
    assert "breast-cancer" in aetool("release", "list", "store")[1]
    code, text = aetool("agent", "store", "-o", "device", "--once", "--public-key", public)
    assert code == 0 and "has proven itself and is current" in text and "whoever made it" not in text
    assert "whoever made it" in aetool("agent", "store", "-o", "device", "--once")[1]
    assert "sequence 1" in aetool("agent", "status", "device")[1]
    assert "10 rows, 1 flagged" in aetool("agent", "report", "device", "--rows", "10", "--flagged", "1")[1]
    assert "until" in aetool("release", "renew", "store", "--private-key", private, "--public-key", public)[1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("agent", "nowhere", "-o", "device", "--once"), 1, "nowhere/channels/stable.json: missing"),
        (("agent", "status", "nowhere"), 1, "is no agent's directory"),
        (("agent", "report", "nowhere", "--rows", "1"), 1, "is no agent's directory"),
        (("agent", "report", "nowhere"), 2, "nothing to report"),
        (("agent", "store", "-o", "device", "--interval", "soon"), 2, "is not a duration such as 500ms, 60s"),
        (("release", "renew", "nowhere"), 1, "has no channel 'stable'"),
        (("release", "push", "nowhere", "store"), 1, "a bundle is expected"),
        (("release", "list", "nowhere://x"), 1, "no file system for this URI"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(aetool, words, code, message):
    found, text = aetool(*words)
    assert found == code and message in text and "Traceback" not in text


def test_where_a_bundle_is_expected_an_agents_directory_leads_to_its_version(aetool, made, keys):
    private, public = keys
    look = "agent", "store", "-o", "pump", "--once", "--public-key", public
    Path("store").mkdir()
    assert aetool(*look)[0] == 1
    for command in ("verify", "watch", "serve"):
        code, text = aetool(command, "pump")
        assert code == 1 and "it has no version yet, see aetool agent status pump" in text
    assert aetool("release", "push", made / "a", "store", "--private-key", private)[0] == 0
    assert aetool(*look)[0] == 0
    assert aetool("verify", "pump")[1].rstrip().endswith("found an agent's directory; give pump/current")
    assert aetool("verify", "pump/current")[0] == 0


def test_an_agent_runs_until_it_is_told_to_stop_and_takes_back_at_once(site, made):
    first = site.push("a")
    words = "agent", site.store, "-o", site.device, "--public-key", site.public, "--interval", "0.2s"
    process = subprocess.Popen(
        [sys.executable, "-m", "aetool", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert json.loads(process.stderr.readline())["version"] == first
        second = site.push("b")
        assert json.loads(process.stderr.readline())["version"] == second
        add_report(site.device, error="no")
        told = json.loads(process.stderr.readline())
        assert (told["event"], told["version"]) == ("rolled back", first) and told["time"].endswith("Z")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stderr.close()


def test_failures_double_the_interval_and_success_ends_that(site, monkeypatch):
    waits = []

    class Stop:
        def __init__(self):
            self.turns = 0

        def is_set(self):
            self.turns += 1
            if self.turns == 8:
                site.push("a")
            return self.turns > 10

        def wait(self, seconds):
            waits[-1] += seconds
            return False

    told = []
    with site.agent() as agent:
        poll = agent.poll
        monkeypatch.setattr(agent, "poll", lambda: (waits.append(0.0), poll())[1])
        monkeypatch.setattr(agent, "look", lambda: None)
        agent.run(told.append, interval_s=60, stop=Stop())
    expected = [120, 240, 480, 960, 1920, 3600, 3600, 60, 60, 60]
    assert len(waits) == len(expected)
    for found, nominal in zip(waits, expected, strict=True):
        assert 0.79 * nominal <= found <= 1.21 * nominal + 1
    assert [outcome.event for outcome in told] == ["failed", "switched"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd")
def test_the_unit_of_systemd_is_one_and_its_command_parses(tmp_path):
    text = (ROOT / "examples" / "serve" / "aetool-agent.service").read_text(encoding="utf-8")
    command = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)[1]
    unit = tmp_path / "aetool-agent.service"
    unit.write_text(text.replace(command.split()[0], sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with mock.patch.object(click.Command, "invoke"), main.make_context("aetool", command.split()[1:]) as context:
        main.invoke(context)
