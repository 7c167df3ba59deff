"""Which index answers: what goes on, and how it is changed while requests are answered.

A request names an artifact of the server's own store by its name and identity, which are looked up
among those that are there; it names no place to load anything from.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import APIRouter

from gestray.artifacts import open_artifact
from gestray.client.answers import ReleaseAbout, Releases
from gestray.errors import UserError
from gestray.store import Folder, default_store
from serving.config import ServingConfig
from serving.problems import Problem
from serving.schemas import SwapRequest
from serving.service import Service, find


def admin(router: APIRouter, service: Service, config: ServingConfig) -> None:
    """Add the routes."""

    @router.get("/admin/models", tags=["admin"])
    async def models() -> Releases:
        """Which index answers for each model, and which every replica has loaded."""
        state, replicas = await service.shared.models()
        return Releases(
            version=state.version,
            problem=state.problem,
            models={
                name: ReleaseAbout(
                    live=_name(release.live),
                    next=None if release.next is None else _name(release.next),
                    share=release.share,
                    ready=release.ready,
                )
                for name, release in state.releases.items()
            },
            replicas={replica: [_name(uri) for uri in uris] for replica, uris in replicas.items()},
        )

    @router.post("/admin/models", tags=["admin"], status_code=HTTPStatus.ACCEPTED)
    async def swap(asked: SwapRequest) -> Releases:
        """Let another index answer for a model, or for a share of the requests for it.

        It is loaded by every replica first; then all change to it at the same moment. Until
        then, and where a replica cannot load it, nothing changes.
        """
        uri, name = await asyncio.to_thread(_index, config.store, asked.index)
        if asked.model is not None or name not in service.models:
            name = find(service, "retrieval", service.models, asked.model).name
        await service.shared.want(name, uri, asked.share)
        return await models()


def _index(store: str | None, wanted: str) -> tuple[str, str]:
    """URI and name of an index of the store."""
    folder = Folder(store or default_store())
    known = {path.rpartition("/")[2]: path for path in folder.list("index")}
    if wanted not in known:
        raise Problem(HTTPStatus.NOT_FOUND, f"the store has no index {wanted}")
    try:
        artifact = open_artifact(folder.child(known[wanted]), "index")
    except UserError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    return artifact.uri, artifact.manifest.name


def _name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]
