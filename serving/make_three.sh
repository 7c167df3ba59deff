#!/usr/bin/env bash
# Builds three.js, what the pages use of it, as one file that is served with them: assets/three.js.
# Its result is checked in, so that nobody who installs gestray needs node.
# Needs node and npm: `bash serving/make_three.sh`
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund three@0.180.0 esbuild@0.25.10
cat > entry.js <<'JS'
export {
  CanvasTexture, CircleGeometry, DirectionalLight, HemisphereLight, Mesh, MeshBasicMaterial,
  PerspectiveCamera, Quaternion, Scene, Vector3, WebGLRenderer,
} from "three";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
export { clone as cloneSkinned } from "three/addons/utils/SkeletonUtils.js";
JS
npx esbuild entry.js --bundle --minify --format=esm --target=es2022 --legal-comments=none \
  --banner:js="// three.js 0.180.0, MIT licence: three.LICENSE. Built by make_three.sh." \
  --outfile="$here/assets/three.js" --log-level=warning
cp node_modules/three/LICENSE "$here/assets/three.LICENSE"
