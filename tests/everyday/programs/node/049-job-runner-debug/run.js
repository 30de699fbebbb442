const argv = require('minimist')(process.argv.slice(2), {
  string: ['only'],
  boolean: ['dry-run', 'verbose'],
  alias: { n: 'dry-run', v: 'verbose' },
  default: { times: 1 },
});
const createDebug = require('debug');
if (argv.verbose) createDebug.enable('jobs:*');
createDebug.inspectOpts.hideDate = true;
const debug = createDebug('jobs:runner');

const fs = require('fs');
const path = require('path');

const jobs = fs.readdirSync(path.join(__dirname, 'jobs')).sort().map((f) => {
  debug('loading %s', f);
  return { name: path.basename(f, '.js'), run: require(`./jobs/${f}`) };
});

const only = argv.only ? argv.only.split(',') : null;
const selected = jobs.filter((j) => !only || only.includes(j.name));
debug('selected %o', selected.map((j) => j.name));

let failed = 0;
for (let i = 0; i < argv.times; i++) {
  for (const job of selected) {
    if (argv['dry-run']) {
      console.log(`would run ${job.name}`);
      continue;
    }
    try {
      console.log(`${job.name}:`, job.run({ args: argv._, pass: i, debug: createDebug(`jobs:${job.name}`) }));
    } catch (e) {
      failed++;
      console.log(`${job.name}: FAILED ${e.message}`);
    }
  }
}
console.log(`${selected.length} of ${jobs.length} jobs, ${failed} failed`);
process.exitCode = failed ? 5 : 0;
