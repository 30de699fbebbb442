console.log('1. sync start');

setTimeout(() => console.log('7. timeout 0'), 0);

Promise.resolve()
  .then(() => console.log('4. microtask one'))
  .then(() => console.log('6. microtask chained'));

queueMicrotask(() => console.log('5. queueMicrotask'));

process.nextTick(() => console.log('3. nextTick'));

(async () => {
  console.log('2. async function runs synchronously until await');
  await null;
  await new Promise((r) => setTimeout(r, 10));
  console.log('8. after await of 10 ms');

  setTimeout(() => console.log('10. a later timer'), 15);
  setImmediate(() => {
    console.log('9. immediate');
  });
  await new Promise((resolve) => setTimeout(resolve, 30));

  let ticks = 0;
  const id = setInterval(() => {
    console.log('tick', ++ticks);
    if (ticks === 3) clearInterval(id);
  }, 5);

  const cancelled = setTimeout(() => console.log('never'), 20);
  clearTimeout(cancelled);
  setTimeout(() => console.log('never holds the process'), 60_000).unref();
})();

process.on('exit', (code) => console.log('exit', code));
process.on('beforeExit', () => console.log('loop is empty'));
