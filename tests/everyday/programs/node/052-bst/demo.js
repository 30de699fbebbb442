import BST from './bst.js';

const tree = new BST();
for (const n of [50, 30, 70, 20, 40, 60, 80, 65]) tree.set(n, `v${n}`);

console.log(String(tree), 'height', tree.height);
console.log([...tree].map(([k]) => k).join(' < '));
console.log('range 35..66:', Array.from(tree.range(35, 66), ([k]) => k));
console.log('get 60:', tree.get(60), '| get 61:', tree.get(61));
console.log('delete 50:', tree.delete(50), '| delete 99:', tree.delete(99), '| size', tree.size);
console.log([...tree].map(([k]) => k).join(' < '));

const byLength = new BST((a, b) => a.length - b.length || a.localeCompare(b));
'the quick brown fox jumps over a lazy dog'.split(' ').forEach((w, i) => byLength.set(w, i));
console.log(Object.fromEntries(byLength));
const [[shortest]] = byLength;
console.log('shortest:', shortest);
