import { createReadStream, createWriteStream } from "node:fs";
import { stat, unlink } from "node:fs/promises";
import { Readable, Transform, Writable, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";

class LineSplitter extends Transform {
  private rest = "";
  constructor() {
    super({ readableObjectMode: true });
  }
  override _transform(chunk: Buffer, _enc: BufferEncoding, done: TransformCallback) {
    const lines = (this.rest + chunk.toString()).split("\n");
    this.rest = lines.pop()!;
    for (const l of lines) this.push(l);
    done();
  }
  override _flush(done: TransformCallback) {
    if (this.rest) this.push(this.rest);
    done();
  }
}

function* records() {
  for (let i = 1; i <= 2000; i++) yield `${i};${["red", "green", "blue"][i % 3]};${(i * 37) % 101}\n`;
}

await pipeline(Readable.from(records()), createGzip(), createWriteStream("data.csv.gz"));
console.log("compressed:", (await stat("data.csv.gz")).size < 20000);

const sums = new Map<string, number>();
let count = 0;
await pipeline(
  createReadStream("data.csv.gz", { highWaterMark: 512 }),
  createGunzip(),
  new LineSplitter(),
  async function* (lines: AsyncIterable<string>) {
    for await (const line of lines) {
      const [id, color, value] = line.split(";");
      if (Number(id) % 2 === 0) yield { color, value: Number(value) };
    }
  },
  new Writable({
    objectMode: true,
    write(r: { color: string; value: number }, _e, cb) {
      count++;
      sums.set(r.color, (sums.get(r.color) ?? 0) + r.value);
      cb();
    },
  }),
);
console.log({ count }, sums);

try {
  await pipeline(Readable.from(["this is not gzip"]), createGunzip(), process.stdout, { end: false });
} catch (e) {
  console.log("failed as expected:", (e as NodeJS.ErrnoException).code);
}
await unlink("data.csv.gz");
