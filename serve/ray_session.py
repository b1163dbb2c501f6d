"""A private local Ray: our packages in its workers, its files in one folder, nothing left behind.

Only the standard library and Ray are needed, so that training and serving share it::

    with ray_session(num_cpus=2) as session:
        ...  # ray is initialised

Three things differ from a bare `ray.init()`:

- **Our packages.** Ray puts the driver's working folder first on every worker's path, so a driver started
  in a folder with its own `envs/` or `serve/` would run that one in its workers. Ray is therefore started
  from inside an empty folder of the session, and where our packages are not installed (a checkout) their
  root leads `PYTHONPATH` while Ray's daemons start. Workers keep that empty folder as working folder:
  hand them absolute paths.
- **One folder.** Everything Ray writes, its access token included, lies in one private folder under the
  temporary folder; all ports listen on loopback.
- **No leftovers.** A janitor process kills what is left of the session and removes the folder when the
  owner ends, also by SIGKILL; sessions whose janitor was killed too are swept at the next start.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serve import janitor

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
"""Folder that holds envs, policies, experiments, storage and serve."""

_MAX_PARENT_CHARS = 16  # the sockets of Ray and HAProxy below it must fit into 107
_ATTEMPTS = 3
_LOOPBACK_VARIABLE = (
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: one machine only, every daemon listens on loopback
)
logger = logging.getLogger(__name__)


class RaySessionError(RuntimeError):
    """Ray did not start; the message is one line."""


def package_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which a fresh Python finds our packages, and ours first.

    Args:
        environment: what to start from; this process's own unless given.
    """
    result = dict(os.environ if environment is None else environment)
    result.setdefault("PYTHONPATH", "")
    root = str(PACKAGE_ROOT)
    if root not in site.getsitepackages():  # there it is found anyway, and must not come before the stdlib
        others = [p for p in result["PYTHONPATH"].split(os.pathsep) if p and p != root]
        result["PYTHONPATH"] = os.pathsep.join([root, *others])
    return result


class RaySession:
    """A running local Ray that this process owns. Make it by `start_ray` or `ray_session`.

    Attributes:
        folder: private folder of the session; `folder/work` is the workers' working folder.
    """

    def __init__(self, folder: Path, janitor_process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._janitor = janitor_process

    def close(self, timeout_s: float = 15.0) -> None:
        """Stop Ray and remove everything of the session. Harmless when repeated.

        Args:
            timeout_s: longest wait for the clean-up, which goes on by itself after that.
        """
        import ray

        if self._janitor.stdin is None or self._janitor.stdin.closed:
            return
        try:
            ray.shutdown()
            _forget_token()
        finally:
            self._janitor.stdin.close()
            try:
                self._janitor.wait(timeout_s)
            except subprocess.TimeoutExpired:
                logger.warning("the clean-up of %s takes longer than %.0f s", self.folder, timeout_s)


@contextmanager
def ray_session(**options: Any) -> Iterator[RaySession]:
    """Start Ray as `start_ray` does, stop it at the end of the block."""
    session = start_ray(**options)
    try:
        yield session
    finally:
        session.close()


def start_ray(
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    object_store_bytes: int = 150_000_000,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> RaySession:
    """Start a private local Ray.

    Args:
        num_cpus: CPU shares to hand out; Ray counts the cores unless given.
        num_gpus: GPUs to hand out; Ray counts them unless given.
        object_store_bytes: size of the shared-memory object store; Ray wants at least 75 MB.
        variables: environment variables for Ray's daemons and workers; this process keeps its own.
        folder: a folder from `make_session_folder`, if files had to be put there first.

    Raises:
        RaySessionError: Ray did not start in three attempts.
    """
    folder = folder or make_session_folder()
    guard = _start_janitor(folder)
    reason = ""
    for attempt in range(_ATTEMPTS):
        try:
            _init(folder, num_cpus, num_gpus, object_store_bytes, variables or {})
            return RaySession(folder, guard)
        except (KeyboardInterrupt, SystemExit):
            RaySession(folder, guard).close()
            raise
        except Exception as error:  # Ray raises many classes when its daemons are slow
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            logger.warning("Ray did not start (attempt %d of %d): %s", attempt + 1, _ATTEMPTS, reason)
            _shutdown_quietly()
            for pid in janitor.session_processes(folder):
                _kill(pid)
            time.sleep(1.0 + attempt)
    RaySession(folder, guard).close()
    raise RaySessionError(
        f"Ray did not start in {_ATTEMPTS} attempts ({reason}); the machine may be short of memory or time, "
        "try again when it is quieter"
    )


def make_session_folder() -> Path:
    """Sweep sessions whose owners are gone, then make a private folder for a new one.

    The name is short: the paths of Unix sockets end at 107 characters.
    """
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > _MAX_PARENT_CHARS:
        parent = Path("/tmp")
    janitor.sweep_dead_sessions(parent)
    folder = Path(tempfile.mkdtemp(prefix=janitor.PREFIX, dir=parent)).resolve()
    (folder / "work").mkdir()
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    owner = {"pid": os.getpid(), "started_ticks": janitor.started_ticks(os.getpid())}
    beside = folder / f"{janitor.OWNER_FILE}.new"
    beside.write_text(json.dumps(owner))
    beside.replace(folder / janitor.OWNER_FILE)
    return folder


def discard_session_folder(folder: Path) -> None:
    """Remove a folder of `make_session_folder` in which no Ray was started."""
    shutil.rmtree(folder, ignore_errors=True)


def _start_janitor(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", janitor.__file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _init(
    folder: Path,
    num_cpus: int | None,
    num_gpus: int | None,
    object_store_bytes: int,
    variables: Mapping[str, str],
) -> None:
    changes = {
        **package_environment({"PYTHONPATH": os.environ.get("PYTHONPATH", "")}),
        janitor.MARKER: str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime reports the models that workers load, see serve.models
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        _LOOPBACK_VARIABLE: "0",
        **variables,
    }
    before = {name: os.environ.get(name) for name in changes}
    cwd = Path.cwd()
    os.environ.update(changes)
    try:
        os.chdir(folder / "work")
        import ray
        from ray._private import ray_constants

        # Ray reads the variable when it is imported, which may have been before this session.
        ray_constants.ENABLE_RAY_CLUSTER = False
        _forget_token()
        ray.init(
            address="local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            object_store_memory=object_store_bytes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=str(folder / "r"),  # Ray makes its folder open to everybody; ours around it is private
        )
    finally:
        os.chdir(cwd)
        # Only Ray carries the marker: whatever else this process starts must survive the janitor.
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _forget_token() -> None:
    """Make Ray read its access token anew: it keeps what it found when it was imported or last used."""
    import ray

    compiled: Any = ray._raylet  # it ships no types
    compiled.Config.initialize("")
    compiled.AuthenticationTokenLoader.instance().reset_cache()


def _shutdown_quietly() -> None:
    import ray

    try:
        ray.shutdown()
    except Exception:  # it is half started; the janitor takes the rest
        logger.debug("stopping a half-started Ray failed", exc_info=True)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except OSError:
        logger.debug("process %d was gone already", pid)
