"""Which models are in memory: the deployed ones by name, undeployed candidates by version only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from envs.contracts import ARCHETYPES
from serve.models import LoadedModel, ModelError, ServedVersion

logger = logging.getLogger("ray.serve")

Key = tuple[str, str]
RETRY_S = 30.0
"""A version that failed to load is tried again after this long: its file may have been repaired."""


class UnknownModelError(LookupError):
    """No such model is loaded; the message is one line."""


@dataclass(frozen=True)
class _Failure:
    version: ServedVersion
    reason: str
    at: float


class ModelTable:
    """Loads beside, swaps, keeps the previous model where the new one fails.

    Args:
        load: loads and checks one version; runs in a thread.
        max_candidates: undeployed versions held at once.
        clock: monotonic clock in seconds, replaced in tests.
    """

    def __init__(
        self,
        load: Callable[[ServedVersion], LoadedModel],
        max_candidates: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._max_candidates = max_candidates
        self._clock = clock
        self._deployed: dict[Key, LoadedModel] = {}
        self._candidates: OrderedDict[tuple[str, str, int], LoadedModel] = OrderedDict()
        self._failures: dict[Key, _Failure] = {}
        self._lock = asyncio.Lock()

    def __len__(self) -> int:
        """Return the number of deployed models in memory."""
        return len(self._deployed)

    @property
    def served(self) -> list[ServedVersion]:
        """Deployed versions in memory, sorted by name."""
        return [self._deployed[key].version for key in sorted(self._deployed)]

    @property
    def archetypes(self) -> tuple[str, ...]:
        """Names that may be asked for: the six archetypes, then a user's own that have a model in memory."""
        own = {key[0] for key in self._deployed} | {key[0] for key in self._candidates}
        return (*ARCHETYPES, *sorted(own.difference(ARCHETYPES)))

    @property
    def failures(self) -> list[str]:
        """One line for each deployed version that could not be loaded."""
        return [failure.reason for _, failure in sorted(self._failures.items())]

    async def refresh(self, versions: Iterable[ServedVersion]) -> bool:
        """Make the deployed versions the served ones, one swap at a time.

        Args:
            versions: all deployed versions, at most one for each archetype and model type.

        Returns:
            Whether anything changed.
        """
        async with self._lock:
            wanted = {(v.archetype, v.model_type): v for v in versions}
            changed = False
            for key in [key for key in self._deployed if key not in wanted]:
                logger.info("%s is no longer deployed", self._deployed.pop(key).version.name)
                changed = True
            self._failures = {key: f for key, f in self._failures.items() if wanted.get(key) == f.version}
            for key, version in wanted.items():
                current = self._deployed.get(key)
                if (current is None or current.version != version) and self._may_try(key):
                    changed |= await self._swap(key, version)
            return changed

    def _may_try(self, key: Key) -> bool:
        failure = self._failures.get(key)
        return failure is None or self._clock() - failure.at >= RETRY_S

    async def _swap(self, key: Key, version: ServedVersion) -> bool:
        candidate = self._candidates.get((*key, version.version))
        try:
            # A candidate with the same bytes was checked already: take it over.
            if candidate is not None and candidate.version == version:
                model = candidate
            else:
                model = await asyncio.to_thread(self._load, version)
        except ModelError as error:
            kept = self._deployed.get(key)
            self._failures[key] = _Failure(version, str(error), self._clock())
            meanwhile = f"still serving v{kept.version.version}" if kept else "nothing to serve"
            logger.error("%s; %s", error, meanwhile)
            return False
        self._deployed[key] = model
        self._failures.pop(key, None)
        self._candidates.pop((*key, version.version), None)
        logger.info("serving %s", version.name)
        return True

    async def load_candidate(self, version: ServedVersion) -> LoadedModel:
        """Load an undeployed version into a slot that only requests naming the version reach.

        Raises:
            ModelError: the version cannot be served.
        """
        async with self._lock:
            key = (version.archetype, version.model_type, version.version)
            deployed = self._deployed.get(key[:2])
            for present in (deployed, self._candidates.get(key)):
                if present is not None and present.version == version:
                    return present
            model = await asyncio.to_thread(self._load, version)
            self._candidates[key] = model
            self._candidates.move_to_end(key)
            while len(self._candidates) > self._max_candidates:
                self._candidates.popitem(last=False)
            return model

    def resolve(self, archetype: str, model_type: str, version: int | None = None) -> LoadedModel:
        """Return the model that answers a request.

        Args:
            archetype: one of the six archetypes, or a user's own.
            model_type: one of the nine model types.
            version: a given version, deployed or candidate; None for the deployed one.

        Raises:
            UnknownModelError: nothing such is loaded.
        """
        deployed = self._deployed.get((archetype, model_type))
        if deployed is not None and (version is None or deployed.version.version == version):
            return deployed
        if version is not None and (archetype, model_type, version) in self._candidates:
            self._candidates.move_to_end((archetype, model_type, version))
            return self._candidates[archetype, model_type, version]
        if version is None:
            shown = ", ".join(f"{a}/{t}" for a, t in sorted(self._deployed)) or "none"
            raise UnknownModelError(f"no {archetype}/{model_type} model is deployed; deployed are: {shown}")
        raise UnknownModelError(
            f"version {version} of {archetype}/{model_type} is not loaded; "
            "leave out 'version' for the deployed one, or load it through POST /v1/candidates"
        )

    def versions(self, archetype: str, model_type: str) -> list[int]:
        """Return the versions in memory, ascending.

        Args:
            archetype: one of the six archetypes, or a user's own.
            model_type: one of the nine model types.
        """
        found = {key[2] for key in self._candidates if key[:2] == (archetype, model_type)}
        deployed = self._deployed.get((archetype, model_type))
        return sorted(found | ({deployed.version.version} if deployed else set()))

    def describe(self) -> list[dict[str, Any]]:
        """List every model in memory as plain JSON."""
        rows = [_row(self._deployed[key], True) for key in sorted(self._deployed)]
        return rows + [_row(model, False) for _, model in sorted(self._candidates.items())]


def _row(model: LoadedModel, deployed: bool) -> dict[str, Any]:
    return {
        "archetype": model.version.archetype,
        "model_type": model.version.model_type,
        "model_version": model.version.version,
        "model_id": model.version.model_id,
        "sha256": model.version.sha256,
        "deployed": deployed,
        "provider": model.provider,
    }
