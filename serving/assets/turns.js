// How joints are turned, frame by frame: as the server sends it, and what follows from it.

/** Reads what `serving.recordings.pack_turns` writes. */
export function unpackTurns(buffer) {
  const header = new DataView(buffer);
  const frames = header.getUint32(0, true);
  const joints = header.getUint32(4, true);
  const fps = header.getFloat32(8, true);
  return { frames, joints, fps, turns: new Int16Array(buffer, 12, frames * joints * 4) };
}

/** A motion that grows by frames of axis-angle, as a stream brings them. */
export class GrowingTurns {
  constructor(fps, joints = 55) {
    Object.assign(this, { frames: 0, joints, fps, turns: new Int16Array(joints * 4 * 900) });
    this.facing = null;
  }

  /** Adds rows of at least 3 numbers a joint; the first rows say where the front is. */
  add(rows, count, width) {
    const size = this.joints * 4;
    if ((this.frames + count) * size > this.turns.length) {
      const longer = new Int16Array(Math.max(2 * this.turns.length, (this.frames + count) * size));
      longer.set(this.turns);
      this.turns = longer;
    }
    for (let row = 0; row < count; row++) {
      for (let joint = 0; joint < this.joints; joint++) {
        let q = quaternion(rows, row * width + 3 * joint);
        if (joint === 0) {
          this.facing ??= towardsReader(q);
          q = multiply(this.facing, q);
        }
        const at = (this.frames + row) * size + 4 * joint;
        for (let axis = 0; axis < 4; axis++) this.turns[at + axis] = Math.round(32767 * q[axis]);
      }
    }
    this.frames += count;
  }
}

/**
 * Where joints are, in millimetres from the pelvis, of `frames` from `first` on.
 *
 * @param rest of each joint its parent and its place beside it in metres, parents first
 */
export function places(motion, rest, first, into) {
  const { joints, turns } = motion;
  const world = Array.from({ length: joints }, () => [0, 0, 0, 1]);
  const at = Array.from({ length: joints }, () => [0, 0, 0]);
  for (let frame = first; frame < motion.frames; frame++) {
    for (let joint = 0; joint < joints; joint++) {
      const from = 4 * (frame * joints + joint);
      const q = normal([turns[from], turns[from + 1], turns[from + 2], turns[from + 3]]);
      const [parent, ...offset] = rest[joint];
      if (parent < 0) {
        world[joint] = q;
        continue;
      }
      world[joint] = multiply(world[parent], q);
      const moved = rotate(world[parent], offset);
      for (let axis = 0; axis < 3; axis++) {
        at[joint][axis] = at[parent][axis] + moved[axis];
        into[3 * (frame * joints + joint) + axis] = Math.round(1000 * at[joint][axis]);
      }
    }
  }
}

function quaternion(rows, at) {
  const [x, y, z] = [rows[at], rows[at + 1], rows[at + 2]];
  const angle = Math.hypot(x, y, z);
  const scale = angle > 1e-8 ? Math.sin(angle / 2) / angle : 0.5;
  return [x * scale, y * scale, z * scale, Math.cos(angle / 2)];
}

/** About the vertical, so that the pelvis faces the reader. */
function towardsReader(q) {
  const [x, , z] = rotate(q, [1, 0, 0]);
  const half = Math.atan2(z, x) / 2;
  return [0, Math.sin(half), 0, Math.cos(half)];
}

function multiply([ax, ay, az, aw], [bx, by, bz, bw]) {
  return [
    aw * bx + ax * bw + ay * bz - az * by,
    aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw,
    aw * bw - ax * bx - ay * by - az * bz,
  ];
}

function rotate([x, y, z, w], v) {
  const t = cross([x, y, z], v).map((value) => 2 * value);
  const twice = cross([x, y, z], t);
  return v.map((value, axis) => value + w * t[axis] + twice[axis]);
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

function normal(q) {
  const length = Math.hypot(...q) || 1;
  return q.map((value) => value / length);
}
