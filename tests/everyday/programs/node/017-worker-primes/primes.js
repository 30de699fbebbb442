const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

function countPrimes(from, to) {
  let count = 0;
  outer: for (let n = Math.max(2, from); n < to; n++) {
    for (let d = 2; d * d <= n; d++) if (n % d === 0) continue outer;
    count++;
  }
  return count;
}

if (isMainThread) {
  const MAX = 200_000;
  const WORKERS = 2;
  const chunk = MAX / WORKERS;

  const jobs = Array.from({ length: WORKERS }, (_, i) =>
    new Promise((resolve, reject) => {
      const worker = new Worker(__filename, { workerData: { from: i * chunk, to: (i + 1) * chunk } });
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.once('exit', (code) => code !== 0 && reject(new Error(`worker stopped with ${code}`)));
    })
  );

  Promise.all(jobs)
    .then((parts) => {
      parts.forEach((p) => console.log(`[${p.from}, ${p.to}) -> ${p.count} primes`));
      console.log('total:', parts.reduce((s, p) => s + p.count, 0));
    })
    .catch((err) => {
      console.error(err);
      process.exit(1);
    });
} else {
  const { from, to } = workerData;
  parentPort.postMessage({ from, to, count: countPrimes(from, to) });
}
