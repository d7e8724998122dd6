"""Messages from an MQTT broker, and alerts to one: quality of service 1, acknowledged once they are safe."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from aetool.errors import InputError, reason_of
from aetool.watch._lines import IDLE_S, Stop
from aetool.watch._messages import Message
from aetool.watch._outputs import MOST_WAITING, Record

_MOST_TOGETHER = 64
"""Messages of one batch: each is acknowledged soon, since brokers send few without."""
_LONGEST_PAUSE_S = 30.0
_SESSION_S = 30  # keep-alive
_SETTLING_S = 5.0
"""Seconds after a connection was made in which messages may overtake each other."""
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class BrokerTopic(NamedTuple):
    """A topic at a broker."""

    host: str
    port: int
    topic: str
    user: str | None
    password: str | None
    secure: bool

    @classmethod
    def read(cls, url: str) -> "BrokerTopic":
        """Read `mqtt://[user:password@]host[:port]/topic`; mqtts for TLS. A topic may hold + and #.

        Raises:
            InputError: it is no such address.
        """
        scheme, found, rest = url.partition("://")
        place, _, topic = rest.partition("/")
        login, _, place = place.rpartition("@")
        host, _, port = place.partition(":") if place.count(":") < 2 else (place, "", "")
        if not (found and scheme in _PORTS and host and topic and (port.isdigit() or not port)):
            raise InputError(f"MQTT: expected mqtt://host/topic or mqtts://host/topic, found {url[:80]!r}")
        user, _, password = login.partition(":")
        number = int(port) if port else _PORTS[scheme]
        return cls(host, number, topic, unquote(user) or None, unquote(password) or None, scheme == "mqtts")

    def client(self, name: str, *, keeps_session: bool) -> paho.Client:
        """Return a client that is not connected yet."""
        made = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            clean_session=not keeps_session,
            protocol=MQTTProtocolVersion.MQTTv311,
            manual_ack=keeps_session,
        )
        if self.user is not None:
            made.username_pw_set(self.user, self.password)
        if self.secure:
            made.tls_set()
        return made


class MqttSource:
    """Messages of a topic. The broker keeps those that come while the client is away, under its name."""

    position = None

    def __init__(
        self, address: BrokerTopic, name: str, *, reconnected: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        """Prepare to connect.

        Args:
            address: the broker and the topic.
            name: client identifier, the same after a restart and nobody else's.
            reconnected: called for each connection after the first.
            tell: takes notes for people.
        """
        self._address, self._reconnected, self._tell = address, reconnected, tell
        self._client = address.client(name, keeps_session=True)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._taken: list[tuple[int, int]] = []
        self._messages: list[Message] = []
        self._refused = ""
        self._connected_at = -math.inf

    @property
    def is_settling(self) -> bool:
        """Whether the connection is new: clients that lost theirs too send what they kept, not always in order."""
        return time.monotonic() - self._connected_at < _SETTLING_S

    def seek(self, position: list[Any] | None) -> None:
        """Do nothing: the broker knows."""

    def acknowledge(self) -> None:
        """Tell the broker that the last batch is safe."""
        for number, quality in self._taken:
            self._client.ack(number, quality)
        self._taken = []

    def batches(self, stop: Stop) -> Iterator[list[Message]]:
        """Return messages as they come, for ever; connect again where the connection is lost.

        Raises:
            InputError: the broker refuses the login or the topic.
        """
        pause, times = 0.0, 0
        while not stop.requested:
            try:
                self._client.connect(self._address.host, self._address.port, _SESSION_S)
            except (OSError, ValueError) as error:
                if pause == 0.0:
                    self._tell(f"{self._where}: no connection ({reason_of(error)}); trying again")
            else:
                if times:
                    self._reconnected()
                times += 1
                for batch in self._connected(stop):
                    pause = 0.0
                    yield batch
                if self._refused:
                    raise InputError(f"{self._where}: {self._refused}; check user, password and topic")
                if not stop.requested:
                    self._tell(f"{self._where}: connection lost; connecting again")
            pause = min(max(0.2, 2 * pause), _LONGEST_PAUSE_S)
            stop.wait(pause)
            yield []
        self._client.disconnect()

    @property
    def _where(self) -> str:
        return f"mqtt://{self._address.host}:{self._address.port}/{self._address.topic}"

    def _connected(self, stop: Stop) -> Iterator[list[Message]]:
        """Return the messages of one connection."""
        self._taken = []  # they will be sent again
        while not stop.requested and not self._refused:
            socket = self._client.socket()
            if socket is None:
                break
            pending = getattr(socket, "pending", None)
            is_ready = bool(pending is not None and pending()) or stop.wait(IDLE_S, socket.fileno())
            if is_ready and not self._read():
                break
            if self._client.want_write():
                self._client.loop_write()
            if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
            messages, self._messages = self._messages, []
            if messages or not is_ready:
                yield messages
        self._messages, self._taken = [], []

    def _read(self) -> bool:
        """Read what is there; return whether the connection still stands."""
        while len(self._messages) < _MOST_TOGETHER:
            before = len(self._messages)
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
            if len(self._messages) == before:
                return True
        return True

    def _on_connect(self, client: paho.Client, _: Any, __: Any, code: Any, ___: Any) -> None:
        if code.is_failure:
            if code.value in (0x86, 0x87, 0x85):  # user or password, not authorised, client identifier
                self._refused = f"refused ({code})"
            return
        self._connected_at = time.monotonic()
        client.subscribe(self._address.topic, qos=1)

    def _on_subscribe(self, _: paho.Client, __: Any, ___: int, codes: list[Any], ____: Any) -> None:
        if codes and codes[0].is_failure:
            self._refused = f"the topic is refused ({codes[0]})"
        else:
            self._tell(f"{self._where}: subscribed")

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        self._messages.append(Message(message.payload.decode("utf-8", "replace"), message.topic))
        self._taken.append((message.mid, message.qos))


class MqttOutput:
    """A topic that alerts go to; they wait while the broker is away."""

    held = 0

    def __init__(self, address: BrokerTopic, name: str, dropped: Callable[[], None]) -> None:
        """Begin to connect."""
        self.name = f"mqtt {address.host}:{address.port}/{address.topic}"
        self._topic, self._dropped, self._last = address.topic, dropped, 0
        self._waiting: dict[int, int] = {}
        self._early: set[int] = set()
        """Messages that the broker had before `publish` came back."""
        self._lock = threading.Lock()
        self._client = address.client(name, keeps_session=False)
        self._client.on_publish = self._on_publish
        self._client.max_queued_messages_set(MOST_WAITING)
        self._client.reconnect_delay_set(1, int(_LONGEST_PAUSE_S))
        self._client.connect_async(address.host, address.port, _SESSION_S)
        self._client.loop_start()

    @property
    def delivered(self) -> int:
        """Sequence number of the last alert that the broker has, with all before it."""
        with self._lock:
            return min(self._waiting.values()) - 1 if self._waiting else self._last

    def send(self, records: Sequence[Record]) -> None:
        """Publish them, with quality of service 1."""
        for sequence, text in records:
            sent = self._client.publish(self._topic, text, qos=1)  # without our lock: it takes one of its own
            with self._lock:
                self._last = sequence
                if sent.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                    self._dropped()
                elif sent.mid in self._early:
                    self._early.remove(sent.mid)
                else:
                    self._waiting[sent.mid] = sequence

    def close(self, patience_s: float) -> None:
        """Wait for the broker to have them."""
        until = time.monotonic() + patience_s
        while self._waiting and time.monotonic() < until:
            time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_publish(self, _: paho.Client, __: Any, number: int, *___: Any) -> None:
        with self._lock:
            if self._waiting.pop(number, None) is None:
                self._early.add(number)
