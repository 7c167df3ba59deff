"""A client of a gestray server: `Client`, and `AsyncClient` for asyncio.

    from gestray.client import Client

    with Client("http://127.0.0.1:8000", key) as gestray:
        for gesture in gestray.retrieve("I have no idea").gestures:
            print(gesture.text, gesture.score)
        motion = gestray.generate("I have no idea", seed=3)
        Path("idea.glb").write_bytes(gestray.motion_file(motion.id, "glb"))

It needs none of gestray's models: importing it loads neither torch nor Ray. What fails for
reasons that pass is asked again, as the server says when.
"""

from gestray.client.asynchronous import AsyncClient
from gestray.client.calls import Refused
from gestray.client.dialogue import Moved, Said, Spoken
from gestray.client.retries import Retries
from gestray.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "Moved", "Refused", "Retries", "Said", "Spoken"]
