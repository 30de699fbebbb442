import { run } from 'node:test';
import { fileURLToPath } from 'node:url';

const stream = run({ files: [fileURLToPath(new URL('./src/slug.test.mjs', import.meta.url))], isolation: 'none' });
const totals = { passed: 0, failed: 0, skipped: 0 };
const failures = [];

stream.on('test:pass', ({ name, nesting, skip, details }) => {
  if (details.type === 'suite') return;
  if (skip !== undefined) {
    totals.skipped++;
    console.log(`${'  '.repeat(nesting)}○ ${name}`);
    return;
  }
  totals.passed++;
  console.log(`${'  '.repeat(nesting)}✔ ${name}`);
});
stream.on('test:fail', ({ name, nesting, details }) => {
  if (details.type === 'suite') return;
  totals.failed++;
  failures.push(`${name}: ${(details.error.cause ?? details.error).message.split('\n')[0]}`);
  console.log(`${'  '.repeat(nesting)}✖ ${name}`);
});
stream.on('end', () => {
  console.log(totals);
  failures.forEach((f) => console.log('failure ->', f));
  process.exitCode = totals.failed === 1 ? 0 : 1; // one known failure
});
stream.resume();
