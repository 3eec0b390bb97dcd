// Fails unless the run has the recorded bits: node agrees.mjs wasm.wasm
import { readFileSync } from "node:fs";
const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), {});
const bits = BigInt.asUintN(64, instance.exports.bits()).toString(16);
if (instance.exports.agrees() !== 1) {
  console.error(`WebAssembly gives the bits 0x${bits}, which are not those of x86-64`);
  process.exit(1);
}
console.log(`WebAssembly agrees: 0x${bits}`);
