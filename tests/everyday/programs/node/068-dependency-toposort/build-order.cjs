'use strict';
const fs = require('fs');

function parseMakefile(text) {
  const graph = new Map();
  for (const line of text.split('\n')) {
    const m = line.match(/^([\w.-]+)\s*:\s*(.*)$/);
    if (m) graph.set(m[1], m[2].split(/\s+/).filter(Boolean));
  }
  for (const deps of [...graph.values()]) for (const d of deps) if (!graph.has(d)) graph.set(d, []);
  return graph;
}

// Kahn: groups that can be built in parallel
function levels(graph) {
  const left = new Map([...graph].map(([k, v]) => [k, new Set(v)]));
  const out = [];
  while (left.size) {
    const ready = [...left].filter(([, deps]) => deps.size === 0).map(([k]) => k).sort();
    if (!ready.length) throw new Error('cycle: ' + findCycle(graph).join(' -> '));
    out.push(ready);
    ready.forEach((r) => left.delete(r));
    for (const deps of left.values()) ready.forEach((r) => deps.delete(r));
  }
  return out;
}

function findCycle(graph) {
  const state = {}, stack = [];
  const visit = (n) => {
    if (state[n] === 'done') return null;
    if (state[n] === 'open') return [...stack.slice(stack.indexOf(n)), n];
    state[n] = 'open';
    stack.push(n);
    for (const d of graph.get(n)) {
      const c = visit(d);
      if (c) return c;
    }
    stack.pop();
    state[n] = 'done';
    return null;
  };
  for (const n of graph.keys()) {
    const c = visit(n);
    if (c) return c;
  }
}

for (const file of process.argv.slice(2)) {
  console.log(`== ${file}`);
  try {
    levels(parseMakefile(fs.readFileSync(file, 'utf8'))).forEach((l, i) => console.log(`  ${i + 1}: ${l.join(', ')}`));
  } catch (e) {
    console.log(`  ${e.message}`);
    process.exitCode = 2;
  }
}
