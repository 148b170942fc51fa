// The npm clients of OpenAI and Ollama against a server: node clients.mjs URL
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";
import OpenAI from "openai";
import { Ollama } from "ollama";

const url = process.argv[2], model = "model";
const schema = { type: "object", properties: { kind: { enum: ["a", "b"] }, n: { type: "integer", minimum: 0, maximum: 9 } },
  required: ["kind", "n"], additionalProperties: false };

function crc(data) {
  let c = ~0;
  for (const byte of data) {
    c ^= byte;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  }
  return ~c >>> 0;
}
function chunk(kind, data) {
  const body = Buffer.concat([Buffer.from(kind), data]), out = Buffer.alloc(8 + body.length);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc(body), 4 + body.length);
  return out;
}
function png(width = 96, height = 64) {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const rows = Buffer.alloc(height * (1 + 3 * width), 90);
  for (let y = 0; y < height; y++) rows[y * (1 + 3 * width)] = 0;
  return Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), chunk("IHDR", head), chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0))]).toString("base64");
}

async function checkOpenAI() {
  const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
  const names = [];
  for await (const one of await client.models.list()) names.push(one.id);
  assert(names.includes(model));
  const messages = [{ role: "user", content: [{ type: "text", text: "What is it?" },
    { type: "image_url", image_url: { url: "data:image/png;base64," + png() } }] }];
  const whole = await client.chat.completions.create({ model, messages, max_tokens: 8, temperature: 0 });
  let text = "";
  for await (const part of await client.chat.completions.create({ model, messages, max_tokens: 8, temperature: 0, stream: true }))
    text += part.choices[0]?.delta?.content ?? "";
  assert.equal(text, whole.choices[0].message.content);
  const answer = await client.chat.completions.create({ model, messages, max_tokens: 200,
    response_format: { type: "json_schema", json_schema: { name: "x", schema, strict: true } } });
  assert("ab".includes(JSON.parse(answer.choices[0].message.content).kind));
  await assert.rejects(client.chat.completions.create({ model, messages, logit_bias: { 5: 1 } }), OpenAI.BadRequestError);
  const scored = await client.chat.completions.create({ model, messages, max_tokens: 4, logprobs: true, top_logprobs: 2 });
  assert.equal(scored.choices[0].logprobs.content.length, scored.usage.completion_tokens);
  const response = await client.responses.create({ model, input: "hello", max_output_tokens: 8 });
  let streamed = "";
  for await (const event of await client.responses.create({ model, input: "hello", max_output_tokens: 8, stream: true }))
    if (event.type === "response.output_text.delta") streamed += event.delta;
  assert.equal(streamed, response.output_text);
  const stop = await client.chat.completions.create({ model, messages, max_tokens: 100000, stream: true });
  for await (const part of stop) { stop.controller.abort(); break; }
}

async function checkOllama() {
  const client = new Ollama({ host: url });
  assert((await client.list()).models.some(one => one.name === model));
  const messages = [{ role: "user", content: "What is it?", images: [png()] }];
  const whole = await client.chat({ model, messages, options: { num_predict: 8 } });
  let text = "";
  for await (const part of await client.chat({ model, messages, options: { num_predict: 8 }, stream: true })) text += part.message.content;
  assert.equal(text, whole.message.content);
  const answer = await client.chat({ model, messages, format: schema, options: { num_predict: 200 } });
  assert("ab".includes(JSON.parse(answer.message.content).kind));
  assert((await client.generate({ model, prompt: "hello", options: { num_predict: 4 } })).done);
  assert.equal((await client.ps()).models.length, 1);
  assert((await client.show({ model })).capabilities.includes("vision"));
  await assert.rejects(client.chat({ model: "none", messages }), /not found/);
}

for (const [name, check] of [["openai", checkOpenAI], ["ollama", checkOllama]]) {
  const version = JSON.parse(readFileSync(new URL("node_modules/" + name + "/package.json", import.meta.url))).version;
  try {
    await check();
    console.log("ok     %s %s (npm)", name, version);
  } catch (failure) {
    console.log("FAILED %s %s (npm): %s", name, version, failure.message);
    process.exit(1);
  }
}
process.exit(0);
