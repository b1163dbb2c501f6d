"""Settings of the service: one frozen dataclass, handed to the replica as it is."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path


class ServiceError(RuntimeError):
    """The service cannot start or go on; the message is one clear line."""


@dataclass(frozen=True)
class ServeSettings:
    """What a service needs to know.

    Attributes:
        home: project data folder (absolute); the manifest and the artifacts live under it.
        host: loopback address to listen on.
        port: TCP port to listen on.
        dsn: PostgreSQL DSN of the registry; None leases the embedded one under `home`.
        artifacts: root of the artifact store; None means `home/artifacts`.
        max_body_bytes: largest accepted request body.
        max_tensor_bytes: largest accepted body of tensors (`/v2/models/.../infer`): some minds carry a state.
        max_requests: most decisions in one HTTP request.
        max_batch_rows: most rows in one ONNX Runtime call.
        max_waiting_rows: rows that may wait in the engine before it answers busy.
        deadline_s: longest wait of a row before it is answered busy.
        poll_s: seconds between two looks at the registry.
        max_candidates: undeployed versions held at once; the least recently used one gives way.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 8000
    dsn: str | None = None
    artifacts: str | None = None
    max_body_bytes: int = 1 << 20
    max_tensor_bytes: int = 16 << 20
    max_requests: int = 1024
    max_batch_rows: int = 256
    max_waiting_rows: int = 8192
    deadline_s: float = 1.0
    poll_s: float = 1.0
    max_candidates: int = 64

    @property
    def manifest_path(self) -> Path:
        """The last list of models that was served well; read when the registry is down."""
        return self.home / "serve" / "manifest.json"

    @property
    def state_key_path(self) -> Path:
        """The key that signs what packs remember."""
        return self.home / "serve" / "state.key"

    @property
    def artifact_root(self) -> str:
        """Root of the content-addressed store."""
        return self.artifacts or str(self.home / "artifacts")

    def validate(self) -> ServeSettings:
        """Check ranges and that the address is a loopback one.

        Returns:
            The settings themselves.

        Raises:
            ServiceError: one line naming the setting, what was seen and the remedy.
        """
        if not 1 <= self.port <= 65535:
            raise ServiceError(f"port {self.port} is outside 1..65535; give a free port such as 8000")
        try:
            loopback = self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise ServiceError(
                f"host {self.host!r} is not a loopback address; this service has no access control yet, "
                "use 127.0.0.1 and put a reverse proxy with authentication in front of it"
            )
        sizes = ("max_body_bytes", "max_tensor_bytes", "max_requests", "max_batch_rows")
        for name in (*sizes, "max_waiting_rows", "max_candidates"):
            if getattr(self, name) < 1:
                raise ServiceError(f"{name} is {getattr(self, name)}, it must be at least 1")
        if self.max_waiting_rows < self.max_requests:
            raise ServiceError(
                f"max_waiting_rows {self.max_waiting_rows} is less than max_requests {self.max_requests}: "
                "a full request could never be answered; raise max_waiting_rows"
            )
        if self.deadline_s <= 0 or self.poll_s <= 0:
            raise ServiceError("deadline_s and poll_s must be positive")
        return self
