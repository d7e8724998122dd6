"""A real mosquitto, with what it keeps on the disk."""

import os
import shutil
import socket
import subprocess
import time

import pytest

PROGRAM = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def require():
    """Skip where there is no broker or no client; fail where every host is required."""
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError:
        absent = "paho-mqtt"
    else:
        absent = "" if PROGRAM else "mosquitto"
    if absent:
        (pytest.fail if os.environ.get("AETOOL_HOSTS_REQUIRED") else pytest.skip)(f"{absent} is not installed")


class Broker:
    """A broker on a port of its own, which can be stopped and started again."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nmax_queued_messages 0\nautosave_interval 1\n"
            + ("user root\n" if os.getuid() == 0 else "")
        )
        self.process = None
        self.start()

    def url(self, topic):
        return f"mqtt://127.0.0.1:{self.port}/{topic}"

    def start(self):
        self.process = subprocess.Popen(
            [PROGRAM, "-c", str(self.folder / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        limit = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < limit, "mosquitto does not listen"
                time.sleep(0.02)

    def stop(self):
        """SIGTERM: it writes what it holds."""
        self.process.terminate()
        self.process.wait(30)

    def client(self, name, **more):
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        made = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, **more)
        made.reconnect_delay_set(1, 1)
        return made
