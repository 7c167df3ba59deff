"""What the pages share: drawing figures, three.js, and the avatar that three.js moves."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

ASSETS = Path(__file__).parent / "assets"

_DAY = {"cache-control": "max-age=86400"}


@cache
def avatar_glb() -> bytes:
    """The avatar at rest, 0.8 MB: its nodes are the joints, in their order."""
    from gestray.motion.export.gltf import GltfDocument

    document = GltfDocument()
    document.add_avatar(document.add_skeleton())
    return document.to_bytes()


def mount_assets(app: Starlette) -> None:
    """Let an application serve what pages share, under ``/assets``."""

    def avatar(_request: Request) -> Response:
        return Response(avatar_glb(), media_type="model/gltf-binary", headers=_DAY)

    app.add_route("/assets/avatar.glb", avatar)
    app.mount("/assets", StaticFiles(directory=ASSETS))
