import { EventEmitter, on, once } from 'node:events';
import { setTimeout as delay, setInterval as every } from 'node:timers/promises';

class Bus extends EventTarget {
  publish(topic, data) {
    this.dispatchEvent(new CustomEvent(topic, { detail: data }));
  }
  subscribe(topic, fn, { signal } = {}) {
    this.addEventListener(topic, (e) => fn(e.detail), { signal });
  }
}

const bus = new Bus();
const controller = new AbortController();
bus.subscribe('news', (d) => console.log('A got', d), { signal: controller.signal });
bus.subscribe('news', (d) => console.log('B got', d));
bus.publish('news', 'first');
controller.abort();
bus.publish('news', 'second');

// timeouts
async function slowQuery(ms, signal) {
  await delay(ms, undefined, { signal });
  return `rows after ${ms}`;
}
console.log(await slowQuery(5, AbortSignal.timeout(500)));
for (const [label, signal] of [
  ['timeout', AbortSignal.timeout(10)],
  ['already aborted', AbortSignal.abort(new Error('user left'))],
  ['any', AbortSignal.any([AbortSignal.timeout(15), new AbortController().signal])],
]) {
  try {
    await slowQuery(2000, signal);
  } catch (err) {
    console.log(`${label}: ${err.name} (${err.cause?.name ?? '-'}: ${err.cause?.message ?? ''})`);
  }
}

// for await over events
const emitter = new EventEmitter();
const ac = new AbortController();
setTimeout(() => {
  for (const n of [1, 2, 3]) emitter.emit('data', n, n * n);
  ac.abort();
}, 5);
try {
  for await (const [n, sq] of on(emitter, 'data', { signal: ac.signal })) console.log('event', n, sq);
} catch (e) {
  console.log('stopped by', e.name);
}

setTimeout(() => emitter.emit('ready', 'now'), 3);
console.log('once:', await once(emitter, 'ready'));

let n = 0;
for await (const tag of every(4, 'tick')) {
  console.log(tag, ++n);
  if (n === 3) break;
}

const { promise, resolve } = Promise.withResolvers();
queueMicrotask(() => resolve('resolved from outside'));
console.log(await promise);
