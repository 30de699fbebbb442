import pool from './pool.js';
import { setTimeout as sleep } from 'timers/promises';

let running = 0;
let peak = 0;

async function download(name) {
  running++;
  peak = Math.max(peak, running);
  await sleep(5 + name.length * 3);
  running--;
  if (name.startsWith('bad')) throw new Error(`could not download ${name}`);
  return name.length * 100;
}

const files = ['a.png', 'photo.jpg', 'bad.zip', 'movie-trailer.mp4', 'b.txt', 'notes.md', 'bad-one.iso', 'z'];
const results = await pool(files, 3, download);

results.forEach((r, i) => {
  console.log(files[i].padEnd(20), r.status === 'fulfilled' ? `${r.value} bytes` : `FAILED (${r.reason.message})`);
});
console.log('peak concurrency:', peak);

const settled = await Promise.allSettled([sleep(10, 'slow'), Promise.reject(new TypeError('boom'))]);
console.log(settled.map((s) => s.value ?? s.reason.message));
console.log(await Promise.any([sleep(60, 'turtle'), sleep(5, 'hare')]));
