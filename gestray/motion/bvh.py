"""BVH files (Biovision Hierarchy), read strictly and written.

BVH is text, an hour of it a quarter of a gigabyte, written by a dozen programs that
agree on little. Lenient readers turn a file cut short into a shorter dance and a
wrong count into garbled limbs. Here a file is read whole or refused with the line at
fault, and its numbers are parsed as one block.

The format has no standard; Meredith and Maddock 2001, "Motion Capture File Formats
Explained", section 4, describes what programs write.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from gestray.errors import BadInput

#: Larger files are refused: six hours at 120 frames a second and 75 joints.
MAX_BYTES = 4 << 30

_MAX_JOINTS = 1000
_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)
# Rates that programs mean when they print 0.0083333 or 0.0334.
_USUAL_RATES = (
    *(15, 20, 24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 150, 180, 200, 240, 250, 300),
    *(rate * 1000 / 1001 for rate in (24, 30, 60, 120, 240)),
)


@dataclass(frozen=True, eq=False)
class BvhJoint:
    """One joint of the hierarchy.

    Attributes:
        name: as written, spaces and all.
        parent: index of its parent, which precedes it; -1 for the root.
        offset: from the parent in the zero pose, in the file's units, float64 (3,).
        channels: such as ``Xposition`` or ``Zrotation``, in the file's order.
        end: offset of its end site, or None.
    """

    name: str
    parent: int
    offset: np.ndarray
    channels: tuple[str, ...]
    end: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Bvh:
    """A figure and its motion.

    Attributes:
        joints: parents before children.
        motion: float64 (frames, channels), every joint's channels in order; degrees
            and the file's units.
        fps: frames a second.
    """

    joints: tuple[BvhJoint, ...]
    motion: np.ndarray
    fps: float

    @property
    def num_frames(self) -> int:
        return len(self.motion)

    def columns(self, kind: str) -> list[list[int]]:
        """For every joint, the columns of `motion` of one `kind`, position or rotation."""
        columns, first = [], 0
        for joint in self.joints:
            columns.append([first + i for i, name in enumerate(joint.channels) if kind in name])
            first += len(joint.channels)
        return columns

    def index(self) -> dict[str, int]:
        """Index of each joint by name."""
        return {joint.name: i for i, joint in enumerate(self.joints)}


def parse_bvh(stream: BinaryIO, file: str) -> Bvh:
    """The figure and motion of a BVH file.

    Line ends of any system, tabs, names with spaces or colons, joints with any channels
    in any order are fine.

    Args:
        stream: the open file.
        file: its name, for errors.

    Raises:
        BadInput: names the line at fault.
    """
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BadInput(file, "size", f"more than {MAX_BYTES} bytes", f"at most {MAX_BYTES}")
    mark = re.search(rb"^[ \t]*MOTION[ \t\r]*$", data, re.MULTILINE | re.IGNORECASE)
    if mark is None:
        found = "an empty file" if not data.strip() else "no line MOTION"
        raise BadInput(file, "MOTION", found, "HIERARCHY, then MOTION")
    try:
        header = data[: mark.start()].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {data[error.start]:#04x} at {error.start}"
        raise BadInput(file, "HIERARCHY", found, "text in UTF-8") from None
    joints = _Hierarchy(header, file).read()
    channels = sum(len(joint.channels) for joint in joints)
    line = data.count(b"\n", 0, mark.end()) + 2
    frames, fps, start, line = _motion_head(data, mark.end(), line, file)
    return Bvh(tuple(joints), _numbers(data, start, line, frames, channels, file), fps)


# --- hierarchy ------------------------------------------------------------


class _Hierarchy:
    """Reads the joints of the text before MOTION, line by line."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._line = 0
        self._lines = self._split(text)
        self._joints: list[BvhJoint] = []

    def _split(self, text: str) -> Iterator[str]:
        """Lines without blanks; a brace at the end of a line becomes one of its own."""
        for number, line in enumerate(text.splitlines(), 1):
            self._line = number
            stripped = line.strip()
            if stripped not in ("{", "}") and stripped.endswith(("{", "}")):
                yield stripped[:-1].strip()
                yield stripped[-1]
            elif stripped:
                yield stripped

    def _bad(self, found: str, expected: str) -> BadInput:
        shown = found if len(found) <= 60 else f"{found[:57]}..."
        return BadInput(self._file, f"line {self._line}", shown, expected)

    def _next(self, expected: str) -> str:
        line = next(self._lines, None)
        if line is None:
            raise self._bad("the end of the hierarchy", expected)
        return line

    def _expect(self, word: str) -> None:
        line = self._next(word)
        if line.upper() != word:
            raise self._bad(repr(line), word)

    def read(self) -> list[BvhJoint]:
        self._expect("HIERARCHY")
        keyword, name = _keyword(self._next("ROOT"))
        if keyword != "ROOT":
            raise self._bad(repr(keyword), "ROOT and a name")
        self._read_joint(name, -1)
        extra = next(self._lines, None)
        if extra is not None:
            is_root = _keyword(extra)[0] == "ROOT"
            found = f"a second root ({extra!r})" if is_root else repr(extra)
            raise self._bad(found, "one figure a file, then MOTION")
        return self._joints

    def _read_joint(self, name: str, parent: int) -> None:
        """A joint and all below it. Their stack is a list: depth is the file's to choose."""
        names = {joint.name for joint in self._joints}
        open_joints = [self._begin(name, parent, names)]
        while open_joints:
            line = self._next("JOINT, End Site or }")
            keyword, rest = _keyword(line)
            if keyword == "JOINT":
                open_joints.append(self._begin(rest, open_joints[-1], names))
            elif keyword == "END":
                self._expect("{")
                end = self._offset()
                self._expect("}")
                joint = self._joints[open_joints[-1]]
                self._joints[open_joints[-1]] = BvhJoint(
                    joint.name, joint.parent, joint.offset, joint.channels, end
                )
            elif line == "}":
                open_joints.pop()
            else:
                raise self._bad(repr(line), "JOINT, End Site or }")

    def _begin(self, name: str, parent: int, names: set[str]) -> int:
        if not name:
            raise self._bad("a joint without a name", "JOINT and a name")
        if name in names:
            raise self._bad(f"a second joint named {name!r}", "each name once")
        if len(self._joints) >= _MAX_JOINTS:
            raise self._bad("yet another joint", f"at most {_MAX_JOINTS}")
        names.add(name)
        self._expect("{")
        offset = self._offset()
        channels = self._channels()
        self._joints.append(BvhJoint(name, parent, offset, channels))
        return len(self._joints) - 1

    def _offset(self) -> np.ndarray:
        line = self._next("OFFSET")
        keyword, rest = _keyword(line)
        try:
            values = np.array([float(value) for value in rest.split()])
        except ValueError:
            values = np.zeros(0)
        if (
            keyword != "OFFSET"
            or "_" in rest
            or values.shape != (3,)
            or not np.isfinite(values).all()
        ):
            raise self._bad(repr(line), "OFFSET and three numbers")
        return values

    def _channels(self) -> tuple[str, ...]:
        line = self._next("CHANNELS")
        keyword, rest = _keyword(line)
        count, *names = rest.split() or [""]
        if keyword != "CHANNELS" or not count.isdecimal() or int(count) != len(names):
            raise self._bad(repr(line), "CHANNELS, their number, and as many names")
        channels = []
        for name in names:
            match = _CHANNEL.fullmatch(name)
            if match is None:
                raise self._bad(repr(name), "a channel such as Xposition or Zrotation")
            channels.append(match[1].upper() + match[2].lower())
        if len(set(channels)) != len(channels):
            raise self._bad(repr(line), "each channel once")
        return tuple(channels)


