// The motion of a phrase as a person: the free avatar, skinned and lit by three.js.
//
// `makeStage` gives whatever this browser can draw, an avatar or a stick figure: `show` takes turns
// (turns.js), `draw` a frame of them.

import { Figure, VIEWS } from "./figure.js";
import {
  CanvasTexture, CircleGeometry, DirectionalLight, GLTFLoader, HemisphereLight, Mesh,
  MeshBasicMaterial, PerspectiveCamera, Quaternion, Scene, Vector3, WebGLRenderer, cloneSkinned,
} from "./three.js";
import { places } from "./turns.js";

const LOOK_AT = new Vector3(0, 1.24, 0); // metres, the floor at 0
const REACH = { wide: 0.74, high: 0.7 }; // half of what is to be seen of the speaker, metres
const FIELD = 24; // of view, degrees
const ARMS_DOWN = [[16, -1.15], [17, 1.15]]; // shoulders, until there is motion; radians
const STICK_REACH = [1.5, 1.4]; // metres across and up

let loading = null;

/** The avatar's file, fetched once a page. */
function avatar(base) {
  loading ??= fetch(`${base}avatar.glb`)
    .then((response) => (response.ok ? response.arrayBuffer() : Promise.reject(response.status)))
    .then((buffer) => new GLTFLoader().parseAsync(buffer, ""))
    .then((file) => file.scene);
  return loading;
}

/** An avatar on the canvas where there is WebGL, else a stick figure. */
export async function makeStage(canvas, skeleton, base = "assets/") {
  if (document.createElement("canvas").getContext("webgl2")) {
    return new Avatar(canvas, cloneSkinned(await avatar(base)));
  }
  return new Stick(canvas, skeleton);
}

/** A stick figure on the canvas, which many of a page may be. */
export function makeStick(canvas, skeleton) {
  return new Stick(canvas, skeleton);
}

/** A stick figure of turns. */
class Stick {
  constructor(canvas, skeleton) {
    this.rest = skeleton.rest;
    this.figure = new Figure(canvas, skeleton, STICK_REACH);
    this.motion = null;
  }

  look(number) {
    this.figure.look(number);
  }

  show(motion) {
    this.motion = motion;
    this.known = 0;
    this.figure.show(null);
    this.draw(0);
  }

  draw(frame) {
    if (!this.motion?.frames) return this.figure.draw();
    const { frames, joints, fps } = this.motion;
    if (this.known < frames) {
      const millimetres = new Int16Array(3 * frames * joints);
      if (this.known) millimetres.set(this.figure.motion.millimetres);
      places(this.motion, this.rest, this.known, millimetres);
      this.known = frames;
      this.figure.show({ frames, joints, fps, millimetres });
    }
    this.figure.draw(frame);
  }

  close() {}
}

class Avatar {
  constructor(canvas, person) {
    this.canvas = canvas;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD, 1, 0.5, 20);
    this.person = person;
    this.joints = [];
    person.traverse((node) => {
      if (node.isSkinnedMesh) {
        this.joints = node.skeleton.bones;
        node.frustumCulled = false; // its bounds are those of the T-pose
      }
    });
    for (const [joint, angle] of ARMS_DOWN) this.joints[joint].rotation.z = angle;
    this.from = new Quaternion();
    this.to = new Quaternion();
    this.scene.add(person, shadow(), ...lights());
    this.motion = null;
    this.frame = 0;
    this.look(0);
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.#turn(event));
  }

  /** One of `VIEWS`, by number. */
  look(number) {
    [, this.yaw, this.pitch] = VIEWS[number];
    this.draw();
  }

  show(motion) {
    this.motion = motion;
    this.draw(0);
  }

  /** At a frame, which may lie between two. */
  draw(frame = this.frame) {
    this.frame = frame;
    if (this.motion?.frames) this.#pose(frame);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(2, devicePixelRatio || 1));
    this.renderer.setSize(width, height, false);
    this.#place(width / height);
    this.renderer.render(this.scene, this.camera);
  }

  close() {
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }

  #pose(frame) {
    const { frames, joints, turns } = this.motion;
    const before = Math.min(frames - 1, Math.floor(frame));
    const after = Math.min(frames - 1, before + 1);
    for (let joint = 0; joint < joints; joint++) {
      const [a, b] = [before, after].map((number) => 4 * (number * joints + joint));
      this.from.fromArray(turns, a).normalize();
      this.to.fromArray(turns, b).normalize();
      this.joints[joint].quaternion.slerpQuaternions(this.from, this.to, frame - before);
    }
  }

  /** The camera as far away as the reach of the arms asks for. */
  #place(aspect) {
    const half = Math.tan((FIELD * Math.PI) / 360);
    const far = Math.max(REACH.high / half, REACH.wide / (half * aspect)) + 0.25;
    const [yaw, pitch] = [this.yaw, this.pitch].map((degrees) => (degrees * Math.PI) / 180);
    this.camera.aspect = aspect;
    this.camera.position.set(
      LOOK_AT.x - far * Math.sin(yaw) * Math.cos(pitch),
      LOOK_AT.y + far * Math.sin(pitch),
      LOOK_AT.z + far * Math.cos(yaw) * Math.cos(pitch),
    );
    this.camera.lookAt(LOOK_AT);
    this.camera.updateProjectionMatrix();
  }

  #turn(down) {
    const [yaw, pitch] = [this.yaw, this.pitch];
    this.canvas.setPointerCapture(down.pointerId);
    const move = (event) => {
      this.yaw = yaw + (event.clientX - down.clientX) / 2;
      this.pitch = Math.max(-20, Math.min(89, pitch + (event.clientY - down.clientY) / 2));
      this.draw();
    };
    this.canvas.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(
        end, () => this.canvas.removeEventListener("pointermove", move), { once: true },
      );
    }
  }
}

function lights() {
  const key = new DirectionalLight(0xfff4e6, 2.2);
  key.position.set(1.5, 2.6, 2.5);
  const rim = new DirectionalLight(0xcfe3ff, 1.4);
  rim.position.set(-2, 2.4, -2);
  return [new HemisphereLight(0xffffff, 0x8a8078, 1.5), key, rim];
}

/** Where the feet stand. */
function shadow() {
  const size = 128;
  const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const pen = canvas.getContext("2d");
  const fade = pen.createRadialGradient(size / 2, size / 2, 0, size / 2, size / 2, size / 2);
  fade.addColorStop(0, "rgb(0 0 0 / .45)");
  fade.addColorStop(1, "rgb(0 0 0 / 0)");
  pen.fillStyle = fade;
  pen.fillRect(0, 0, size, size);
  const map = new CanvasTexture(canvas);
  const material = new MeshBasicMaterial({ map, transparent: true, depthWrite: false });
  const disc = new Mesh(new CircleGeometry(0.55, 48), material);
  disc.rotation.x = -Math.PI / 2;
  disc.position.y = 0.002;
  return disc;
}
