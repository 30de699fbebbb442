import { Worker } from 'node:worker_threads';
import { createHash } from 'node:crypto';

const WIDTH = 160, HEIGHT = 120, WORKERS = 2;

// shared image, filled with a checkerboard
const source = new Uint8Array(new SharedArrayBuffer(WIDTH * HEIGHT));
const target = new Uint8Array(new SharedArrayBuffer(WIDTH * HEIGHT));
const progress = new Int32Array(new SharedArrayBuffer(4));
for (let y = 0; y < HEIGHT; y++)
  for (let x = 0; x < WIDTH; x++) source[y * WIDTH + x] = ((x >> 4) + (y >> 4)) % 2 ? 230 : 20;

class WorkerPool {
  #idle = [];
  #queue = [];
  constructor(size, file) {
    this.workers = Array.from({ length: size }, () => new Worker(new URL(file, import.meta.url), { workerData: { source, target, progress, WIDTH, HEIGHT } }));
    this.#idle.push(...this.workers);
  }
  run(task) {
    return new Promise((resolve, reject) => {
      this.#queue.push({ task, resolve, reject });
      this.#next();
    });
  }
  #next() {
    if (!this.#queue.length || !this.#idle.length) return;
    const worker = this.#idle.pop();
    const { task, resolve, reject } = this.#queue.shift();
    const done = (fn) => (v) => {
      worker.removeAllListeners('message').removeAllListeners('error');
      this.#idle.push(worker);
      fn(v);
      this.#next();
    };
    worker.once('message', done(resolve)).once('error', done(reject));
    worker.postMessage(task);
  }
  close() {
    return Promise.all(this.workers.map((w) => w.terminate()));
  }
}

const pool = new WorkerPool(WORKERS, './blur-worker.js');
const BAND = 20;
const tasks = [];
for (let from = 0; from < HEIGHT; from += BAND) tasks.push(pool.run({ from, to: from + BAND, radius: 3 }));
const bands = await Promise.all(tasks);
await pool.close();

bands.forEach((b, i) => console.log(`band ${i}: rows ${b.from}-${b.to - 1}, mean ${b.mean.toFixed(2)}`));
console.log('rows done:', Atomics.load(progress, 0));
console.log('range:', Math.min(...target), '..', Math.max(...target));
console.log('digest:', createHash('sha1').update(target).digest('hex'));