def _keyword(line: str) -> tuple[str, str]:
    """First word in capitals, and the rest of the line."""
    word, *rest = line.split(maxsplit=1)
    return word.upper(), rest[0].strip() if rest else ""


# --- motion ---------------------------------------------------------------


def _motion_head(data: bytes, start: int, line: int, file: str) -> tuple[int, float, int, int]:
    """Number of frames, frames a second, and where the numbers start (byte and line)."""
    head = re.compile(
        rb"\s*Frames:[ \t]*(\S*)[ \t\r]*\n\s*Frame[ \t]+Time:[ \t]*(\S*)[ \t\r]*(?:\n|$)",
        re.IGNORECASE,
    ).match(data, start)
    if head is None:
        found = repr(data[start : start + 60].decode(errors="replace").strip())
        raise BadInput(file, f"line {line}", found, "'Frames: N', then 'Frame Time: SECONDS'")
    frames, time = (group.decode(errors="replace") for group in head.groups())
    if not frames.isdecimal() or len(frames) > 9:
        raise BadInput(file, "Frames", repr(frames[:40]), "a count")
    return int(frames), _frame_rate(time, file), head.end(), line + 2


def _frame_rate(text: str, file: str) -> float:
    """Frames a second from the seconds between them, as printed.

    A time is printed with few digits: 0.0083333 is 120 frames a second, not 120.0005,
    which would be off the speech by three milliseconds after ten minutes. A usual
    rate within the last digit's reach is taken.
    """
    match = re.fullmatch(r"[+]?(?:\d+\.?(\d*)|\.(\d+))([eE][-+]?\d{1,2})?", text)
    seconds = float(text) if match else 0.0
    if match is None or not 1e-3 <= seconds <= 1:
        raise BadInput(file, "Frame Time", repr(text[:40]), "seconds, from 0.001 to 1")
    digits = len(match[1] or match[2] or "") - int((match[3] or "e0")[1:])
    nearest = min(_USUAL_RATES, key=lambda rate: abs(1 / rate - seconds))
    return float(nearest) if abs(1 / nearest - seconds) <= 10.0**-digits else 1 / seconds


