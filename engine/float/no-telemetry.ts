/**
 * onnxruntime's own binaries report sessions (names and hashes of models among them) to its makers from version 1.29 on, unless this is set before its library
 * starts. The studio sends nothing to anybody, so this is imported before `onnxruntime-node` wherever that is.
 */
process.env.ORT_DISABLE_TELEMETRY = '1';
