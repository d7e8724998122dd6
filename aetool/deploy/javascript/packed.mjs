/** base64 to bytes, then unzipped. */
export async function unpacked(base64) {
  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  const written = [writer.write(bytesOf(base64)), writer.close()];
  const [content] = await Promise.all([new Response(stream.readable).arrayBuffer(), ...written]);
  return new Uint8Array(content);
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = letters.charCodeAt(i);
  return bytes;
}
