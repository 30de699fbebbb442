// Number of Islands (DFS)
function numIslands(grid) {
  if (!grid.length) return 0;
  const rows = grid.length, cols = grid[0].length;
  const g = grid.map(r => r.slice());
  let count = 0;

  const sink = (r, c) => {
    if (r < 0 || c < 0 || r >= rows || c >= cols || g[r][c] !== '1') return;
    g[r][c] = '0';
    sink(r + 1, c); sink(r - 1, c); sink(r, c + 1); sink(r, c - 1);
  };

  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++)
      if (g[r][c] === '1') { count++; sink(r, c); }
  return count;
}

// Shortest path in a maze (BFS)
function solveMaze(maze) {
  const find = ch => {
    for (let r = 0; r < maze.length; r++) {
      const c = maze[r].indexOf(ch);
      if (c >= 0) return [r, c];
    }
  };
  const [sr, sc] = find('S'), [er, ec] = find('E');
  const prev = new Map([[`${sr},${sc}`, null]]);
  const queue = [[sr, sc]];
  while (queue.length) {
    const [r, c] = queue.shift();
    if (r === er && c === ec) break;
    for (const [dr, dc] of [[0, 1], [1, 0], [0, -1], [-1, 0]]) {
      const nr = r + dr, nc = c + dc, k = `${nr},${nc}`;
      if (!maze[nr]?.[nc] || maze[nr][nc] === '#' || prev.has(k)) continue;
      prev.set(k, `${r},${c}`);
      queue.push([nr, nc]);
    }
  }
  if (!prev.has(`${er},${ec}`)) return null;
  const path = [];
  for (let k = `${er},${ec}`; k; k = prev.get(k)) path.unshift(k);
  return path;
}

console.log('Islands:', numIslands([
  ['1', '1', '0', '0', '0'],
  ['1', '1', '0', '0', '0'],
  ['0', '0', '1', '0', '0'],
  ['0', '0', '0', '1', '1'],
]));

const maze = [
  'S.#.....',
  '..#.###.',
  '.##...#.',
  '....#.#E',
];
const path = solveMaze(maze);
console.log('Steps:', path.length - 1);
const on = new Set(path);
maze.forEach((row, r) => console.log([...row].map((ch, c) => (ch === '.' && on.has(`${r},${c}`) ? '*' : ch)).join('')));
console.log('Blocked maze:', solveMaze(['S#E']));
