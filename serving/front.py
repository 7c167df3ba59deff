"""What stands before the application in each process of Serve's that speaks HTTP.

Serve makes those servers by itself, and before that calls what
`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names, in their process: the proxy's, or, where HAProxy
is the proxy, each replica's.
"""

from __future__ import annotations

from starlette.middleware import Middleware

from serving.heads import bound_heads
from serving.refusals import HeldRefusals


def before_serve() -> list[Middleware]:
    """Bounds how long a head may take, and returns the middleware that holds refusals."""
    bound_heads()
    return [Middleware(HeldRefusals)]
