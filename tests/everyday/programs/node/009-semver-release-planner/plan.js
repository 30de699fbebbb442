const semver = require('semver');
const tags = require('./tags.json');

const versions = tags.map((t) => semver.clean(t)).filter(Boolean);
const skipped = tags.filter((t) => !semver.valid(semver.clean(t)));

console.log('tags:', tags.length, 'valid:', versions.length, 'skipped:', skipped.join(', '));
console.log('sorted:', semver.rsort([...versions]).join(' > '));

const latest = semver.maxSatisfying(versions, '*');
console.log('latest stable:', latest);

['major', 'minor', 'patch', 'prerelease'].forEach((kind) => {
  const next = kind === 'prerelease' ? semver.inc(latest, kind, 'beta') : semver.inc(latest, kind);
  console.log(`  ${kind.padEnd(11)} ${next}`);
});

const ranges = ['^1.2.0', '~2.0.0', '>=1.0.0 <2.0.0', '3.x', '1.2.3 - 2.0.1'];
for (const r of ranges) {
  console.log(r.padEnd(18), '=>', semver.maxSatisfying(versions, r) ?? 'nothing');
}

console.log('diff 1.2.3 -> 2.0.0:', semver.diff('1.2.3', '2.0.0'));
console.log('coerce "release-4.7":', semver.coerce('release-4.7').version);
