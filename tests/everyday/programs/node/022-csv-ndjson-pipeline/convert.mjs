import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Transform } from 'node:stream';

class CsvParser extends Transform {
  #rest = '';
  #header = null;
  constructor() {
    super({ readableObjectMode: true });
  }
  _transform(chunk, _enc, cb) {
    const lines = (this.#rest + chunk.toString()).split(/\r?\n/);
    this.#rest = lines.pop();
    for (const l of lines) this.#line(l);
    cb();
  }
  _flush(cb) {
    if (this.#rest) this.#line(this.#rest);
    cb();
  }
  #line(line) {
    if (!line) return;
    const cells = line.split(';').map((c) => c.trim());
    if (!this.#header) {
      this.#header = cells;
      return;
    }
    this.push(Object.fromEntries(this.#header.map((h, i) => [h, cells[i] ?? ''])));
  }
}

const counters = { in: 0, out: 0 };

const clean = new Transform({
  objectMode: true,
  transform(row, _enc, cb) {
    counters.in++;
    const celsius = parseFloat(row.celsius);
    if (Number.isNaN(celsius)) return cb();
    counters.out++;
    cb(null, { station: row.station, at: row.time, celsius, fahrenheit: +(celsius * 1.8 + 32).toFixed(1) });
  },
});

await pipeline(
  createReadStream('weather.csv', { highWaterMark: 16 }),
  new CsvParser(),
  clean,
  async function* (rows) {
    for await (const row of rows) yield JSON.stringify(row) + '\n';
  },
  createWriteStream('weather.ndjson'),
);

console.log(`converted ${counters.out} of ${counters.in} rows`);
for await (const chunk of createReadStream('weather.ndjson', 'utf8')) process.stdout.write(chunk);
