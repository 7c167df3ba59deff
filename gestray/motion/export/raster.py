"""Pictures of the avatar, drawn by NumPy: no display, no GPU, no driver.

A frame has some 13,000 triangles in front, of a few pixels each. So it is drawn not triangle
by triangle but all at once: every pixel of every triangle's box is a candidate, those inside
remain, and of each pixel's the nearest wins by one pass of `np.minimum.at`.

Shapes: V vertices, F triangles, N candidates, P pixels that are covered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gestray.motion.export.avatar import Avatar

# Towards the key light and the fill light, from the figure; y up, z to the camera.
_KEY, _FILL = np.array([-0.5, 0.6, 0.62]), np.array([0.8, 0.1, 0.59])
_AMBIENT, _KEY_POWER, _FILL_POWER = 0.25, 0.85, 0.30
_BACKGROUND = np.array([0.80, 0.83, 0.87], np.float32)
_DEPTH_STEPS = 1 << 20


@dataclass(frozen=True)
class Camera:
    """A camera before the figure.

    Args:
        target: what it looks at, metres (3,).
        yaw: radians about the vertical; 0 looks from +z to the origin.
        height_m: what it sees of the plane through `target`, from top to bottom.
        width, height: of the picture, in pixels.
        distance_m: from `target`.
    """

    target: np.ndarray
    yaw: float
    height_m: float
    width: int
    height: int
    distance_m: float = 4.5

    def turn(self) -> np.ndarray:
        """Rotation matrix from the world to the camera, whose x is right, y up, z to it."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]], np.float32)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (V, 2) and distances (V,) of points (V, 3) in the camera's axes about `target`."""
        distance = self.distance_m - points[:, 2]
        pixels_a_metre = self.height / self.height_m * self.distance_m / distance
        x = self.width / 2 + points[:, 0] * pixels_a_metre
        y = self.height / 2 - points[:, 1] * pixels_a_metre
        return np.stack([x, y], axis=1), distance


def draw(avatar: Avatar, vertices: np.ndarray, normals: np.ndarray, camera: Camera) -> np.ndarray:
    """A picture, uint8 sRGB (height, width, 3).

    Args:
        avatar: whose faces and colours these are.
        vertices: metres (V, 3).
        normals: unit (V, 3).
        camera: from where.
    """
    turn = camera.turn()
    pixels, distance = camera.project((vertices - camera.target.astype(np.float32)) @ turn.T)
    shade = _lit(normals @ turn.T)[:, None] * avatar.colors
    faces, places, weights = _covered(avatar.faces, pixels, distance, camera)
    corners = avatar.faces[faces]
    picture = np.tile(_to_srgb(_BACKGROUND), (camera.height * camera.width, 1))
    picture[places] = _to_srgb(sum(weights[:, i, None] * shade[corners[:, i]] for i in range(3)))
    return picture.reshape(camera.height, camera.width, 3)


def _covered(
    faces: np.ndarray, pixels: np.ndarray, distance: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each pixel that the surface covers, its nearest face (P,), its place in the picture
    (P,), and its barycentric coordinates in the face (P, 3)."""
    a, b, c = (pixels[faces[:, i]] for i in range(3))
    area = _cross(b - a, c - a)
    low = np.ceil(np.minimum(np.minimum(a, b), c) - 0.5).astype(np.int32)
    high = np.floor(np.maximum(np.maximum(a, b), c) - 0.5).astype(np.int32) + 1
    np.clip(low, 0, (camera.width, camera.height), out=low)
    np.clip(high, 0, (camera.width, camera.height), out=high)
    size = np.maximum(high - low, 0)
    # Pictures count rows downward, so what faces the camera turns the other way.
    front = np.flatnonzero((area < -1e-6) & (size.prod(axis=1) > 0))
    a, b, c, area, low, size = a[front], b[front], c[front], area[front], low[front], size[front]
    counts = size[:, 0] * size[:, 1]
    owner = np.repeat(np.arange(len(front), dtype=np.int32), counts)
    firsts = np.cumsum(counts) - counts
    inner = np.arange(len(owner), dtype=np.int32) - firsts[owner].astype(np.int32)
    across = size[owner, 0]
    x = low[owner, 0] + inner % across
    y = low[owner, 1] + inner // across
    # Barycentric coordinates are linear in the pixel: a value at the origin and two slopes.
    linear = [_edge(p, q, area) for p, q in ((b, c), (c, a))]
    u, v = (start[owner] + dx[owner] * x + dy[owner] * y for start, dx, dy in linear)
    inside = np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1))
    owner, u, v = owner[inside], u[inside], v[inside]
    place = y[inside].astype(np.int64) * camera.width + x[inside]
    depths = distance[faces[front]][owner]
    depth = u * depths[:, 0] + v * depths[:, 1] + (1 - u - v) * depths[:, 2]
    near, far = depth.min(initial=0.0), depth.max(initial=1.0)
    steps = ((depth - near) * ((_DEPTH_STEPS - 1) / (far - near))).astype(np.int64)
    key = (steps << 32) | np.arange(len(steps))
    nearest = np.full(camera.height * camera.width, np.iinfo(np.int64).max)
    np.minimum.at(nearest, place, key)
    places = np.flatnonzero(nearest != np.iinfo(np.int64).max)
    won = nearest[places] & 0xFFFFFFFF
    weights = np.stack([u[won], v[won], 1 - u[won] - v[won]], axis=1).astype(np.float32)
    return front[owner[won]], places, weights


def _edge(p: np.ndarray, q: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, ...]:
    """The coordinate that is 0 on the edge from p to q and 1 opposite, at pixels' centres."""
    dx, dy = -(q - p)[:, 1] / area, (q - p)[:, 0] / area
    start = -(dx * p[:, 0] + dy * p[:, 1]) + 0.5 * (dx + dy)
    return start.astype(np.float32), dx.astype(np.float32), dy.astype(np.float32)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _lit(normals: np.ndarray) -> np.ndarray:
    """How bright each vertex is (Lambert), two lights and what comes from everywhere."""
    key, fill = (np.maximum(normals @ light.astype(np.float32), 0) for light in (_KEY, _FILL))
    return (_AMBIENT + _KEY_POWER * key + _FILL_POWER * fill).astype(np.float32)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    return (255 * np.clip(linear, 0, 1) ** np.float32(1 / 2.2) + 0.5).astype(np.uint8)
