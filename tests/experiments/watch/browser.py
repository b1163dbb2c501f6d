"""A headless Chromium driven over its debugging pipe: no port, no library."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")


def find_browser() -> str | None:
    """Path of a Chromium: `$CHROME`, or the first known name on the path."""
    chosen = os.environ.get("CHROME")
    if chosen:
        return shutil.which(chosen)
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _pipe() -> tuple[int, int]:
    """A pipe away from descriptors 3 and 4, which the browser wants for itself."""
    low = os.pipe()
    reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
    for end in low:
        os.close(end)
    return reading, writing


class Browser:
    """One browser with one page.

    Attributes:
        problems: errors that the page or the browser reported: exceptions, console errors, failed loads.
        requests: addresses that the page asked for.
    """

    def __init__(self, program: str, profile: Path, *, patience_s: float = 30.0) -> None:
        self.patience_s = patience_s
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._number, self._buffer, self._answers = 0, b"", dict[int, dict[str, Any]]()
        commands, self._out = _pipe()
        self._in, answers = _pipe()
        arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
            "--disable-breakpad", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        # The debugging pipe has to be descriptors 3 and 4.
        shell = f'exec "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", program, *arguments],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        self._session = ""
        targets = self.ask("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Page", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        limit = time.monotonic() + self.patience_s
        while self._number not in self._answers:
            self._listen(limit, method)
        answer = self._answers.pop(self._number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error'].get('message')}")
        return dict(answer["result"])

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"].get("exception", {}).get("description")))
        return answer["result"].get("value")

    def wait(self, script: str) -> Any:
        """Wait until a JavaScript expression is true; returns its value."""
        limit = time.monotonic() + self.patience_s
        while not (value := self.run(script)):
            if time.monotonic() > limit:
                raise TimeoutError(
                    f"never true in {self.patience_s:g} s: {script}; problems: {self.problems}"
                )
            time.sleep(0.05)
        return value

    def view(self, width: int, height: int, *, scheme: str = "light", scale: float = 1) -> None:
        """Set the window's size and the preferred colours."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path: Path, place: str = "") -> None:
        """Open a file and wait until the page says that it is ready."""
        self.ask("Page.navigate", url="about:blank")  # else a mere change of the place loads nothing
        self.ask("Page.navigate", url=path.resolve().as_uri() + place)
        self.wait("document.documentElement?.dataset.ready === '1'")

    def key(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Send `mousePressed`, `mouseMoved` or `mouseReleased` at a pixel."""
        button = "none" if kind == "mouseMoved" else "left"
        held = 0 if kind == "mouseReleased" else 1
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=held, clickCount=1)

    def picture(self) -> bytes:
        """Screenshot, PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End the browser and all its processes."""
        try:
            self._session = ""
            self.ask("Browser.close")
            self._process.wait(5)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        os.close(self._out)
        os.close(self._in)

    def _listen(self, limit: float, method: str) -> None:
        ready, _, _ = select.select([self._in], [], [], max(0.0, limit - time.monotonic()))
        if not ready:
            raise TimeoutError(f"no answer to {method} in {self.patience_s:g} s")
        data = os.read(self._in, 1 << 16)
        if not data:
            raise RuntimeError(f"the browser ended before it answered {method}")
        *messages, self._buffer = (self._buffer + data).split(b"\0")
        for message in messages:
            self._take(json.loads(message))

    def _take(self, message: Mapping[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = dict(message)
            return
        event, p = message.get("method"), message.get("params", {})
        if event == "Runtime.exceptionThrown":
            details = p["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and p["type"] in ("error", "assert", "warning"):
            self.problems.append(" ".join(str(a.get("value", a.get("description"))) for a in p["args"]))
        elif event == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{p['entry']['text']} ({p['entry'].get('url')})")
        elif event == "Network.loadingFailed":
            self.problems.append(f"not loaded: {p.get('errorText')}")
        elif event == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])
