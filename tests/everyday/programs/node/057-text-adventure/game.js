const fs = require('fs');
const world = JSON.parse(fs.readFileSync('world.json', 'utf8'));

class Game {
  constructor(world) {
    this.rooms = world.rooms;
    this.at = world.start;
    this.bag = [];
    this.over = false;
    this.moves = 0;
  }

  get room() {
    return this.rooms[this.at];
  }

  look() {
    const { text, items = [], exits } = this.room;
    let out = text;
    if (items.length) out += ` You see: ${items.join(', ')}.`;
    return out + ` Exits: ${Object.keys(exits).join(', ')}.`;
  }

  go(dir) {
    const exit = this.room.exits[dir];
    if (!exit) return `You can't go ${dir || 'nowhere'}.`;
    const { to, needs } = typeof exit === 'string' ? { to: exit } : exit;
    if (needs && !this.bag.includes(needs)) return `The way ${dir} is locked. You need the ${needs}.`;
    this.at = to;
    if (this.room.win) {
      this.over = true;
      return `${this.room.text} 🏆 You won in ${this.moves} moves!`;
    }
    return this.look();
  }

  take(item) {
    const i = (this.room.items ?? []).indexOf(item);
    if (i < 0) return `There is no ${item} here.`;
    this.bag.push(...this.room.items.splice(i, 1));
    return `You took the ${item}.`;
  }

  inventory() {
    return this.bag.length ? `You carry: ${this.bag.join(', ')}.` : 'Your bag is empty.';
  }

  run(line) {
    const [verb, ...rest] = line.trim().toLowerCase().split(/\s+/);
    this.moves++;
    const aliases = { l: 'look', i: 'inventory', n: 'go north', s: 'go south', e: 'go east', w: 'go west' };
    if (aliases[verb]) return this.runAlias(aliases[verb]);
    if (!['look', 'go', 'take', 'inventory'].includes(verb)) return `I don't know how to "${verb}".`;
    return this[verb](rest.join(' '));
  }

  runAlias(full) {
    const [v, a] = full.split(' ');
    return this[v](a);
  }
}

const game = new Game(world);
console.log(game.look());

let buffer = '';
process.stdin.on('data', (d) => (buffer += d));
process.stdin.on('end', () => {
  for (const line of buffer.split('\n')) {
    if (!line.trim()) continue;
    console.log(`\n> ${line}`);
    console.log(game.run(line));
    if (game.over) break;
  }
  if (!game.over) {
    console.log('\nYou fall asleep. Game over.');
    process.exit(1);
  }
});