def _numbers(
    data: bytes, start: int, line: int, frames: int, channels: int, file: str
) -> np.ndarray:
    """The numbers of the motion, (frames, channels): a line each frame."""
    text = np.frombuffer(data, np.uint8)[start:]
    is_token = text > ord(" ")
    is_token[1:] &= text[:-1] <= ord(" ")
    tokens = np.flatnonzero(is_token)  # where numbers begin
    lines = np.concatenate([[0], np.flatnonzero(text == ord("\n")) + 1, [len(text)]])
    counts = np.diff(np.searchsorted(tokens, lines))
    filled = counts > 0
    wrong = np.flatnonzero(filled & (counts != channels))
    if len(wrong):
        found = f"{counts[wrong[0]]} numbers"
        expected = f"{channels}, one for every channel of the hierarchy"
        raise BadInput(file, f"line {line + wrong[0]}", found, expected)
    if filled.sum() != frames:
        raise BadInput(file, "Frames", f"{filled.sum()} lines of motion", f"{frames}, as declared")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            values = np.fromstring(data[start:], dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            values = np.zeros(0)
    if len(values) != frames * channels:
        number, word = _first_unreadable(data[start:])
        raise BadInput(file, f"line {line + number}", repr(word), "a number")
    motion = values.reshape(frames, channels)
    finite = np.isfinite(motion).all(axis=1)
    if not finite.all():
        number = np.flatnonzero(filled)[int(np.argmin(finite))]
        raise BadInput(file, f"line {line + number}", "NaN or an infinite value", "finite numbers")
    return motion


def _first_unreadable(text: bytes) -> tuple[int, str]:
    """Line, from 0, and text of the first word that is no number; slow, for errors."""
    for number, line in enumerate(text.split(b"\n")):
        for word in line.split():
            try:
                float(word)
            except ValueError:
                return number, word[:40].decode(errors="replace")
            if b"_" in word:  # which Python takes in a number
                return number, word[:40].decode(errors="replace")
    return 0, "?"


# --- writing --------------------------------------------------------------


def format_bvh(bvh: Bvh) -> str:
    """The text of a BVH file, every number with six decimals.

    The joints need not be in the order of the format, depth first; they are written so.
    """
    firsts = np.cumsum([0, *(len(joint.channels) for joint in bvh.joints)])
    order: list[int] = []
    children: list[list[int]] = [[] for _ in bvh.joints]
    for i, joint in enumerate(bvh.joints[1:], 1):
        children[joint.parent].append(i)
    lines = ["HIERARCHY"]

    def write(i: int, depth: int) -> None:
        joint, pad = bvh.joints[i], "\t" * depth
        order.extend(range(firsts[i], firsts[i + 1]))
        lines.append(f"{pad}{'JOINT' if depth else 'ROOT'} {joint.name}")
        lines.append(f"{pad}{{")
        lines.append(f"{pad}\tOFFSET {_vector(joint.offset)}")
        lines.append(f"{pad}\tCHANNELS {' '.join([str(len(joint.channels)), *joint.channels])}")
        for child in children[i]:
            write(child, depth + 1)
        if joint.end is not None or not children[i]:
            end = np.zeros(3) if joint.end is None else joint.end
            lines.extend([f"{pad}\tEnd Site", f"{pad}\t{{"])
            lines.extend([f"{pad}\t\tOFFSET {_vector(end)}", f"{pad}\t}}"])
        lines.append(f"{pad}}}")

    write(0, 0)
    lines += ["MOTION", f"Frames: {bvh.num_frames}", f"Frame Time: {1 / bvh.fps:.9f}"]
    row = " ".join(["%.6f"] * bvh.motion.shape[1])
    lines += [row % tuple(frame) for frame in bvh.motion[:, order].tolist()]
    return "\n".join(lines) + "\n"


def _vector(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values)
