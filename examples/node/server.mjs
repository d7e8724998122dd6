/** POST a JSON list of rows to localhost:8080; scores and verdicts come back. */

import { createServer } from "node:http";

import { load } from "./detector/aetool.mjs"; // what `aetool deploy node BUNDLE -o detector` made

const MOST_BYTES = 1 << 20;
const model = await load();
const { passed } = await model.check();
if (!passed) throw new Error(`${model.name} does not compute here what was trained`);

async function answer(request) {
  let body = "";
  for await (const part of request) {
    body += part;
    if (body.length > MOST_BYTES) throw new RangeError("too many rows in one request");
  }
  const rows = JSON.parse(body);
  return { scores: Array.from(await model.score(rows)), anomalies: await model.detect(rows) };
}

const server = createServer((request, response) => {
  answer(request).then(
    (found) => response.end(JSON.stringify(found)),
    (error) => response.writeHead(400).end(JSON.stringify({ error: error.message })),
  );
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
