import { readFileSync, writeFileSync } from 'fs';
import YAML from 'yaml';

const source = readFileSync('docker-compose.yml', 'utf8');
const doc = YAML.parseDocument(source, { merge: true });
if (doc.errors.length) throw doc.errors[0];
const compose = doc.toJS();

console.log('Services:');
for (const [name, svc] of Object.entries(compose.services)) {
  const ports = (svc.ports ?? []).map((p) => String(p).split(':')[0]);
  console.log(` • ${name.padEnd(8)} ${svc.image ?? 'build ' + svc.build}  ports: ${ports.join(', ') || '-'}  restart: ${svc.restart}`);
}

// start order
const order = [];
const visit = (name, trail = []) => {
  if (trail.includes(name)) throw new Error('cycle: ' + [...trail, name].join(' -> '));
  if (order.includes(name)) return;
  for (const dep of compose.services[name].depends_on ?? []) visit(dep, [...trail, name]);
  order.push(name);
};
Object.keys(compose.services).forEach((n) => visit(n));
console.log('Start order:', order.join(', '));

const warnings = [];
for (const [name, svc] of Object.entries(compose.services)) {
  if (/:latest$|^[^:]+$/.test(svc.image ?? 'x:1')) warnings.push(`${name}: image is not pinned`);
  for (const [k, v] of Object.entries(svc.environment ?? {})) if (/pass/i.test(k) && v) warnings.push(`${name}: ${k} in clear text`);
}
console.log(warnings.length ? 'Warnings:\n' + warnings.map((w) => '  - ' + w).join('\n') : 'No warnings');

doc.setIn(['services', 'cache', 'image'], 'redis:7.2');
doc.deleteIn(['services', 'db', 'environment', 'POSTGRES_PASSWORD']);
writeFileSync('docker-compose.fixed.yml', doc.toString());
console.log('---');
console.log(readFileSync('docker-compose.fixed.yml', 'utf8'));
