"""`aetool watch` with a real broker: nothing lost, nothing twice, over kills and restarts."""

import json
import threading

import brokers
import pytest
from processes import Watching, message, records_in, until
from test_watch import expected_scores, log_of, scores_in


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    brokers.require()
    made = brokers.Broker(tmp_path_factory.mktemp("mosquitto"))
    yield made
    made.stop()


class Publisher:
    """A client that publishes with quality of service 1 and goes on where the broker was away."""

    def __init__(self, broker, name):
        self.client = broker.client(name, clean_session=False)
        self.client.max_queued_messages_set(0)
        self.client.on_publish = lambda *_: self.there.append(None)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        self.sent, self.there = 0, []

    def publish(self, topic, text):
        self.client.publish(topic, text, qos=1)  # kept while there is no connection
        self.sent += 1

    def close(self):
        until(lambda: len(self.there) == self.sent, "the publishing")
        self.client.disconnect()
        self.client.loop_stop()


def is_subscribed(watching):
    """Wait until the watch has a session at the broker: then nothing is lost."""
    until(lambda: ": subscribed" in watching.process.stderr.readline(), "the subscription")


def test_no_message_is_lost_or_scored_twice_over_kills_and_a_broker_restart(series, broker, tmp_path):
    samples = log_of(240, fault=slice(100, 106))
    alerts = tmp_path / "alerts.jsonl"
    options = ("--mqtt", broker.url("plant/+/data"), "--state", tmp_path / "state", "-o", alerts, "--scores")
    publisher = Publisher(broker, "publisher")
    watching = Watching(series, *options)
    try:
        is_subscribed(watching)
        for t in range(240):
            for group, each in samples.items():
                publisher.publish(f"plant/{group}/data", message(t, group, each[t]))
            if t in (60, 130):
                until(lambda t=t: len(scores_in(records_in(alerts))) > t // 2, "some scores")
                watching.kill()
                watching = Watching(series, *options)
            if t == 180:
                is_subscribed(watching)
                broker.stop()
                threading.Timer(0.5, broker.start).start()
        publisher.close()
        expected = expected_scores(series, samples)
        until(lambda: len(scores_in(records_in(alerts))) >= len(expected), "the last score")
        _, said = watching.end()
    finally:
        watching.kill()
    found = records_in(alerts)
    assert scores_in(found) == expected
    assert [each["sequence"] for each in found] == list(range(1, len(found) + 1))
    assert [each["kind"] for each in found if each["kind"] != "score"] == ["start", "end"]
    assert "connection lost" in said


def test_without_a_group_each_topic_is_one_and_alerts_are_published(tmp_path, broker, convolved):
    got = []
    reader = broker.client("reader")
    reader.on_message = lambda _, __, found: got.append(json.loads(found.payload))
    reader.connect("127.0.0.1", broker.port)
    reader.subscribe("alarms", qos=1)
    reader.loop_start()
    samples = {f"lines/{group}": each for group, each in log_of(60, fault=slice(30, 36)).items()}
    publisher = Publisher(broker, "lines")
    with Watching(convolved, "--mqtt", broker.url("lines/#"), "--publish", broker.url("alarms")) as watching:
        is_subscribed(watching)
        for t in range(60):
            for topic, each in samples.items():
                publisher.publish(topic, json.dumps(each[t].tolist()))
        publisher.close()
        until(lambda: len(got) >= 2, "the alerts")
        watching.end()
    reader.disconnect()
    reader.loop_stop()
    assert [(each["kind"], each["group"]) for each in got] == [("start", "lines/b"), ("end", "lines/b")]


def test_a_broker_that_is_not_there_is_waited_for(series, tmp_path):
    brokers.require()
    broker = brokers.Broker(tmp_path)
    broker.stop()
    with Watching(series, "--mqtt", broker.url("x")) as watching:
        assert "no connection" in watching.process.stderr.readline()
        broker.start()
        is_subscribed(watching)
        watching.end()
    broker.stop()
