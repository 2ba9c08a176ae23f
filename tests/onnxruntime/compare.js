// compare.js FOLDER: run every <case>.onnx of FOLDER in ONNX Runtime on <case>.in<i>.npy and compare what comes out with
// <case>.out<i>.npy: 1e-4 of the largest number of that output. Prints the worst, exits 1 if a case differs or fails.
'use strict';
const fs = require('fs');
const path = require('path');
const ort = require('onnxruntime-node');

const TOLERANCE = 1e-4;

// A .npy file of float32 in C order.
function readArray(file) {
    const bytes = fs.readFileSync(file);
    const headerEnd = 10 + bytes.readUInt16LE(8);
    const header = bytes.toString('latin1', 10, headerEnd);
    const dims = header.match(/'shape': \(([^)]*)\)/)[1].split(',').filter((text) => text.trim()).map(Number);
    const data = new Float32Array(bytes.buffer.slice(bytes.byteOffset + headerEnd, bytes.byteOffset + bytes.length));
    return { dims, data };
}

function arraysOf(folder, name, kind, names) {
    return names.map((_, i) => readArray(path.join(folder, `${name}.${kind}${i}.npy`)));
}

// The largest difference as a share of the largest number wanted.
function difference(have, want) {
    if (have.dims.join() !== want.dims.join())
        throw new Error(`shape (${have.dims}), wanted (${want.dims})`);
    let scale = 0;
    let worst = 0;
    for (let i = 0; i < want.data.length; i++) {
        scale = Math.max(scale, Math.abs(want.data[i]));
        worst = Math.max(worst, Math.abs(have.data[i] - want.data[i]));
        if (Number.isNaN(have.data[i]))
            throw new Error(`element ${i} is not a number`);
    }
    return worst / (scale || 1);
}

async function run(folder, name) {
    const options = { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 };
    const session = await ort.InferenceSession.create(path.join(folder, `${name}.onnx`), options);
    const inputs = arraysOf(folder, name, 'in', session.inputNames);
    const feeds = {};
    session.inputNames.forEach((input, i) => {
        feeds[input] = new ort.Tensor('float32', inputs[i].data, inputs[i].dims);
    });
    const outputs = await session.run(feeds);
    const wanted = arraysOf(folder, name, 'out', session.outputNames);
    return Math.max(...session.outputNames.map((output, i) => difference(outputs[output], wanted[i])));
}

async function main() {
    const folder = process.argv[2];
    const names = fs.readdirSync(folder).filter((file) => file.endsWith('.onnx')).map((file) => file.slice(0, -5)).sort();
    let worst = 0;
    let failed = 0;
    for (const name of names) {
        try {
            const found = await run(folder, name);
            worst = Math.max(worst, found);
            if (!(found <= TOLERANCE))
                throw new Error(`differs by ${found.toExponential(2)} of its largest number`);
        } catch (error) {
            console.error(`${name}: ${error.message}`);
            failed++;
        }
    }
    console.log(`${names.length} models in ONNX Runtime ${ort.env.versions.node}: ${failed} failed, ` +
                `largest difference ${worst.toExponential(2)}`);
    process.exit(failed > 0 || names.length === 0 ? 1 : 0);
}

main();
