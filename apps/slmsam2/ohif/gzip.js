// Packing bytes: a label map shrinks to a hundredth.

/** @param {Blob|Uint8Array|ArrayBuffer} bytes @returns {Response} whose body they are, packed */
export function zipped(bytes) {
  return through(bytes, new CompressionStream('gzip'));
}

/** @param {Blob|Uint8Array|ArrayBuffer} bytes packed @returns {Response} whose body they were */
export function unzipped(bytes) {
  return through(bytes, new DecompressionStream('gzip'));
}

function through(bytes, stream) {
  return new Response(new Blob([bytes]).stream().pipeThrough(stream));
}
