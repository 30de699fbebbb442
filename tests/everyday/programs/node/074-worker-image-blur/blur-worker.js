import { parentPort, workerData } from 'node:worker_threads';

const { source, target, progress, WIDTH, HEIGHT } = workerData;
const clamp = (v, max) => Math.min(Math.max(v, 0), max - 1);

parentPort.on('message', ({ from, to, radius }) => {
  let total = 0;
  for (let y = from; y < to; y++) {
    for (let x = 0; x < WIDTH; x++) {
      let sum = 0, n = 0;
      for (let dy = -radius; dy <= radius; dy++)
        for (let dx = -radius; dx <= radius; dx++) {
          sum += source[clamp(y + dy, HEIGHT) * WIDTH + clamp(x + dx, WIDTH)];
          n++;
        }
      total += target[y * WIDTH + x] = Math.round(sum / n);
    }
    Atomics.add(progress, 0, 1);
  }
  parentPort.postMessage({ from, to, mean: total / ((to - from) * WIDTH) });
});
