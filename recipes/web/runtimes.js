// Runs an artefact in the browser's CPU, through ONNX Runtime or LiteRT compiled to WebAssembly.
// The runtimes' own files stand in runtime/; nothing is loaded from elsewhere.

const RUNTIME = new URL("runtime/", import.meta.url).href;
const OPENERS = { onnx: openONNX, litert: openLiteRT };

// An async function from a batch, a typed array with its shape, to a Float32Array of all outputs.
export function openArtefact(description) {
  const url = new URL(description.file, import.meta.url).href;
  return OPENERS[description.kind](url);
}

async function openONNX(url) {
  const ort = await import("./runtime/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = RUNTIME;
  ort.env.wasm.numThreads = numThreads();
  const session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"] });
  const [source] = session.inputNames;
  const [target] = session.outputNames;
  return async (values, shape) => {
    const type = values instanceof Uint8Array ? "uint8" : "float32";
    const outputs = await session.run({ [source]: new ort.Tensor(type, values, shape) });
    return outputs[target].data;
  };
}

async function openLiteRT(url) {
  const { loadLiteRt, loadAndCompile, Tensor } = await import("./runtime/litert.js");
  await loadLiteRt(RUNTIME, { threads: crossOriginIsolated });
  const model = await loadAndCompile(url, {
    accelerator: "wasm",
    cpuOptions: { numThreads: numThreads() },
  });
  return async (values, shape) => {
    const images = new Tensor(values, shape);
    const [outputs] = await model.run(images);
    const result = Float32Array.from(await outputs.data());
    images.delete();
    outputs.delete();
    return result;
  };
}

// Threads share memory, which a browser allows only on a page that its server isolates.
function numThreads() {
  return crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 4) : 1;
}
