// The motion of a phrase as a stick figure on a canvas: orthographic, turned by dragging.

const PARTS = {
  trunk: ["--ink", 5], legs: ["--line", 4],
  "left arm": ["--left", 5], "left hand": ["--left", 2.5],
  "right arm": ["--right", 5], "right hand": ["--right", 2.5],
};
export const VIEWS = [["front", 0, 0], ["left side", -90, 0], ["above", 0, 80], ["oblique", 35, 15]];
const HEAD_RADIUS = 0.095; // metres
const TIP = 0.8; // of the bone before it: the last joint of a finger is not its tip
const TRAIL = 0.5; // seconds
const MIDDLE = 0.2; // of the upper body above the pelvis, metres

/** Reads what `serving.recordings.pack` writes. */
export function unpack(buffer) {
  const header = new DataView(buffer);
  const frames = header.getUint32(0, true);
  const joints = header.getUint32(4, true);
  const fps = header.getFloat32(8, true);
  return { frames, joints, fps, millimetres: new Int16Array(buffer, 12, frames * joints * 3) };
}

export class Figure {
  /** Shows as much as the phrase reaches to, or `reach` metres across and up whatever it does. */
  constructor(canvas, skeleton, reach = null) {
    this.canvas = canvas;
    this.skeleton = skeleton;
    this.reach = reach;
    this.upper = [...new Set(skeleton.bones.filter((b) => b[2] !== "legs").flatMap((b) => [b[0], b[1]]))];
    this.children = new Set(skeleton.bones.map((bone) => bone[0]));
    this.motion = null;
    this.frame = 0;
    this.look(0);
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => this.#turn(event));
  }

  /** One of `VIEWS`, by number. */
  look(number) {
    [, this.yaw, this.pitch] = VIEWS[number];
    this.draw();
  }

  show(motion) {
    this.motion = motion;
    this.frame = 0;
    if (motion) this.#fit();
    this.draw();
  }

  draw(frame = this.frame) {
    this.frame = frame = Math.floor(frame);
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    if (!this.motion || !this.motion.frames) return;
    this.zoom = 0.94 * Math.min(width / this.width, height / this.height);
    this.middle = [width / 2, height / 2];
    const style = getComputedStyle(this.canvas);
    pen.lineCap = pen.lineJoin = "round";
    this.#trails(pen, style);
    const points = this.#points(frame);
    const { bones, head, neck } = this.skeleton;
    const lines = bones
      .map(([from, to, part]) => [points[from], this.#end(points, from, to, part), part]);
    lines.sort((one, other) => one[0][2] + one[1][2] - other[0][2] - other[1][2]);
    for (const [from, to, part] of lines) {
      const [colour, thickness] = PARTS[part];
      pen.strokeStyle = style.getPropertyValue(colour);
      pen.lineWidth = Math.max(1, thickness * this.zoom / 330);
      line(pen, from, to);
    }
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.fillStyle = style.getPropertyValue("--surface");
    pen.lineWidth = Math.max(1, 5 * this.zoom / 330);
    const [x, y] = points[head].map((value, axis) => value + 0.5 * (value - points[neck][axis]));
    pen.beginPath();
    pen.arc(x, y, HEAD_RADIUS * this.zoom, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }

  /** Where the wrists have just been. */
  #trails(pen, style) {
    const { fps } = this.motion;
    const first = Math.max(0, Math.round(this.frame - TRAIL * fps));
    this.skeleton.wrists.forEach((wrist, side) => {
      pen.strokeStyle = style.getPropertyValue(side ? "--right" : "--left");
      pen.lineWidth = 2;
      let last = null;
      for (let frame = first; frame <= this.frame; frame++) {
        const point = this.#project(frame, wrist);
        pen.globalAlpha = 0.6 * (frame - first) / (this.frame - first + 1);
        if (last) line(pen, last, point);
        last = point;
      }
    });
    pen.globalAlpha = 1;
  }

  #end(points, from, to, part) {
    if (!part.endsWith("hand") || this.children.has(to)) return points[to];
    return points[to].map((value, axis) => value + TIP * (value - points[from][axis]));
  }

  #points(frame) {
    return Array.from({ length: this.motion.joints }, (_, joint) => this.#project(frame, joint));
  }

  #metres(frame, joint) {
    const at = (frame * this.motion.joints + joint) * 3;
    return [0, 1, 2].map((axis) => this.motion.millimetres[at + axis] / 1000 - this.centre[axis]);
  }

  /** Across and down the canvas in pixels, and towards the reader. */
  #project(frame, joint) {
    const [x, y, z] = this.#metres(frame, joint);
    const [yaw, pitch] = [this.yaw, this.pitch].map((degrees) => degrees * Math.PI / 180);
    const across = x * Math.cos(yaw) + z * Math.sin(yaw);
    const near = z * Math.cos(yaw) - x * Math.sin(yaw);
    const up = y * Math.cos(pitch) - near * Math.sin(pitch);
    return [
      this.middle[0] + this.zoom * across,
      this.middle[1] - this.zoom * up,
      near * Math.cos(pitch) + y * Math.sin(pitch),
    ];
  }

  /** Centre and extent of the upper body over the whole phrase, whichever way it is turned. */
  #fit() {
    if (this.reach) {
      this.centre = [0, MIDDLE, 0];
      [this.width, this.height] = this.reach;
      return;
    }
    this.centre = [0, 0, 0];
    const low = [Infinity, Infinity, Infinity];
    const high = [-Infinity, -Infinity, -Infinity];
    for (let frame = 0; frame < this.motion.frames; frame += 2) {
      for (const joint of this.upper) {
        this.#metres(frame, joint).forEach((value, axis) => {
          low[axis] = Math.min(low[axis], value);
          high[axis] = Math.max(high[axis], value);
        });
      }
    }
    this.centre = low.map((value, axis) => (value + high[axis]) / 2);
    this.centre[1] += 0.06; // the head reaches above its joint
    this.width = 0.3 + Math.max(high[0] - low[0], high[2] - low[2]);
    this.height = 0.42 + high[1] - low[1];
  }

  #turn(down) {
    const [yaw, pitch] = [this.yaw, this.pitch];
    this.canvas.setPointerCapture(down.pointerId);
    const move = (event) => {
      this.yaw = yaw + (event.clientX - down.clientX) / 2;
      this.pitch = Math.max(-89, Math.min(89, pitch + (event.clientY - down.clientY) / 2));
      this.draw();
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener(
      "pointerup", () => this.canvas.removeEventListener("pointermove", move), { once: true },
    );
  }
}

function line(pen, from, to) {
  pen.beginPath();
  pen.moveTo(from[0], from[1]);
  pen.lineTo(to[0], to[1]);
  pen.stroke();
}
