"""Small studies: two folders of motion for the same speech, and who answers over HTTP."""

from __future__ import annotations

import socket
import threading
import wave
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from gestray.artifacts import Artifact, run_stage
from gestray.store import Folder
from jobs.study import CREATE, StudyConfig

NAMES = ("quietmethod", "loudmethod")


def write_motion(folder: Path, count: int, seconds: float, loud: float) -> Path:
    """Takes `talk00.npz`, … with a tone and a text beside each; arms that swing."""
    folder.mkdir(parents=True)
    times = np.arange(round(30 * seconds)) / 30
    for number in range(count):
        poses = np.zeros((len(times), 165), np.float32)
        poses[:, 3 * 16 + 2] = -1.1 + loud * np.sin(2 * np.pi * times * (1 + number % 3))
        poses[:, 3 * 17 + 2] = 1.1
        np.savez(folder / f"talk{number:02d}.npz", poses=poses, mocap_frame_rate=30)
        samples = (3000 * np.sin(np.arange(round(16000 * seconds)) * 0.1)).astype("<i2")
        with wave.open(str(folder / f"talk{number:02d}.wav"), "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(16000)
            writer.writeframes(samples.tobytes())
        (folder / f"talk{number:02d}.txt").write_text(f"this is talk number {number}\n")
    return folder


def make_study(folder: Path, count: int = 6, seconds: float = 1.0, **values: Any) -> Artifact:
    """A study of two folders in a store of its own."""
    sources = [
        str(write_motion(folder / name, count, seconds, loud))
        for name, loud in zip(("one", "two"), (0.3, 0.6), strict=True)
    ]
    values = {"pairs": 0, "checks": 1, "participants": 8} | values
    config = StudyConfig(names=NAMES, sources=tuple(sources), **values)
    return run_stage(CREATE, Folder(str(folder / "store")), "study", config, {}).artifact


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of an application on the loopback, for as long as the block lasts."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


def bearer(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token}"}
